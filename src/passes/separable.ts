import { int, intAttr, ints } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import { rankOne } from "../numeric/rank-one.ts";
import { isReal, readNumbers, roundTo } from "./numbers.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

export interface SeparableOptions {
  /** Names of nodes that stay as they are. */
  readonly nodesToExclude?: readonly string[];
  /** Convolutions whose kernels it would approximate worse than this stay: a relative error, 0 to 1 (1: all are replaced). */
  readonly maxError?: number;
}

/** What replacing one convolution means. */
export interface SeparableLayer {
  readonly name: string;
  /** Multiply-adds of one example before and after; 0 where the size of its output is not known. */
  readonly macs: { readonly before: number; readonly after: number };
  /** Before / after, known whatever the sizes: about k·k where there are many channels. */
  readonly saving: number;
  readonly parameters: { readonly before: number; readonly after: number };
  /** ‖W − W′‖ / ‖W‖ of the kernels: 0 where they are of rank 1 already. */
  readonly error: number;
}

/**
 * Replaces convolutions of one group by a depthwise and a pointwise one, whose product is nearest to the kernels in the
 * sum of squares: of every input channel, the [out × k·k] numbers become the outer product of their leading singular
 * vectors (Jaderberg et al. 2014, arXiv:1405.3866; the form of Chollet 2017, arXiv:1610.02357). It is exact where kernels
 * are of rank 1; elsewhere the model has to be trained again, best by distillation. Pointwise convolutions, and those that
 * would not become cheaper, stay.
 *
 * @example
 * const { model: cheap } = await separable({ nodesToExclude: ["stem"] }).run(model);
 */
export function separable(options: SeparableOptions = {}): Pass {
  const { nodesToExclude = [], maxError = 1 } = options;
  return {
    ...rewriting("separable", async (site) => {
      for (const node of site.graph.nodes) {
        const split = await splitOf(site, node, options);
        if (split === undefined) continue;
        put(site, node, split);
        site.note("Replaced a convolution by a depthwise and a pointwise one.", node);
      }
    }),
    options: { nodesToExclude, maxError },
  };
}

/** What {@link separable} would replace, and what that saves and costs, in the order of the nodes. */
export async function planSeparable(model: Model, options: SeparableOptions = {}): Promise<SeparableLayer[]> {
  const layers: SeparableLayer[] = [];
  const look = rewriting("planSeparable", async (site) => {
    for (const node of site.graph.nodes) {
      const split = await splitOf(site, node, options);
      if (split !== undefined) layers.push(layerOf(site, node, split));
    }
  });
  await look.run(model);
  return layers;
}

interface Split {
  readonly weight: Tensor;
  /** [in, 1, …kernel], row-major. */
  readonly depthwise: Float64Array;
  /** [out, in]. */
  readonly pointwise: Float64Array;
  readonly error: number;
}

/** The two kernels of a convolution; undefined where it stays. */
async function splitOf(site: Site, node: Node, options: SeparableOptions): Promise<Split | undefined> {
  if (node.op !== "Conv" || node.domain !== "" || intAttr(node, "group", 1) !== 1) return undefined;
  const weight = site.constant(node.inputs[1] ?? "");
  if (weight === undefined || !isReal(weight.dtype) || options.nodesToExclude?.includes(node.name)) return undefined;
  const [before, after] = parametersOf(weight);
  if (after >= before) return undefined;
  const split = factors(weight, await readNumbers(weight));
  return split.error <= (options.maxError ?? 1) ? split : undefined;
}

/** Numbers of the kernel now, and of the two that would take its place; multiply-adds stand in the same ratio. */
function parametersOf({ shape }: Tensor): [before: number, after: number] {
  const [out = 1, inner = 1, ...kernel] = shape;
  return [elements(shape), inner * elements(kernel) + out * inner];
}

function factors(weight: Tensor, values: Float64Array): Split {
  const [out = 1, inner = 1, ...kernel] = weight.shape;
  const area = elements(kernel);
  const [depthwise, pointwise] = [new Float64Array(inner * area), new Float64Array(out * inner)];
  let missed = 0;
  for (let i = 0; i < inner; i++) {
    const slice = new Float64Array(out * area);
    for (let o = 0; o < out; o++)
      slice.set(values.subarray((o * inner + i) * area, (o * inner + i + 1) * area), o * area);
    const nearest = rankOne(slice, out, area);
    depthwise.set(nearest.right, i * area);
    for (let o = 0; o < out; o++) pointwise[o * inner + i] = nearest.left[o] as number;
    missed += nearest.missed;
  }
  const all = values.reduce((sum, value) => sum + value * value, 0);
  return { weight, depthwise, pointwise, error: all === 0 ? 0 : Math.sqrt(missed / all) };
}

function put({ edit }: Site, node: Node, { weight, depthwise, pointwise }: Split): void {
  const [x = "", w = "", ...bias] = node.inputs;
  const [out = 1, inner = 1, ...kernel] = weight.shape;
  const first = edit.weight(`${w}.depthwise`, roundTo(weight.dtype, [inner, 1, ...kernel], depthwise));
  const second = edit.weight(`${w}.pointwise`, roundTo(weight.dtype, [out, inner, ...kernel.map(() => 1)], pointwise));
  const name = edit.fresh(node.name === "" ? "depthwise" : `${node.name}.depthwise`);
  const between = edit.fresh(`${node.outputs[0]}.depthwise`);
  edit.replace(
    node,
    {
      op: "Conv",
      name,
      inputs: [x, first],
      outputs: [between],
      attrs: { ...node.attrs, group: int(inner), kernel_shape: ints(kernel) },
    },
    { op: "Conv", name: node.name, inputs: [between, second, ...bias], outputs: node.outputs },
  );
  if (edit.readersOf(w).length === 0 && !edit.isOutput(w)) edit.removeWeight(w);
}

function layerOf(site: Site, node: Node, { weight, error }: Split): SeparableLayer {
  const [before, after] = parametersOf(weight);
  const [, , ...places] = site.fact(node.outputs[0] ?? "")?.shape ?? [];
  const known = places.filter(isKnown);
  const positions = places.length > 0 && known.length === places.length ? elements(known) : 0;
  return {
    name: node.name || titleOf(node),
    macs: { before: before * positions, after: after * positions },
    saving: before / after,
    parameters: { before, after },
    error,
  };
}
