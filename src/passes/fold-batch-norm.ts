import { floatAttr, intAttr } from "../ir/attrs.ts";
import type { Node } from "../ir/graph.ts";
import { type Affine, absorbAfter, absorbBefore, linearOf } from "./linear.ts";
import { isReal, readNumbers } from "./numbers.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/**
 * Computes BatchNormalization into the weights of the Conv, ConvTranspose, Gemm or MatMul whose result it normalizes,
 * or of the unpadded Conv, Gemm or MatMul that reads it: w·γ/√(σ²+ε) and (b−μ)·γ/√(σ²+ε)+β, in double, rounded once.
 */
export const foldBatchNorm = (): Pass =>
  rewriting("foldBatchNorm", async (site) => {
    for (const node of site.edit.nodes()) {
      const affine = await affineOf(site, node);
      if (affine !== undefined && ((await foldBack(site, node, affine)) || (await foldOn(site, node, affine))))
        site.note("Computed BatchNormalization into the weights beside it.", node);
    }
  });

/** What a BatchNormalization of constants does to each channel; undefined where they are none. */
export async function affineOf(site: Pick<Site, "constant">, node: Node): Promise<Affine | undefined> {
  if (node.op !== "BatchNormalization" || node.domain !== "" || intAttr(node, "training_mode", 0) === 1)
    return undefined;
  const tensors = node.inputs.slice(1, 5).map((name) => site.constant(name));
  if (tensors.length < 4 || !tensors.every((t) => t !== undefined && isReal(t.dtype))) return undefined;
  const [scale, bias, mean, variance] = (await Promise.all(tensors.map((t) => readNumbers(t!)))) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const epsilon = floatAttr(node, "epsilon", 1e-5);
  const gain = scale.map((s, c) => s / Math.sqrt((variance[c] as number) + epsilon));
  return { gain, shift: bias.map((b, c) => b - (mean[c] as number) * (gain[c] as number)) };
}

/** Into what computes its input. */
async function foldBack(site: Site, node: Node, affine: Affine): Promise<boolean> {
  const x = node.inputs[0] ?? "";
  const linear = linearOf(site, site.edit.writerOf(x));
  if (linear === undefined || linear.outputs !== affine.gain.length || linear.beta === 0) return false;
  if (site.edit.readersOf(x).length !== 1 || site.edit.isOutput(x)) return false;
  if (linear.node.op === "MatMul" && site.fact(linear.node.inputs[0] ?? "")?.shape?.length !== 2) return false;
  if (!site.edit.bypass(node, x)) return false;
  const now = linearOf(site, site.edit.current(linear.node));
  if (now !== undefined) await absorbAfter(site, now, affine);
  return true;
}

/** Into the one node that reads its result. */
async function foldOn(site: Site, node: Node, affine: Affine): Promise<boolean> {
  const [y = ""] = node.outputs;
  const readers = site.edit.readersOf(y);
  const linear = linearOf(site, readers[0]);
  if (linear === undefined || readers.length !== 1 || site.edit.isOutput(y) || linear.node.inputs[0] !== y)
    return false;
  if (linear.padded || linear.beta === 0 || linear.inputs !== affine.gain.length) return false;
  if (linear.axisFromEnd === 0 && site.fact(y)?.shape?.length !== 2) return false;
  if (linear.node.op === "Gemm" && intAttr(linear.node, "transA", 0) === 1) return false;
  await absorbBefore(site, linear, affine, node.inputs[0] ?? "");
  site.edit.remove(node);
  return true;
}
