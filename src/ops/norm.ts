import type { Dim } from "../ir/dim.ts";
import { type Applied, defineOp, type FrozenAxes, type Mapped, type OpRule } from "./define.ts";
import { axisOf, fact, required } from "./facts.ts";

const NO_RANK: FrozenAxes = { frozen: "the rank of what is normalized is not known" };
const SPATIAL = "xyzuvw";

const spread = (rank: number, mark = ""): string =>
  [...SPATIAL.slice(0, Math.max(0, rank - 2))].map((c) => mark + c).join("");

/** A parameter [C] must fit the channels of x [N, C, …]. */
function perChannel(n: Applied, first: number, last: number): void {
  const channels = n.inputs[0]?.shape?.[1];
  for (let i = first; i <= last; i++) {
    const shape = n.inputs[i]?.shape;
    const size = shape?.[0];
    if (
      shape !== undefined &&
      (shape.length !== 1 || (typeof size === "number" && typeof channels === "number" && size !== channels))
    )
      n.fail(`input ${i} is [${shape}] for ${channels} channels.`);
  }
}

/** x, scale, bias, mean, variance. In training mode it gives the running mean and variance too. */
const batchNormalization = defineOp({
  name: "BatchNormalization",
  since: 14,
  infer: (n) => {
    const x = required(n, 0);
    perChannel(n, 1, 4);
    const running = n.int("training_mode", 0) === 1 ? [n.inputs[3], n.inputs[4]] : [];
    return [fact(x.dtype, x.shape), ...running];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined) return NO_RANK;
    if (n.int("training_mode", 0) === 1) return { frozen: "BatchNormalization in training mode mixes the batch" };
    const x = rank === 1 ? "c" : `nc${spread(rank)}`;
    return `${x},c,c,c,c -> ${x}`;
  },
  statistics: [3, 4],
  scale: 1,
});

const instanceNormalization = defineOp({
  name: "InstanceNormalization",
  since: 6,
  infer: (n) => {
    perChannel(n, 1, 2);
    return [fact(required(n, 0).dtype, required(n, 0).shape)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    return rank === undefined ? NO_RANK : `nc${spread(rank, "~")},c,c -> nc${spread(rank, "~")}`;
  },
  scale: 1,
});

/** Letters of x with those from `axis` on counted, and the part that scale and bias have. */
function normalizedAxes(
  n: Mapped,
  axis: number,
): { x: string; part: (input: number) => string; kept: string } | FrozenAxes {
  const rank = n.inputs[0]?.shape?.length;
  if (rank === undefined) return NO_RANK;
  const letters = [..."abcdefgh"].slice(0, rank).map((c, i) => (i < axis ? c : `~${c}`));
  return {
    x: letters.join(""),
    part: (input) => {
      const shape = n.inputs[input]?.shape;
      return shape === undefined
        ? ""
        : shape.map((dim, i) => partLetter(letters, n, rank - shape.length + i, dim)).join("");
    },
    kept: letters.map((c, i) => (i < axis ? c : "1")).join(""),
  };
}

const partLetter = (letters: readonly string[], n: Mapped, axis: number, dim: Dim): string =>
  dim === 1 && n.inputs[0]?.shape?.[axis] !== 1 ? "1" : (letters[axis] ?? "");

/** x, scale, bias → y, and the mean and inverse deviation that it used. */
const layerNormalization = defineOp({
  name: "LayerNormalization",
  since: 17,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    const axis = shape && axisOf(n, n.int("axis", -1), shape.length);
    const kept = shape?.map((dim, i) => (i < (axis ?? 0) ? dim : 1));
    return [fact(dtype, shape), fact("float32", kept), fact("float32", kept)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined) return NO_RANK;
    const said = normalizedAxes(n, axisOf(n, n.int("axis", -1), rank));
    if ("frozen" in said) return said;
    const inputs = n.node.inputs.map((name, i) => (name === "" ? "" : i === 0 ? said.x : said.part(i)));
    return `${inputs.join(",")} -> ${[said.x, said.kept, said.kept].slice(0, n.outputs).join(",")}`;
  },
  scale: 1,
});

const rmsNormalization = defineOp({
  name: "RMSNormalization",
  since: 23,
  infer: (n) => [fact(required(n, 0).dtype, required(n, 0).shape)],
  axes: layerNormalization.axes as NonNullable<OpRule["axes"]>,
  scale: 1,
  isotropic: true,
});

/** x [N, C, …] in num_groups groups of channels; scale and bias [C] (from opset 21 on). */
const groupNormalization = defineOp({
  name: "GroupNormalization",
  since: 21,
  infer: (n) => {
    perChannel(n, 1, 2);
    return [fact(required(n, 0).dtype, required(n, 0).shape)];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined) return NO_RANK;
    const x = `n(g~i)${spread(rank, "~")}`;
    return { map: `${x},(gi),(gi) -> ${x}`, sizes: { g: n.int("num_groups", 1) }, holds: { num_groups: "g" } };
  },
  scale: 1,
});

/** Normalizes x + skip (+ bias) over the last axis: x, skip, gamma, beta (not of the simplified one), bias. Gives the sum too. */
const skipNormalization = (name: string): OpRule =>
  defineOp({
    name,
    domain: "com.microsoft",
    since: 1,
    infer: (n) => {
      const { dtype, shape } = required(n, 0);
      const kept = shape?.map((dim, i) => (i < shape.length - 1 ? dim : 1));
      return [fact(dtype, shape), fact("float32", kept), fact("float32", kept), fact(dtype, shape)];
    },
    axes: (n) => {
      const rank = n.inputs[0]?.shape?.length;
      const skip = n.inputs[1]?.shape;
      if (rank === undefined || skip === undefined) return NO_RANK;
      const said = normalizedAxes(n, rank - 1);
      if ("frozen" in said) return said;
      const inputs = n.node.inputs.map((input, i) => (input === "" ? "" : i === 0 ? said.x : said.part(i)));
      return `${inputs.join(",")} -> ${[said.x, said.kept, said.kept, said.x].slice(0, n.outputs).join(",")}`;
    },
    scale: 2,
  });

const same = (name: string, since: number, frozen: (n: Mapped) => string): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => [fact(required(n, 0).dtype, required(n, 0).shape)],
    axes: (n) => ({ frozen: frozen(n) }),
  });

export const normalizations: readonly OpRule[] = [
  batchNormalization,
  groupNormalization,
  instanceNormalization,
  layerNormalization,
  same("LRN", 1, () => "LRN slides a window along it"),
  same("LpNormalization", 1, () => "LpNormalization runs along it"),
  same("MeanVarianceNormalization", 9, () => "MeanVarianceNormalization runs along it"),
  rmsNormalization,
  skipNormalization("SkipLayerNormalization"),
  skipNormalization("SkipSimplifiedLayerNormalization"),
];
