/**
 * A model over 2 GB: 3 GB of weights that are computed when they are written, then read and written again.
 * Prints seconds, and the most memory the process ever held. Needs 10 GB of disk in the temporary folder; without, it skips.
 */
import { mkdtempSync, rmSync, statfsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lazyTensor } from "../dist/ir/tensor.js";
import { load, save } from "../dist/onnx/index.js";

const COUNT = 48;
const ELEMENTS = 2 ** 24;

const free = statfsSync(tmpdir());
if (free.bavail * free.bsize < 10e9) {
  console.log("large: skipped, the temporary folder has less than 10 GB of room");
  process.exit(0);
}

/** Weights [4096, 4096], each filled with its own number. */
const weights = new Map(
  Array.from({ length: COUNT }, (_, i) => [
    `w${i}`,
    lazyTensor(
      "float32",
      [4096, ELEMENTS / 4096],
      async () => new Uint8Array(new Float32Array(ELEMENTS).fill(i).buffer),
    ),
  ]),
);
const value = (name) => ({ name, type: { kind: "tensor", dtype: "float32", shape: ["N", 4096] } });
const nodes = [...weights.keys()].map((name, i) => ({
  name: "",
  op: "MatMul",
  domain: "",
  inputs: [i === 0 ? "x" : `y${i - 1}`, name],
  outputs: [`y${i}`],
  attrs: {},
}));
const model = {
  graph: {
    name: "large",
    inputs: [value("x")],
    outputs: [value(`y${COUNT - 1}`)],
    weights,
    nodes,
    valueInfo: new Map(),
  },
  opsets: new Map([["", 17]]),
  irVersion: 8,
  functions: [],
};

const folder = mkdtempSync(join(tmpdir(), "minnow-large-"));
const seconds = async (work) => {
  const start = performance.now();
  const result = await work();
  return [(performance.now() - start) / 1000, result];
};
try {
  const [computed] = await seconds(() => save(model, join(folder, "a.onnx")));
  const [opened, read] = await seconds(() => load(join(folder, "a.onnx")));
  const [copied] = await seconds(() => save(read, join(folder, "b.onnx")));
  const again = await load(join(folder, "b.onnx"));
  for (let i = 0; i < COUNT; i++) {
    const end = await again.graph.weights.get(`w${i}`).read({ offset: (ELEMENTS - 1) * 4, length: 4 });
    if (new DataView(end.buffer, end.byteOffset).getFloat32(0, true) !== i) throw new Error(`w${i} is not what it was`);
  }
  const rounded = (x) => Number(x.toFixed(3));
  console.log(
    JSON.stringify({
      bench: "large",
      bytes: statSync(join(folder, "b.onnx_data")).size,
      largestTensorBytes: ELEMENTS * 4,
      writeSeconds: rounded(computed),
      readSeconds: rounded(opened),
      copySeconds: rounded(copied),
      peakMB: Math.round(process.resourceUsage().maxRSS / 1024),
    }),
  );
} finally {
  rmSync(folder, { recursive: true });
}
