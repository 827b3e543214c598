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
/** How many bytes one constant may add to the file, or, of the bytes of all weights, all of them together. */
const SWELL_ONE = 64 * 1024;
const SWELL_ALL = 0.02;
/** What is larger than this on the way is not computed. */
const LARGEST = 256 * 1024 * 1024;

/**
 * Makes weights of what is computed from weights alone, with the numbers ONNX Runtime computes, all in one session.
 * Left as they are: random numbers, results that make the file larger, and storage formats.
 */
export const foldConstants = (): Pass =>
  rewriting("foldConstants", async (site) => {
    const computable = computableNodes(site);
    const results = resultsWorthKeeping(site, computable);
    if (results.length === 0) return;
    const names = results.flatMap((node) => node.outputs.filter((name) => name !== ""));
    const values = await evaluate(site, computable, names);
    if (values === undefined) return;
    for (const node of results) {
      const made = node.outputs.map((name) => values.get(name));
      if (node.outputs.some((name, i) => name !== "" && made[i] === undefined)) continue;
      site.edit.harden(node, made as Tensor[]);
      site.note(`Made a constant of what ${node.op} computes from constants.`, node);
    }
  });

/** The nodes that read only constants or each other, in order, with the bytes of the constants each rests on. */
function computableNodes(site: Site): Map<Node, number> {
  const { graph, edit, fact } = site;
  const restsOn = new Map<Node, number>();
  for (const node of graph.nodes) {
    const rule = ruleOf(node);
    if (rule === undefined || rule.deterministic === false || subgraphs(node).length > 0) continue;
    if (node.outputs.some((name) => edit.isOutput(name)) || !isModest(node, fact)) continue;
    let bytes: number | undefined = 0;
    for (const name of node.inputs) {
      const tensor = site.constant(name);
      const writer = edit.writerOf(name);
      const share: number | undefined = tensor ? bytesOf(tensor) : name === "" ? 0 : writer && restsOn.get(writer);
      bytes =
        bytes === undefined || share === undefined ? undefined : bytes + share / (edit.readersOf(name).length || 1);
    }
    if (bytes !== undefined) restsOn.set(node, bytes);
  }
  return restsOn;
}

/**
 * The nodes whose results the rest of the graph reads, but for those that would make the file too large; those that
 * such a one reads take its place. What a result rests on is freed by it, in the share of who else reads it.
 */
function resultsWorthKeeping(site: Site, computable: Map<Node, number>): Node[] {
  let spare = SWELL_ALL * [...site.model.graph.weights.values()].reduce((sum, t) => sum + bytesOf(t), 0);
  const results: Node[] = [];
  for (const [node, freed] of [...computable].reverse()) {
    const readers = node.outputs.flatMap((name) => site.edit.readersOf(name));
    if (readers.every((reader) => computable.has(reader))) continue;
    const growth = node.outputs.reduce((sum, name) => sum + (sizeOf(site.fact(name)) ?? 0), -freed);
    if (growth > Math.max(SWELL_ONE, spare)) computable.delete(node);
    else results.push(node);
    if (growth > SWELL_ONE && growth <= spare) spare -= growth;
  }
  return results.reverse();
}

const bytesOf = ({ dtype, shape }: Tensor): number => byteSize(dtype, elements(shape));

/** Whether the sizes of a node's results are known and not absurd, and no type widens that saves bytes in the file. */
function isModest(node: Node, fact: Site["fact"]): boolean {
  const bits = Math.max(0, ...node.inputs.map((name) => (name === "" ? 0 : BITS[fact(name)?.dtype ?? "float32"])));
  return node.outputs.every((name) => {
    const known = fact(name);
    const size = sizeOf(known);
    if (name === "" || known === undefined || size === undefined) return name === "";
    const widens = node.op === "DequantizeLinear" || (bits > 0 && BITS[known.dtype] > bits);
    return size <= LARGEST && BITS[known.dtype] >= 8 && !(widens && size > WIDENED);
  });
}

function sizeOf(fact: Fact | undefined): number | undefined {
  return fact?.shape?.every(isKnown) ? byteSize(fact.dtype, elements(fact.shape as readonly number[])) : undefined;
}

/** The values of names in a model of the nodes alone; undefined where ONNX Runtime has no kernel for one of them. */
async function evaluate(
  site: Site,
  computable: ReadonlyMap<Node, number>,
  names: readonly string[],
): Promise<ReadonlyMap<string, Tensor> | undefined> {
  const weights = new Map<string, Tensor>();
  const nodes = [...computable.keys()];
  for (const node of nodes) {
    for (const name of node.inputs) {
      const tensor = site.constant(name);
      if (tensor !== undefined) weights.set(name, tensor);
    }
  }
  const outputs = names.map((name) => ({ name }));
  const graph: Graph = { name: "constants", inputs: [], outputs, weights, nodes, valueInfo: new Map() };
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
