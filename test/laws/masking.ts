import { edit } from "../../src/ir/edit.ts";
import type { Model } from "../../src/ir/graph.ts";
import { float32s, type TensorData } from "../../src/ir/tensor.ts";
import { type Random, random } from "../../src/numeric/random.ts";
import { keep, type Masks } from "../../src/prune/axis.ts";
import type { Contraction, Derivation } from "../../src/prune/derive.ts";
import type { Group } from "../../src/prune/groups.ts";
import { openSession } from "../../src/runtime/index.ts";

/** Seeded masks: up to a share of the indices of a share of the groups go, one stays at least. */
export function randomMasks(groups: readonly Group[], seed: number, indices = 0.5, share = 0.8): Masks {
  const next = random(seed);
  const chosen = groups.filter(() => next() < share);
  return new Map(
    (chosen.length > 0 ? chosen : groups.slice(0, 1)).map(({ variable, size }) => [
      variable,
      maskOf(size, next, indices),
    ]),
  );
}

function maskOf(size: number, next: Random, most: number): Uint8Array {
  const rate = next() * most;
  const mask = Uint8Array.from({ length: size }, () => (next() < rate ? 0 : 1));
  if (!mask.includes(0)) mask[Math.floor(next() * size)] = 0;
  if (!mask.includes(1)) mask[Math.floor(next() * size)] = 1;
  return mask;
}

/**
 * The whole model with every term taken out that a cut takes out: a factor of 0 before each input that sums over what is
 * cut, −3·10³⁸ before one that takes a maximum. An average over fewer is larger by n / n′.
 */
export function masked(d: Derivation, masks: Masks): Model {
  const e = edit(d.model.graph);
  for (const { node, contractions } of d.flows)
    for (const contraction of contractions) {
      const name = node.inputs[contraction.input] ?? "";
      const axes = d.axes.get(name) ?? [];
      const mask = axes[contraction.axis] && keep(axes[contraction.axis]!, masks);
      if (mask === undefined || d.facts.get(name)?.dtype !== "float32") continue;
      const shape = axes.map((_, i) => (i === contraction.axis ? mask.length : 1));
      const now = e.current(node)!;
      const read = now.inputs[contraction.input] ?? "";
      const by = reduced(e, read, shape, mask, contraction, now.op.endsWith("Min"));
      e.change(now, { inputs: now.inputs.map((input, i) => (i === contraction.input ? by : input)) });
    }
  return { ...d.model, graph: { ...e.done(), valueInfo: new Map() } };
}

function reduced(
  e: ReturnType<typeof edit>,
  read: string,
  shape: readonly number[],
  mask: Uint8Array,
  { kind }: Contraction,
  least: boolean,
): string {
  const kept = mask.reduce((a, b) => a + b, 0);
  if (kind === "^") {
    const gone = float32s(
      shape,
      Array.from(mask, (stays) => (stays === 1 ? 0 : least ? 3e38 : -3e38)),
    );
    return e.add({ op: "Add", inputs: [read, e.weight("gone", gone)] })[0]!;
  }
  const factor = kind === "~" ? mask.length / kept : 1;
  const zero = float32s(
    shape,
    Array.from(mask, (stays) => stays * factor),
  );
  return e.add({ op: "Mul", inputs: [read, e.weight("mask", zero)] })[0]!;
}

/** Another mask of the same size for one group: each index's neighbour goes instead. */
export function rotated(mask: Uint8Array): Uint8Array {
  return Uint8Array.from(mask, (_, i) => mask[(i + 1) % mask.length]!);
}

/** The first output that holds reals, and the others, flattened. */
export async function outputsOf(model: Model, feeds: Readonly<Record<string, TensorData>>): Promise<Float32Array> {
  const session = await openSession(model);
  try {
    const out = Object.values(await session.run(feeds)).filter((t) => t.dtype === "float32");
    const all = new Float32Array(out.reduce((sum, t) => sum + t.data.length, 0));
    let at = 0;
    for (const { data } of out) {
      all.set(data as Float32Array, at);
      at += data.length;
    }
    return all;
  } finally {
    await session.close();
  }
}

/** The largest difference, and the largest number of the first. */
export function apart(a: Float32Array, b: Float32Array): { difference: number; largest: number } {
  if (a.length !== b.length) return { difference: Infinity, largest: 1 };
  let [difference, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const gap = Math.abs(a[i]! - b[i]!);
    difference = Math.max(difference, Number.isNaN(gap) ? Infinity : gap);
    largest = Math.max(largest, Math.abs(a[i]!));
  }
  return { difference, largest };
}
