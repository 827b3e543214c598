import { BITS, byteSize } from "../ir/dtype.ts";
import { elements, lazyTensor, SMALL_BYTES, type Tensor, tensorOf } from "../ir/tensor.ts";

/** Which positions of each axis stay, 1 each; undefined where all do. */
export type Keeps = readonly (Uint8Array | undefined)[];

/**
 * The elements of a tensor that stay, in its order. A small result is computed at once, a large one when someone reads
 * it. Types under 8 bits cannot be cut.
 */
export async function gathered(tensor: Tensor, keeps: Keeps): Promise<Tensor> {
  const { dtype } = tensor;
  const shape = tensor.shape.map((size, axis) => keeps[axis]?.reduce((a, b) => a + b, 0) ?? size);
  const produce = async () => gatherBytes(await tensor.read(), tensor.shape, keeps, BITS[dtype] / 8);
  return tensor.bytes !== undefined || byteSize(dtype, elements(shape)) <= SMALL_BYTES
    ? tensorOf(dtype, shape, await produce())
    : lazyTensor(dtype, shape, produce);
}

/** One axis after the other, each time whole runs of bytes. */
function gatherBytes(bytes: Uint8Array, shape: readonly number[], keeps: Keeps, width: number): Uint8Array {
  const sizes = [...shape];
  let from = bytes;
  for (const [axis, keep] of keeps.entries()) {
    if (keep === undefined) continue;
    const run = elements(sizes.slice(axis + 1)) * width;
    const outer = elements(sizes.slice(0, axis));
    const runs = runsOf(keep);
    const kept = keep.reduce((a, b) => a + b, 0);
    const to = new Uint8Array(outer * kept * run);
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const [start, end] of runs) {
        const base = o * keep.length;
        to.set(from.subarray((base + start) * run, (base + end) * run), at);
        at += (end - start) * run;
      }
    sizes[axis] = kept;
    from = to;
  }
  return from;
}

/** Runs of ones: [first, one past the last]. */
function runsOf(mask: Uint8Array): [number, number][] {
  const runs: [number, number][] = [];
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 0) continue;
    const last = runs.at(-1);
    if (last !== undefined && last[1] === i) last[1] = i + 1;
    else runs.push([i, i + 1]);
  }
  return runs;
}
