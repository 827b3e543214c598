import type { Node } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { type Affine, absorbAfter, type Linear, linearOf } from "./linear.ts";
import { isReal, readNumbers } from "./numbers.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Computes Mul, Div, Add and Sub by a number per channel into the weights of the Conv, ConvTranspose or Gemm before it. */
export const foldScales = (): Pass =>
  rewriting("foldScales", async (site) => {
    for (const node of site.edit.nodes()) {
      if (!OPS.has(node.op) || node.domain !== "") continue;
      for (const side of [0, 1]) if (await fold(site, node, side)) break;
    }
  });

const OPS: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div"]);

/** Where input `side` is what a linear node computes and the other one constant. */
async function fold(site: Site, node: Node, side: number): Promise<boolean> {
  const x = node.inputs[side] ?? "";
  const constant = site.constant(node.inputs[1 - side] ?? "");
  const linear = linearOf(site, site.edit.writerOf(x));
  if (linear === undefined || constant === undefined || linear.node.op === "MatMul" || linear.beta === 0) return false;
  if (site.edit.readersOf(x).length !== 1 || site.edit.isOutput(x) || !perChannel(constant, linear)) return false;
  const affine = affineOf(node.op, side, await readNumbers(constant));
  if (affine === undefined || !site.edit.bypass(node, x)) return false;
  const now = linearOf(site, site.edit.current(linear.node));
  if (now !== undefined) await absorbAfter(site, now, affine);
  site.note(`Computed ${node.op} into the weights before it.`, node);
  return true;
}

/** Whether a constant that is broadcast against the node's result has one number, or one per output channel. */
function perChannel({ dtype, shape }: Tensor, { outputs, axisFromEnd, weight }: Linear): boolean {
  if (!isReal(dtype) || shape.length > weight.shape.length) return false;
  return shape.every((size, i) => size === 1 || (shape.length - 1 - i === axisFromEnd && size === outputs));
}

function affineOf(op: string, side: number, c: Float64Array): Affine | undefined {
  switch (op) {
    case "Add":
      return { gain: [1], shift: c };
    case "Sub":
      return side === 0 ? { gain: [1], shift: c.map((v) => -v) } : { gain: [-1], shift: c };
    case "Mul":
      return { gain: c, shift: [0] };
    default:
      return side === 0 && c.every((v) => v !== 0) ? { gain: c.map((v) => 1 / v), shift: [0] } : undefined;
  }
}
