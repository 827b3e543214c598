/**
 * Weight-only quantization of a model that does not fit into memory, reading and writing included, beside ONNX Runtime's
 * Python tool: a transformer of 3 GB with a matrix of 524 MB, rounded to nearest in 4 bits. Each side in a process of its own.
 *
 *     PYTHON=venv/bin/python node bench/weight-only.mjs [GB]
 *
 * Prints seconds, bytes of float input a second of processor time, and the most memory the process ever held. Needs 4 GB
 * of disk for every 3 GB; without PYTHON the peer is left out.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { lazyTensor } from "../dist/ir/tensor.js";
import { load, save } from "../dist/onnx/index.js";
import { quantizeWeights } from "../dist/quantize/index.js";

const SIZE = 4096;
const HEAD = 32_000;
const [how, path, output] = process.argv.slice(2);
if (how === "quantize") {
  const start = performance.now();
  const { model } = await quantizeWeights({ bits: 4, blockSize: 32 }).run(await load(path));
  await save(model, output, { externalData: true });
  const { user, system } = process.cpuUsage();
  const figures = {
    seconds: (performance.now() - start) / 1000,
    cpuSeconds: (user + system) / 1e6,
    peakBytes: process.resourceUsage().maxRSS * 1024,
  };
  console.log(JSON.stringify(figures));
  process.exit(0);
}

const wanted = Number(how ?? 3) * 1e9;
const free = statfsSync(tmpdir());
if (free.bavail * free.bsize < 1.5 * wanted) {
  console.log("weight-only: skipped, the temporary folder has too little room");
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), "minnow-weights-"));
try {
  const input = join(folder, "float.onnx");
  await save(transformer(Math.round((wanted - 4 * SIZE * HEAD) / (4 * SIZE * SIZE))), input, { externalData: true });
  const bytes = statSync(`${input}_data`).size;
  const run = (tool, command, args) => {
    const { seconds, cpuSeconds, peakBytes } = JSON.parse(
      execFileSync(command, args, { encoding: "utf8" }).trim().split("\n").at(-1),
    );
    console.log(
      JSON.stringify({
        bench: "weight-only",
        tool,
        inputBytes: bytes,
        seconds: Number(seconds.toFixed(1)),
        cpuSeconds: Number(cpuSeconds.toFixed(1)),
        gigabytesPerCpuSecond: Number((bytes / cpuSeconds / 1e9).toFixed(2)),
        peakMB: Math.round(peakBytes / 1e6),
      }),
    );
  };
  run("minnow", process.execPath, [fileURLToPath(import.meta.url), "quantize", input, join(folder, "minnow.onnx")]);
  rmSync(join(folder, "minnow.onnx_data"));
  if (process.env.PYTHON) {
    const peer = fileURLToPath(new URL("peers/weight_only_ort.py", import.meta.url));
    run("onnxruntime.quantization", process.env.PYTHON, [peer, input, join(folder, "peer.onnx")]);
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** Square matrices in a row, and a head of 32 000 columns; numbers are drawn when they are written. */
function transformer(layers) {
  const shapes = [...Array.from({ length: layers }, () => [SIZE, SIZE]), [SIZE, HEAD]];
  const weights = new Map(shapes.map((shape, i) => [`w${i}`, drawn(shape, i + 1)]));
  const nodes = shapes.map((_, i) => ({
    name: `layer_${i}`,
    op: "MatMul",
    domain: "",
    inputs: [i === 0 ? "x" : `y${i - 1}`, `w${i}`],
    outputs: [`y${i}`],
    attrs: {},
  }));
  const value = (name, size) => ({ name, type: { kind: "tensor", dtype: "float32", shape: ["N", size] } });
  const [inputs, outputs] = [[value("x", SIZE)], [value(`y${layers}`, HEAD)]];
  const graph = { name: "transformer", inputs, outputs, weights, nodes, valueInfo: new Map() };
  return { graph, opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
}

function drawn(shape, seed) {
  const count = shape[0] * shape[1];
  return lazyTensor("float32", shape, async () => {
    const values = new Float32Array(count);
    let state = seed;
    for (let i = 0; i < count; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const value = state / 2 ** 31;
      values[i] = 0.05 * value * value * value;
    }
    return new Uint8Array(values.buffer);
  });
}
