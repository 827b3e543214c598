/**
 * Minnow beside onnxruntime.quantization: the same models, the same calibration tensors, one run.
 *
 *     MINNOW_REAL=… PYTHON=venv/bin/python npm run bench [-- TENSORS]
 *
 * PYTHON has bench/peers/requirements.txt; TENSORS is a folder for what peers/prepare.py writes (default bench/.cache).
 * Both sides get one thread, a process of its own for each quantization, and the same judge: peers/evaluate.py, which
 * times a result against the float model run by run. Writes bench/results/<machine>.json and prints the table.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const real = process.env.MINNOW_REAL ?? at("../../shared/real");
const python = process.env.PYTHON ?? "python3";
const tensors = process.argv[2] ?? at(".cache");
const out = join(tensors, "results");
const quiet = {
  encoding: "utf8",
  env: { ...process.env, OMP_NUM_THREADS: "1" },
  maxBuffer: 1 << 26,
  stdio: ["ignore", "pipe", "ignore"],
};

const MODELS = [
  ["cifar10/resnet20_cifar10.onnx", "cifar10-normalized"],
  ["cifar10/resnet56_cifar10.onnx", "cifar10-normalized"],
  ["cifar10/mlperf_pretrainedResnet.onnx", "cifar10-raw"],
  ["imagenet/mobilenet_v1_0.25_224_fp32.onnx", "imagenet224"],
];
const PEER = ["minmax", "percentile"];
const OURS = ["minmax", "minmax+bias", "percentile+bias"];

const peer = (script, ...args) => last(execFileSync(python, [at(`peers/${script}`), ...args], quiet));
const last = (text) => JSON.parse(text.trim().split("\n").at(-1));

if (!existsSync(join(real, "models"))) {
  console.log("The folder of real models is not here (MINNOW_REAL); nothing to measure.");
  process.exit(0);
}
mkdirSync(out, { recursive: true });
if (!existsSync(join(tensors, "imagenet224-test.npz")))
  execFileSync(python, [at("peers/prepare.py"), "--data", join(real, "data"), "--output", tensors], {
    stdio: "inherit",
  });

const rows = [];
for (const [name, data] of MODELS) {
  const model = join(real, "models", name);
  const [calibration, test] = [join(tensors, `${data}-calibration.npz`), join(tensors, `${data}-test.npz`)];
  const float = peer("evaluate.py", "--model", model, "--data", test);
  const judge = (output) => peer("evaluate.py", "--model", output, "--against", model, "--data", test);
  for (const method of PEER) {
    const output = join(out, `${basename(name, ".onnx")}.peer.${method}.onnx`);
    const made = peer(
      "quantize_ort.py",
      "--model",
      model,
      "--calibration",
      calibration,
      "--output",
      output,
      "--method",
      method,
    );
    rows.push({
      model: name,
      tool: "onnxruntime.quantization",
      method,
      float: float.accuracy,
      ...made,
      ...judge(output),
    });
  }
  for (const method of OURS) {
    const output = join(out, `${basename(name, ".onnx")}.minnow.${method}.onnx`);
    const made = last(execFileSync(process.execPath, [at("quantize.mjs"), model, calibration, method, output], quiet));
    rows.push({ model: name, tool: "minnow", method, float: float.accuracy, ...made, ...judge(output) });
  }
  for (const row of rows.filter((r) => r.model === name)) console.log(line(row));
}

function line({ model, tool, method, accuracy, agreement, bytes, seconds, peakBytes, latencyRatio }) {
  const percent = (x) => (x === undefined ? "–" : `${(100 * x).toFixed(2)} %`);
  return `| ${basename(model, ".onnx")} | ${tool} | ${method} | ${percent(accuracy)} | ${percent(agreement)} | ${bytes} | ${seconds.toFixed(1)} | ${Math.round(peakBytes / 2 ** 20)} | ${latencyRatio} |`;
}

const machine = cpus()[0]
  .model.toLowerCase()
  .replace(/[^a-z0-9]+/g, "-")
  .replace(/^-|-$/g, "");
mkdirSync(at("results"), { recursive: true });
writeFileSync(
  at(`results/${machine}.json`),
  `${JSON.stringify({ machine: cpus()[0].model, node: process.versions.node, threads: 1, rows }, null, 1)}\n`,
);
