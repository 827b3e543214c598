import { addDim, type Dim, mulDim, productOf, sameDim, subDim, UNKNOWN } from "../ir/dim.ts";
import {
  type Applied,
  type AxesRule,
  defineOp,
  type Fact,
  type FrozenAxes,
  type Mapped,
  type OpRule,
} from "./define.ts";
import { fact, required } from "./facts.ts";
import { slideSizes, spatial, windowsOf } from "./windows.ts";

const UNKNOWN_RANK: FrozenAxes = { frozen: "the rank of what is convolved is not known" };

/** Shape of a convolution of x [N, C, …] with w [M, C/group, …] (ONNX Conv). */
function convShape(n: Applied, x: Fact, w: Fact): readonly Dim[] | undefined {
  if (x.shape === undefined || w.shape === undefined) return undefined;
  if (x.shape.length < 3 || x.shape.length !== w.shape.length)
    n.fail(`input is [${x.shape}] and the kernel [${w.shape}]; both need the same rank, 3 or more.`);
  const group = n.int("group", 1);
  const [batch, channels, ...sizes] = x.shape as [Dim, Dim, ...Dim[]];
  const [filters, each, ...kernel] = w.shape as [Dim, Dim, ...Dim[]];
  const wanted = mulDim(each, group);
  if (typeof channels === "number" && typeof wanted === "number" && channels !== wanted)
    n.fail(
      `input is [${x.shape}] with ${channels} channels; the kernel [${w.shape}] with group ${group} takes ${wanted}.`,
      "Check what writes its input.",
    );
  return [batch, filters, ...slideSizes(n, sizes, windowsOf(n, kernel))];
}

/** `n(gi)[xk][yl], (go)ikl, (go) -> n(go)xy`; more operands are read as numbers. */
function convAxes(n: Mapped, data = 0, weight = 1, bias = 2): AxesRule | FrozenAxes {
  const rank = n.inputs[data]?.shape?.length;
  if (rank === undefined) return UNKNOWN_RANK;
  const { windows, positions, kernel } = spatial(rank - 2);
  const operands = n.node.inputs.map((name, i) =>
    name === "" ? "" : i === data ? `n(gi)${windows}` : i === weight ? `(go)i${kernel}` : i === bias ? "(go)" : "",
  );
  return { map: `${operands.join(",")} -> n(go)${positions}`, sizes: { g: n.int("group", 1) }, holds: { group: "g" } };
}

const conv = defineOp({
  name: "Conv",
  since: 1,
  infer: (n) => {
    const [x, w] = [required(n, 0), required(n, 1)];
    const [filters, bias] = [w.shape?.[0], n.inputs[2]?.shape];
    if (
      bias !== undefined &&
      filters !== undefined &&
      (bias.length !== 1 || (typeof bias[0] === "number" && typeof filters === "number" && !sameDim(bias[0], filters)))
    )
      n.fail(`the bias is [${bias}] for ${filters} filters.`);
    return [fact(x.dtype, convShape(n, x, w))];
  },
  axes: (n) => convAxes(n),
  quant: { kind: "contraction", weight: 1, bias: 2 },
});

