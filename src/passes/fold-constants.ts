import { subgraphs } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import { BITS, byteSize } from "../ir/dtype.ts";
import type { Graph, Model, Node } from "../ir/graph.ts";
import { elements, type Tensor, type TypedArray, tensorOf } from "../ir/tensor.ts";
import type { Fact } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { openSession } from "../runtime/index.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/** Up to this many bytes a type may widen: storage formats (int8 weights behind Cast) are kept as they are. */
const WIDENED = 1024;
/** How much larger than what it is made from one folded constant may be, in bytes, and all together, in parts of the weights. */
const SWELL_ONE = 64 * 1024;
const SWELL_ALL = 0.02;

/**
 * Makes weights of what is computed from weights alone, with the numbers ONNX Runtime computes, all in one session.
 * Left as they are: random numbers, nodes that make the file larger, and storage formats.
 */
export const foldConstants = (): Pass =>
  rewriting("foldConstants", async (site) => {
    const foldable = foldableNodes(site);
    const frontier = [...foldable].filter((node) => node.outputs.some((name) => isReadElsewhere(site, foldable, name)));
    if (frontier.length === 0) return;
    const names = frontier.flatMap((node) => node.outputs.filter((name) => name !== ""));
    const values = await evaluate(site, foldable, names);
    if (values === undefined) return;
    for (const node of frontier) {
      const made = node.outputs.map((name) => values.get(name));
      if (node.outputs.some((name, i) => name !== "" && made[i] === undefined)) continue;
      site.edit.harden(node, made as Tensor[]);
      site.note(`Made a constant of what ${node.op} computes from constants.`, node);
    }
  });

function foldableNodes(site: Site): Set<Node> {
  const { graph, edit, fact } = site;
  const foldable = new Set<Node>();
  const computed = new Set<string>();
  let spare = SWELL_ALL * [...site.model.graph.weights.values()].reduce((sum, t) => sum + bytesOf(t), 0);
  for (const node of graph.nodes) {
    const rule = ruleOf(node);
    if (rule === undefined || rule.deterministic === false || subgraphs(node).length > 0) continue;
    if (node.outputs.some((name) => edit.isOutput(name))) continue;
    if (!node.inputs.every((name) => name === "" || computed.has(name) || site.constant(name) !== undefined)) continue;
    const growth = growthOf(node, fact);
    if (growth === undefined || (growth > SWELL_ONE && growth > spare)) continue;
    if (growth > SWELL_ONE) spare -= growth;
    foldable.add(node);
    for (const name of node.outputs) computed.add(name);
  }
  return foldable;
}

const bytesOf = ({ dtype, shape }: Tensor): number => byteSize(dtype, elements(shape));

/** Bytes that the outputs take more than the inputs; undefined where sizes are unknown or a type widens. */
function growthOf(node: Node, fact: Site["fact"]): number | undefined {
  let before = 0;
  let after = 0;
  let bits = 0;
  for (const name of node.inputs) {
    if (name === "") continue;
    const known = fact(name);
    before += sizeOf(known) ?? 0;
    bits = Math.max(bits, BITS[known?.dtype ?? "float32"]);
  }
  for (const name of node.outputs) {
    if (name === "") continue;
    const known = fact(name);
    const size = sizeOf(known);
    if (known === undefined || size === undefined || BITS[known.dtype] < 8) return undefined;
    if (size > WIDENED && bits > 0 && BITS[known.dtype] > bits) return undefined;
    after += size;
  }
  return node.op === "DequantizeLinear" && after > WIDENED ? undefined : after - before;
}

function sizeOf(fact: Fact | undefined): number | undefined {
  return fact?.shape?.every(isKnown) ? byteSize(fact.dtype, elements(fact.shape as readonly number[])) : undefined;
}

const isReadElsewhere = ({ edit }: Site, foldable: ReadonlySet<Node>, name: string): boolean =>
  edit.readersOf(name).some((reader) => !foldable.has(reader));

/** The values of names in a model of the nodes alone; undefined where ONNX Runtime has no kernel for one of them. */
async function evaluate(
  site: Site,
  nodes: ReadonlySet<Node>,
  names: readonly string[],
): Promise<ReadonlyMap<string, Tensor> | undefined> {
  const weights = new Map<string, Tensor>();
  for (const node of nodes) {
    for (const name of node.inputs) {
      const tensor = site.constant(name);
      if (tensor !== undefined) weights.set(name, tensor);
    }
  }
  const outputs = names.map((name) => ({ name }));
  const graph: Graph = { name: "constants", inputs: [], outputs, weights, nodes: [...nodes], valueInfo: new Map() };
  const { opsets, irVersion } = site.model;
  const model: Model = { graph, opsets, irVersion: Math.max(irVersion, 4), functions: [] };
  try {
    const session = await openSession(model, { optimization: "disabled" });
    const results = await session.run({});
    await session.close();
    return new Map(
      Object.entries(results).map(([name, { dtype, shape, data }]) => [name, asTensor(dtype, shape, data)]),
    );
  } catch {
    return undefined;
  }
}

function asTensor(dtype: Tensor["dtype"], shape: readonly number[], data: TypedArray | readonly string[]): Tensor {
  const { buffer, byteOffset, byteLength } = data as TypedArray;
  return tensorOf(dtype, shape, new Uint8Array(buffer, byteOffset, byteLength).slice());
}
