/** `npm run demo`: the main job on real data, from a folder of pictures to a report. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { prepareDigits } from "./data.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

console.log("Digits: a convolutional net for handwritten digits, made smaller and checked to be as good.\n");
await prepareDigits(at("data"));
mkdirSync(at("out"), { recursive: true });

const minnow = (...words) => {
  console.log(`$ minnow ${words.map((word) => word.replace(at("../../"), "")).join(" ")}`);
  const { status } = spawnSync(process.execPath, [at("../../dist/cli/bin.js"), ...words], {
    stdio: "inherit",
    cwd: at("../../"),
  });
  console.log();
  if (status !== 0) process.exit(status ?? 1);
};

const model = "examples/digits/digits.onnx";
minnow("inspect", model);
minnow(
  "compress",
  model,
  "--data",
  "examples/digits/data",
  "--max-drop",
  "1%",
  "--target",
  "node",
  "-o",
  "examples/digits/out/digits.min.onnx",
  "--force",
);