/** x [N, C, …], w [C, M/group, …]: each size is (size − 1)·stride + extent + output_padding − pads, or `output_shape`. */
const convTranspose = defineOp({
  name: "ConvTranspose",
  since: 1,
  infer: (n) => {
    const [x, w] = [required(n, 0), required(n, 1)];
    if (x.shape === undefined || w.shape === undefined) return [fact(x.dtype)];
    if (x.shape.length < 3 || x.shape.length !== w.shape.length)
      n.fail(`input is [${x.shape}] and the kernel [${w.shape}]; both need the same rank, 3 or more.`);
    const [batch, channels, ...sizes] = x.shape as [Dim, Dim, ...Dim[]];
    const [taken, each, ...kernel] = w.shape as [Dim, Dim, ...Dim[]];
    if (typeof channels === "number" && typeof taken === "number" && channels !== taken)
      n.fail(`input is [${x.shape}] with ${channels} channels; the kernel [${w.shape}] takes ${taken}.`);
    const win = windowsOf(n, kernel);
    const extra = n.ints("output_padding") ?? [];
    const asked = n.ints("output_shape");
    const out = sizes.map((size, i): Dim => {
      if (asked !== undefined) return asked[i + asked.length - sizes.length] ?? "?";
      const stride = win.strides[i] ?? 1;
      if (win.autoPad.startsWith("SAME")) return mulDim(size, stride);
      const pads = win.autoPad === "VALID" ? 0 : (win.begin[i] ?? 0) + (win.end[i] ?? 0);
      const reach = addDim(mulDim(subDim(kernel[i] ?? 1, 1), win.dilations[i] ?? 1), 1 + (extra[i] ?? 0) - pads);
      return addDim(mulDim(subDim(size, 1), stride), reach);
    });
    return [fact(x.dtype, [batch, mulDim(each, n.int("group", 1)), ...out])];
  },
  axes: (n) => {
    const rank = n.inputs[0]?.shape?.length;
    if (rank === undefined) return UNKNOWN_RANK;
    const { windows, positions, kernel } = spatial(rank - 2);
    const bias = n.node.inputs[2] ? ",(go)" : n.node.inputs.length > 2 ? "," : "";
    return {
      map: `n(gi)${positions},(gi)o${kernel}${bias} -> n(go)${windows}`,
      sizes: { g: n.int("group", 1) },
      holds: { group: "g" },
    };
  },
  quant: { kind: "contraction", weight: 1, bias: 2 },
});

/** x, w, x_zero_point, w_zero_point → int32. */
const convInteger = defineOp({
  name: "ConvInteger",
  since: 10,
  infer: (n) => [fact("int32", convShape(n, required(n, 0), required(n, 1)))],
  axes: (n) => convAxes(n, 0, 1, -1),
});

/** x, its scale and zero point, w, its scale and zero point, the output's scale and zero point, bias. */
const qLinearConv = defineOp({
  name: "QLinearConv",
  since: 10,
  infer: (n) => [fact(required(n, 7).dtype, convShape(n, required(n, 0), required(n, 3)))],
  axes: (n) => convAxes(n, 0, 3, 8),
});

/** Conv with an activation fused, and perhaps a sum z added before it. */
const fusedConv = defineOp({
  name: "FusedConv",
  domain: "com.microsoft",
  since: 1,
  infer: conv.infer,
  axes: (n) => (n.node.inputs[3] ? { frozen: "FusedConv adds a sum to it" } : convAxes(n)),
});

/** Each tap of the kernel reads where `offset` [N, taps·axes, …] moves it to, and counts what `mask` says: x, w, offset, bias, mask. */
const deformConv = defineOp({
  name: "DeformConv",
  since: 19,
  infer: (n) => {
    required(n, 2);
    return [fact(required(n, 0).dtype, convShape(n, required(n, 0), required(n, 1)))];
  },
  axes: (n) => {
    const axes = convAxes(n, 0, 1, 3);
    const rank = n.inputs[0]?.shape?.length;
    if ("frozen" in axes || rank === undefined) return axes;
    const positions = spatial(rank - 2).positions;
    const operands = axes.map.split(" -> ")[0]?.split(",") ?? [];
    // Groups of offsets tell input channels apart by their place.
    if (n.int("offset_group", 1) > 1) operands[0] = (operands[0] as string).replace("(gi)", "!(gi)");
    operands[2] = `n!q${positions}`;
    if (n.node.inputs[4]) operands[4] = `n!m${positions}`;
    return { ...axes, map: `${operands.join(",")} -> n(go)${positions}` };
  },
  macs: (n) => productOf([...(n.results[0]?.shape ?? [UNKNOWN]), ...(n.inputs[1]?.shape?.slice(1) ?? [UNKNOWN])]),
});

export const convolutions: readonly OpRule[] = [conv, convInteger, convTranspose, deformConv, fusedConv, qLinearConv];
