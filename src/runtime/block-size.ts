import type { Model } from "../ir/graph.ts";
import { openSession, type Runtime } from "./session.ts";

/** Enough channels to see the largest block there is. */
const CHANNELS = 64;

const found = new Map<Runtime, Promise<number>>();

/**
 * How many neighbouring channels ONNX Runtime keeps together on this processor where it blocks convolutions: 16 with AVX-512,
 * 8 with AVX; 0 where it does not (WebAssembly, WebGPU, builds without these operators). Found by asking it once.
 */
export function blockSize(runtime: Runtime): Promise<number> {
  let size = found.get(runtime);
  if (size === undefined) {
    size = runtime === "node" ? measured(runtime).catch(() => 0) : Promise.resolve(0);
    found.set(runtime, size);
  }
  return size;
}

/** Channel c holds 2c and 2c + 1: after the first block comes the second position of channel 0. */
async function measured(runtime: Runtime): Promise<number> {
  const session = await openSession(reordering(), { runtime });
  try {
    const data = Float32Array.from({ length: 2 * CHANNELS }, (_, i) => i);
    const { y } = await session.run({ x: { dtype: "float32", shape: [1, CHANNELS, 1, 2], data } });
    const size = Array.from(y?.data as Float32Array).indexOf(1);
    return size > 1 ? size : 0;
  } finally {
    await session.close();
  }
}

const reordering = (): Model => ({
  graph: {
    name: "reorder",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: [1, CHANNELS, 1, 2] } }],
    outputs: [{ name: "y" }],
    weights: new Map(),
    nodes: [{ name: "", op: "ReorderInput", domain: "com.microsoft.nchwc", inputs: ["x"], outputs: ["y"], attrs: {} }],
    valueInfo: new Map(),
  },
  opsets: new Map([
    ["", 18],
    ["com.microsoft.nchwc", 1],
  ]),
  irVersion: 8,
  functions: [],
});
