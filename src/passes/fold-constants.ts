import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import { BITS, byteSize } from "../ir/dtype.ts";
import type { Graph, Model, Node } from "../ir/graph.ts";
import { elements, lazyTensor, type Tensor, type TypedArray, tensorOf } from "../ir/tensor.ts";
import { titleOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { openSession } from "../runtime/index.ts";
import { isReal } from "./numbers.ts";
import type { Pass } from "./pass.ts";
import { type ConstantOptions, rewriting, type Site } from "./rewrite.ts";

/** Up to this many bytes a type may widen: storage formats (int8 weights behind Cast) are kept as they are. */
const WIDENED = 1024;
/** How many bytes all new constants together may add to the file; or what share of the weights' bytes, where that is more. */
const SWELL = 16 * 1024;
const SWELL_SHARE = 0.02;
/** What is larger than this on the way is not computed. */
const LARGEST = 256 * 1024 * 1024;

/** What only moves elements and is larger than this is computed when the weight is read, so that nothing large is held. */
const HELD = 1024 * 1024;
const MOVES: ReadonlySet<string> = new Set(["Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"]);

/**
 * Makes weights of what is computed from weights alone, with the numbers ONNX Runtime computes, all in one session.
 * Left as they are: random numbers, results that make the file larger, and storage formats.
 */
export const foldConstants = (options: ConstantOptions = {}): Pass =>
  rewriting(
    "foldConstants",
    async (site) => {
      const computable = computableNodes(site);
      const results = resultsWorthKeeping(site, computable);
      if (results.length === 0) return;
      const held = results.filter((node) => !harden(site, node, deferred(site, node)));
      const values = held.length === 0 ? undefined : await evaluate(modelOf(site, [...computable.keys()], held));
      for (const node of held) {
        if (values !== undefined)
          harden(
            site,
            node,
            node.outputs.map((name) => values.get(name)),
          );
      }
    },
    options,
  );

/** Puts the values in the place of the node; false where one of them is missing. */
function harden(site: Site, node: Node, values: readonly (Tensor | undefined)[]): boolean {
  if (node.outputs.some((name, i) => name !== "" && values[i] === undefined)) return false;
  site.edit.harden(node, values as Tensor[]);
  site.note(`Made a constant of what ${node.op} computes from constants.`, node);
  return true;
}

/** The large result of a row of nodes that only move elements, to be computed when it is read. */
function deferred(site: Site, node: Node): Tensor[] {
  const row: Node[] = [];
  for (let at: Node | undefined = node; at !== undefined; at = site.edit.writerOf(at.inputs[0] ?? "")) row.unshift(at);
  const [name = ""] = node.outputs;
  const { dtype = "float32", shape } = site.fact(name) ?? {};
  const others = row.flatMap((one) => one.inputs.slice(1));
  if ((sizeOf(site.fact(name)) ?? 0) <= HELD || !isReal(dtype) || dtype === "bfloat16") return [];
  if (!row.every((one) => one.domain === "" && MOVES.has(one.op)) || !others.every((n) => site.constant(n))) return [];
  const model = modelOf(site, row, [node]);
  const compute = async () => {
    const value = (await evaluate(model))?.get(name);
    if (value === undefined)
      throw new MinnowError("ONNX Runtime cannot compute this constant.", { code: "runtime/run", at: titleOf(node) });
    return value.read();
  };
  return [lazyTensor(dtype, shape as readonly number[], compute)];
}

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
      const share: number | undefined = tensor ? freedBy(site, name) : name === "" ? 0 : writer && restsOn.get(writer);
      bytes =
        bytes === undefined || share === undefined ? undefined : bytes + share / (edit.readersOf(name).length || 1);
    }
    if (bytes !== undefined) restsOn.set(node, bytes);
  }
  return restsOn;
}

/** The bytes that go when nothing reads a constant any more; one of a graph around this one stays, others may read it there. */
function freedBy({ edit }: Site, name: string): number {
  const own = edit.constant(name);
  return own === undefined ? 0 : bytesOf(own);
}

/**
 * The nodes whose results the rest of the graph reads, but for those that would make the file too large; those that
 * such a one reads take its place. What a result rests on is freed by it, in the share of who else reads it.
 */
function resultsWorthKeeping(site: Site, computable: Map<Node, number>): Node[] {
  const weights = [...site.model.graph.weights.values()].reduce((sum, t) => sum + bytesOf(t), 0);
  let spare = Math.max(SWELL, SWELL_SHARE * weights);
  const results: Node[] = [];
  for (const [node, freed] of [...computable].reverse()) {
    const readers = node.outputs.flatMap((name) => site.edit.readersOf(name));
    if (readers.every((reader) => computable.has(reader))) continue;
    const growth = node.outputs.reduce((sum, name) => sum + (sizeOf(site.fact(name)) ?? 0), -freed);
    if (growth > spare) computable.delete(node);
    else {
      results.push(node);
      spare -= Math.max(0, growth);
    }
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
    const widens = bits > 0 && BITS[known.dtype] > bits;
    // A runtime computes in integers where it sees the weight behind it.
    if (node.op === "DequantizeLinear") return false;
    return size <= LARGEST && BITS[known.dtype] >= 8 && !(widens && size > WIDENED);
  });
}

function sizeOf(fact: Fact | undefined): number | undefined {
  return fact?.shape?.every(isKnown) ? byteSize(fact.dtype, elements(fact.shape as readonly number[])) : undefined;
}

/** A model of some nodes alone, with the constants they read, that gives the results of some of them. */
function modelOf(site: Site, nodes: readonly Node[], results: readonly Node[]): Model {
  const weights = new Map<string, Tensor>();
  for (const name of nodes.flatMap((node) => node.inputs)) {
    const tensor = site.constant(name);
    if (tensor !== undefined) weights.set(name, tensor);
  }
  const outputs = results.flatMap((node) => node.outputs.filter((name) => name !== "").map((name) => ({ name })));
  const graph: Graph = { name: "constants", inputs: [], outputs, weights, nodes, valueInfo: new Map() };
  return { graph, opsets: site.model.opsets, irVersion: Math.max(site.model.irVersion, 4), functions: [] };
}

/** The outputs of a model without inputs; undefined where ONNX Runtime has no kernel for one of its nodes. */
async function evaluate(model: Model): Promise<ReadonlyMap<string, Tensor> | undefined> {
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
