import { addDim, type Dim, mulDim, subDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, defineOp, type FrozenAxes, type Mapped, type OpRule } from "./define.ts";
import { fact, required } from "./facts.ts";
import { slideSizes, spatial, windowsOf } from "./windows.ts";

const NO_RANK: FrozenAxes = { frozen: "the rank of what is pooled is not known" };

/** Shape of a pool over x [N, C, …]. */
function poolShape(n: Applied): readonly Dim[] | undefined {
  const { shape } = required(n, 0);
  if (shape === undefined) return undefined;
  const kernel = n.ints("kernel_shape") ?? n.fail("it has no kernel_shape.");
  if (shape.length !== kernel.length + 2)
    n.fail(`input is [${shape}]; a kernel [${kernel}] needs rank ${kernel.length + 2}.`);
  const [batch, channels, ...sizes] = shape as [Dim, Dim, ...Dim[]];
  return [batch, channels, ...slideSizes(n, sizes, windowsOf(n, kernel), n.int("ceil_mode", 0) === 1)];
}

/** `nc[xk][yl] -> ncxy`. */
function poolAxes(n: Mapped) {
  const rank = n.inputs[0]?.shape?.length;
  if (rank === undefined) return NO_RANK;
  if (n.outputs > 1) return { frozen: "MaxPool gives flat positions in it" };
  const { windows, positions, kernel } = spatial(rank - 2);
  const sizes = Object.fromEntries([...kernel].map((letter, i) => [letter, n.ints("kernel_shape")?.[i] ?? 1]));
  return { map: `nc${windows} -> nc${positions}`, sizes };
}

const pool = (name: string, since: number, quant?: OpRule["quant"]): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const shape = poolShape(n);
      return [fact(required(n, 0).dtype, shape), fact("int64", shape)].slice(0, name === "MaxPool" ? 2 : 1);
    },
    axes: poolAxes,
    factor: () => "first",
    ...(quant && { quant }),
  });

/** Over all spatial axes at once, which stay with size 1. */
const globalPool = (name: string, since: number, mark: string, quant?: OpRule["quant"]): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => {
      const { dtype, shape } = required(n, 0);
      if (shape !== undefined && shape.length < 3)
        n.fail(`input is [${shape}]; it needs spatial axes, rank 3 or more.`);
      return [
        fact(
          dtype,
          shape?.map((dim, axis) => (axis < 2 ? dim : 1)),
        ),
      ];
    },
    axes: (n) => {
      const rank = n.inputs[0]?.shape?.length;
      if (rank === undefined) return NO_RANK;
      const letters = [..."xyzuvw"].slice(0, rank - 2);
      return `nc${letters.map((letter) => mark + letter).join("")} -> nc${"1".repeat(rank - 2)}`;
    },
    factor: () => "first",
    ...(quant && { quant }),
  });

/** Puts values back where MaxPool took them from: x, indices, output_shape. */
const maxUnpool = defineOp({
  name: "MaxUnpool",
  since: 9,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    const asked = n.inputs[2]?.value;
    if (asked !== undefined) return [fact(dtype, asked)];
    if (shape === undefined || n.node.inputs[2])
      return [
        fact(
          dtype,
          shape?.map(() => "?"),
        ),
      ];
    const [batch, channels, ...sizes] = shape as [Dim, Dim, ...Dim[]];
    const { kernel, strides, begin, end } = windowsOf(n, n.ints("kernel_shape") ?? n.fail("it has no kernel_shape."));
    const out = sizes.map((size, i) =>
      subDim(addDim(mulDim(subDim(size, 1), strides[i] ?? 1), kernel[i] ?? 1), (begin[i] ?? 0) + (end[i] ?? 0)),
    );
    return [fact(dtype, [batch, channels, ...out])];
  },
  axes: () => ({ frozen: "MaxUnpool puts values at positions that are given" }),
});

/** x, its scale and zero point, those of the result: com.microsoft. */
const qLinearAveragePool = defineOp({
  name: "QLinearAveragePool",
  domain: "com.microsoft",
  since: 1,
  infer: (n) => {
    const { dtype, shape } = required(n, 0);
    if (shape === undefined || n.int("channels_last", 0) === 0) return [fact(dtype, poolShape(n))];
    const turned = fact(dtype, [shape[0] ?? UNKNOWN, shape.at(-1) ?? UNKNOWN, ...shape.slice(1, -1)]);
    const [batch, channels, ...sizes] = poolShape({ ...n, inputs: [turned, ...n.inputs.slice(1)] }) ?? [];
    return [fact(dtype, [batch ?? UNKNOWN, ...sizes, channels ?? UNKNOWN])];
  },
  axes: (n) => {
    const axes = poolAxes(n);
    if ("frozen" in axes) return axes;
    const [left = "", right = ""] = axes.map.split(" -> ");
    const place = (side: string): string => (n.int("channels_last", 0) === 1 ? `n${side.slice(2)}c` : side);
    return { ...axes, map: `${place(left)}${",".repeat(n.inputs.length - 1)} -> ${place(right)}` };
  },
});

export const pools: readonly OpRule[] = [
  pool("AveragePool", 7, { kind: "arithmetic" }),
  globalPool("GlobalAveragePool", 1, "~", { kind: "arithmetic" }),
  globalPool("GlobalLpPool", 2, ""),
  globalPool("GlobalMaxPool", 1, "^"),
  pool("LpPool", 2),
  pool("MaxPool", 8, { kind: "transparent" }),
  maxUnpool,
  qLinearAveragePool,
];
