import { intAttr, intsAttr, stringAttr } from "../ir/attrs.ts";
import { sameDim } from "../ir/dim.ts";
import type { Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { removeDeadCode } from "./dead-code.ts";
import { affineOf, foldBatchNorm } from "./fold-batch-norm.ts";
import { put } from "./linear.ts";
import { isReal, readNumbers, roundTo } from "./numbers.ts";
import { type Pass, sequence } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/**
 * Makes one convolution of two that read the same and are added, where the window of one lies inside the other's; the input
 * itself and its BatchNormalization are such branches too (Ding et al. 2021, arXiv:2101.03697).
 */
export const mergeBranches = (): Pass =>
  rewriting("mergeBranches", async (site) => {
    for (const node of site.edit.nodes()) {
      const [a = "", b = ""] = node.inputs;
      if (node.op !== "Add" || node.domain !== "" || a === b || !sameShape(site, a, b, node.outputs[0] ?? "")) continue;
      if ((await merge(site, node, a, b)) || (await merge(site, node, b, a)))
        site.note("Made one convolution of two branches that are added.", node);
    }
  });

/**
 * Turns what was trained as a sum of branches (MobileOne, RepVGG) into the plain convolutions that compute the same:
 * {@link foldBatchNorm}, then {@link mergeBranches}.
 *
 * @example
 * const { model } = await reparameterize().run(trained);
 */
export const reparameterize = (): Pass => ({
  ...sequence([foldBatchNorm(), mergeBranches(), removeDeadCode()], "reparameterize"),
  options: {},
});

function sameShape({ fact }: Site, ...names: readonly string[]): boolean {
  const [first, ...others] = names.map((name) => fact(name)?.shape);
  return others.every(
    (shape) =>
      first !== undefined && shape?.length === first.length && shape.every((size, axis) => sameDim(size, first[axis]!)),
  );
}

/** A convolution of constant weights, spelled out. */
interface Branch {
  readonly node: Node;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly group: number;
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Zeros before the image, one number an axis. */
  readonly before: readonly number[];
}

/** What a branch adds to a convolution that reads the same. */
interface Term {
  /** Adds to the kernel's numbers. */
  addTo(values: Float64Array): void;
  /** One number an output channel, or one for all. */
  readonly shift: ArrayLike<number>;
  /** What computes it; the input itself is computed elsewhere. */
  readonly node: Node | undefined;
}

/** Puts the branch `small` into the convolution that computes `large`, if that can be. */
async function merge(site: Site, sum: Node, large: string, small: string): Promise<boolean> {
  const { edit } = site;
  const into = branchOf(site, large);
  const term = into && ((await convolutionTerm(site, small, into)) ?? (await pixelTerm(site, small, into)));
  if (into === undefined || term === undefined) return false;
  const { node, weight, bias } = into;
  const [x = "", w = "", b = ""] = node.inputs;
  const values = await readNumbers(weight);
  term.addTo(values);
  const shifts = await numbersOf(bias, weight.shape[0] ?? 0);
  const shifted = shifts.map((value, o) => value + (term.shift[term.shift.length === 1 ? 0 : o] as number));
  const inputs = [x, put(site, w, roundTo(weight.dtype, weight.shape, values))];
  const tensor = roundTo(weight.dtype, [shifted.length], shifted);
  inputs.push(b === "" ? edit.weight(`${sum.outputs[0]}.bias`, tensor) : put(site, b, tensor));
  edit.remove(node);
  if (term.node !== undefined) edit.remove(term.node);
  edit.replace(sum, { op: node.op, name: node.name, inputs, outputs: sum.outputs, attrs: node.attrs });
  return true;
}

/** The convolution that computes a value for one reader alone; undefined where it is none of constant weights. */
function branchOf(site: Site, name: string): Branch | undefined {
  const node = onlyFor(site, name);
  if (node?.op !== "Conv" || node.domain !== "") return undefined;
  if (!["NOTSET", "VALID"].includes(stringAttr(node, "auto_pad", "NOTSET"))) return undefined;
  const [, w = "", b = ""] = node.inputs;
  const [weight, bias] = [site.constant(w), b === "" ? undefined : site.constant(b)];
  if (weight === undefined || !isReal(weight.dtype) || (b !== "" && bias === undefined)) return undefined;
  const kernel = weight.shape.slice(2);
  const ones = kernel.map(() => 1);
  return {
    node,
    weight,
    bias,
    group: intAttr(node, "group", 1),
    kernel,
    strides: intsAttr(node, "strides") ?? ones,
    dilations: intsAttr(node, "dilations") ?? ones,
    before: intsAttr(node, "pads")?.slice(0, kernel.length) ?? ones.map(() => 0),
  };
}

/** The node that computes a value which one node reads, and no one else. */
function onlyFor({ edit }: Site, name: string): Node | undefined {
  return edit.readersOf(name).length === 1 && !edit.isOutput(name) ? edit.writerOf(name) : undefined;
}

async function convolutionTerm(site: Site, name: string, into: Branch): Promise<Term | undefined> {
  const branch = branchOf(site, name);
  if (branch === undefined || branch.node.inputs[0] !== into.node.inputs[0]) return undefined;
  const places = placesIn(into, branch);
  if (places === undefined || branch.group !== into.group || branch.weight.dtype !== into.weight.dtype)
    return undefined;
  const added = await readNumbers(branch.weight);
  const [small, large] = [elements(branch.kernel), elements(into.kernel)];
  return {
    addTo: (values) => {
      for (const [n, value] of added.entries()) {
        const at = Math.floor(n / small) * large + (places[n % small] as number);
        values[at] = (values[at] as number) + value;
      }
    },
    shift: await numbersOf(branch.bias, branch.weight.shape[0] ?? 0),
    node: branch.node,
  };
}

/** The input itself, or its BatchNormalization, as a convolution of one pixel and channel each. */
async function pixelTerm(site: Site, name: string, into: Branch): Promise<Term | undefined> {
  const x = into.node.inputs[0] ?? "";
  const places = placesIn(into, {
    ...into,
    kernel: into.kernel.map(() => 1),
    strides: into.kernel.map(() => 1),
    before: into.kernel.map(() => 0),
  });
  const [out = 0, perGroup = 0] = into.weight.shape;
  if (places === undefined || out !== perGroup * into.group) return undefined;
  const norm = name === x ? undefined : onlyFor(site, name);
  if (name !== x && norm?.inputs[0] !== x) return undefined;
  const affine = norm === undefined ? { gain: [1], shift: [0] } : await affineOf(site, norm);
  if (affine === undefined) return undefined;
  const { gain, shift } = affine;
  return {
    addTo: (values) => {
      for (let o = 0; o < out; o++) {
        const at = (o * perGroup + (o % perGroup)) * elements(into.kernel) + (places[0] as number);
        values[at] = (values[at] as number) + (gain[gain.length === 1 ? 0 : o] as number);
      }
    },
    shift,
    node: norm,
  };
}

/** Where the places of a kernel lie in a larger one that slides alike, row-major; undefined where one lies outside. */
function placesIn(large: Branch, small: Branch): number[] | undefined {
  if (large.kernel.length !== small.kernel.length) return undefined;
  let places = [0];
  for (const [axis, size] of large.kernel.entries()) {
    if (large.strides[axis] !== small.strides[axis]) return undefined;
    const [step = 1, between = 1] = [large.dilations[axis], small.dilations[axis]];
    const start = (large.before[axis] ?? 0) - (small.before[axis] ?? 0);
    const along = Array.from({ length: small.kernel[axis] ?? 0 }, (_, j) => (start + j * between) / step);
    if (!along.every((place) => Number.isInteger(place) && place >= 0 && place < size)) return undefined;
    places = places.flatMap((place) => along.map((next) => place * size + next));
  }
  return places;
}

const numbersOf = async (tensor: Tensor | undefined, count: number): Promise<Float64Array> =>
  tensor === undefined ? new Float64Array(count) : readNumbers(tensor);
