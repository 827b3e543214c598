/** `node examples/pocket-camera/use.mjs PICTURE …` tells what pictures show. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openSession } from "minnow";
import sharp from "sharp";
import { inputOf, LEARNED, ranked } from "./look.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { made: { type: "string", default: fileURLToPath(new URL("made", import.meta.url)) } },
});
const classes = JSON.parse(await readFile(`${values.made}/classes.json`, "utf8"));
const session = await openSession(`${values.made}/camera.onnx`);
for (const path of positionals) {
  const square = sharp(path).rotate().resize(LEARNED, LEARNED).removeAlpha().toColourspace("srgb");
  const input = inputOf({ width: LEARNED, height: LEARNED, data: await square.raw().toBuffer() });
  const { logits } = await session.run({ input });
  const [first, second] = ranked(logits.data, classes).map(
    ({ name, share }) => `${name} (${(100 * share).toFixed(1)} %)`,
  );
  console.log(`${path}: ${first}, else ${second}`);
}
await session.close();
