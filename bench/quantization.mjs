/**
 * Accuracy of quantized models: Minnow beside ONNX Runtime's tools and NNCF. The same float model, the same examples to
 * calibrate on and to judge on for all, one judge: onnxruntime-node on one thread.
 *
 *     MINNOW_REAL=… TENSORS=… PYTHON=… PYTHON_TORCH=… PYTHON_NNCF=… node bench/quantization.mjs [FILTER]
 *
 * TENSORS holds what peers/prepare.py and peers/quantization_tensors.py wrote. PYTHON has peers/requirements.txt, PYTHON_TORCH
 * torch as well (for MatMulNBitsQuantizer, whose methods need it), PYTHON_NNCF nncf; a tool without its Python is left out. Rows that bench/results/quantization.json
 * has already are kept: take them out to measure them again. FILTER: only rows whose model, tool or setting has it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataset } from "../dist/data/open.node.js";
import { readNpz } from "../dist/files/npz.js";
import { viewOf } from "../dist/ir/tensor.js";
import { load, save } from "../dist/onnx/index.js";
import { openPath } from "../dist/platform.node.js";
import { openSession } from "../dist/runtime/index.js";
import { MODELS, OURS, PEERS } from "./quantization.config.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const real = process.env.MINNOW_REAL ?? at("../../shared/real");
const tensors = process.env.TENSORS ?? at(".cache");
const filter = process.argv[2] ?? "";
const RESULTS = at("results/quantization.json");
const results = existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, "utf8")) : { rows: [] };
const folder = mkdtempSync(join(tmpdir(), "minnow-quantization-"));

try {
  for (const task of MODELS) {
    const model = join(real, "models", task.model);
    const calibration = join(tensors, `${task.data}-calibration.npz`);
    if (!existsSync(model) || !existsSync(calibration)) continue;
    let judge;
    for (const { tool, setting, make } of [...oursOf(task), ...peersOf(task)]) {
      const key = { model: task.name, tool, setting };
      if (![task.name, tool, setting].some((word) => word.includes(filter))) continue;
      if (results.rows.some((row) => Object.entries(key).every(([name, value]) => row[name] === value))) continue;
      const output = join(folder, "model.onnx");
      rmSync(output, { force: true });
      const start = performance.now();
      let row = key;
      try {
        await make({ model, calibration, output });
        judge ??= await judgeOf(model, join(tensors, `${task.data}-test.npz`));
        const seconds = (performance.now() - start) / 1000;
        row = { ...key, ...(await judge(output)), bytes: statSync(output).size, seconds: Number(seconds.toFixed(1)) };
      } catch (error) {
        row = {
          ...key,
          error: String(error.stderr ?? error.message)
            .trim()
            .split("\n")
            .at(-1)
            .slice(0, 200),
        };
      }
      results.rows.push(row);
      console.log(JSON.stringify(row));
      const head = { machine: cpus()[0].model, node: process.versions.node, onnxruntime: "1.30.0", threads: 1 };
      writeFileSync(RESULTS, `${JSON.stringify({ ...head, rows: results.rows }, null, 1)}\n`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}

function* peersOf({ kind }) {
  for (const { tool, python, script, settings } of PEERS[kind]) {
    const command = process.env[python];
    if (command === undefined) continue;
    for (const [setting, flags] of Object.entries(settings))
      yield {
        tool,
        setting,
        make: ({ model, calibration, output }) => {
          const files = ["--model", model, "--calibration", calibration, "--output", output];
          const env = { ...process.env, OMP_NUM_THREADS: "1" };
          execFileSync(command, [at(`peers/${script}`), ...files, ...flags], {
            env,
            stdio: ["ignore", "ignore", "pipe"],
          });
        },
      };
  }
}

function* oursOf({ kind }) {
  for (const [setting, recipe] of Object.entries(OURS[kind]))
    yield {
      tool: "minnow",
      setting,
      make: async ({ model, calibration, output }) => {
        const float = await load(model);
        const { data } = await openDataset(calibration);
        await save((await recipe(data).run(float)).model, output);
      },
    };
}

/** The arrays of an .npz, whole. */
async function tensorsIn(path) {
  const found = {};
  for (const [name, { dtype, shape, rows }] of await readNpz(await openPath(path))) {
    found[name] = { dtype, shape, data: viewOf(dtype, await rows(0, shape[0])) };
  }
  return found;
}

/** What says how a file does on the test tensors, beside the float model. */
async function judgeOf(model, path) {
  const test = await tensorsIn(path);
  const float = await outputsOf(model, test);
  return async (file) => {
    const seen = await outputsOf(file, test);
    let [signal, noise] = [0, 0];
    for (const [i, row] of float.entries())
      for (let j = 0; j < row.length; j++) {
        signal += row[j] ** 2;
        noise += (row[j] - seen[i][j]) ** 2;
      }
    const sqnr = { sqnr: Number((10 * Math.log10(signal / noise)).toFixed(2)) };
    if (test.length !== undefined) {
      const [before, after] = [lossOf(float, test), lossOf(seen, test)];
      return { float: before, nats: after, perplexity: Math.exp(after), lost: after - before, ...sqnr };
    }
    if (float[0].length === test.x.shape[1] && test.y === undefined) return sqnr;
    const [a, b] = [float.map(argmax), seen.map(argmax)];
    const share = (list, other) => list.filter((value, i) => value === Number(other[i])).length / list.length;
    const accuracy = test.y === undefined ? {} : { float: share(a, test.y.data), accuracy: share(b, test.y.data) };
    return { ...accuracy, agreement: share(b, a), ...sqnr };
  };
}

function argmax(row) {
  return row.reduce((best, value, i) => (value > row[best] ? i : best), 0);
}

/** The first output of every example. */
async function outputsOf(file, { x, mean, scale }) {
  const session = await openSession(file);
  const each = x.data.length / x.shape[0];
  const plane = each / x.shape[1];
  const rows = [];
  for (let from = 0; from < x.shape[0]; from += 25) {
    const count = Math.min(25, x.shape[0] - from);
    let data = x.data.slice(from * each, (from + count) * each);
    if (mean !== undefined)
      data = Float32Array.from(data, (value, i) => {
        const channel = Math.floor(i / plane) % x.shape[1];
        return Math.fround(value - mean.data[channel]) * scale.data[channel];
      });
    const dtype = mean === undefined ? x.dtype : "float32";
    const feeds = { [session.inputs[0]]: { dtype, shape: [count, ...x.shape.slice(1)], data } };
    const out = (await session.run(feeds))[session.outputs[0]];
    const width = out.data.length / count;
    for (let i = 0; i < count; i++) rows.push(out.data.slice(i * width, (i + 1) * width));
  }
  await session.close();
  return rows;
}

/** Mean of −ln of the probability of each token after the first of its window. */
function lossOf(rows, { x, length }) {
  const window = x.shape[1];
  let [sum, count] = [0, 0];
  for (const [r, row] of rows.entries()) {
    const vocabulary = row.length / window;
    for (let i = 0; i + 1 < Number(length.data[r]); i++) {
      const scores = row.subarray(i * vocabulary, (i + 1) * vocabulary);
      const next = Number(x.data[r * window + i + 1]);
      sum += Math.log(scores.reduce((total, value) => total + Math.exp(value), 0)) - scores[next];
      count++;
    }
  }
  return sum / count;
}
