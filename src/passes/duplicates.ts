import { subgraphs } from "../ir/attrs.ts";
import { BITS, byteSize, isFloat } from "../ir/dtype.ts";
import type { Attr, Node } from "../ir/graph.ts";
import { elements, SMALL_BYTES, type Tensor } from "../ir/tensor.ts";
import { ruleOf } from "../ops/index.ts";
import type { Pass } from "./pass.ts";
import { rewriting, type Site } from "./rewrite.ts";

/**
 * Makes one of nodes that compute the same from the same, and of equal weights: numbers that are not learned (shapes,
 * axes, scalars), and large ones, where equality is no chance. Small learned vectors that happen to be equal stay apart.
 */
export const mergeDuplicates = (): Pass =>
  rewriting("mergeDuplicates", async (site) => {
    await mergeWeights(site);
    mergeNodes(site);
  });

function mergeNodes({ graph, edit, note }: Site): void {
  const first = new Map<string, Node>();
  for (const original of graph.nodes) {
    const node = edit.current(original);
    const rule = node && ruleOf(node);
    if (node === undefined || rule === undefined || rule.deterministic === false || subgraphs(node).length > 0)
      continue;
    const key = keyOf(node);
    const same = key === undefined ? undefined : first.get(key);
    if (key !== undefined && same === undefined) first.set(key, node);
    if (same === undefined || node.outputs.length !== same.outputs.length) continue;
    if (node.outputs.some((name, i) => edit.isOutput(name) || (name === "") !== (same.outputs[i] === ""))) continue;
    const kept = edit.current(same)!;
    node.outputs.forEach((name, i) => {
      if (name !== "") edit.reroute(name, kept.outputs[i] as string);
    });
    edit.remove(node);
    note(`Merged a ${node.op} with an equal one.`, node);
  }
}

/** What a node computes, in words that are equal only where that is; undefined where an attribute is no plain value. */
function keyOf({ op, domain, overload, inputs, attrs }: Node): string | undefined {
  const parts: string[] = [];
  for (const name of Object.keys(attrs).sort()) {
    const value = wordsOf(attrs[name] as Attr);
    if (value === undefined) return undefined;
    parts.push(`${name}=${value}`);
  }
  return JSON.stringify([domain, op, overload, inputs, parts]);
}

function wordsOf(attr: Attr): string | undefined {
  switch (attr.type) {
    case "int":
    case "float":
    case "ints":
    case "floats":
    case "string":
      return `${attr.type}:${attr.value}`;
    case "strings":
      return `strings:${attr.value.join(";")}`;
    case "tensor":
      return attr.value.bytes && `${attr.value.dtype}[${attr.value.shape}]:${attr.value.bytes}`;
    default:
      return undefined;
  }
}

async function mergeWeights({ edit, graph, note }: Site): Promise<void> {
  const alike = new Map<string, { name: string; tensor: Tensor }[]>();
  const inputs = new Set(graph.inputs.map((i) => i.name));
  for (const [name, tensor] of graph.weights) {
    if (inputs.has(name) || edit.isOutput(name) || !mayMerge(tensor)) continue;
    const key = await startOf(tensor);
    const others = alike.get(key) ?? [];
    alike.set(key, others);
    let same: string | undefined;
    for (const other of others) if (await equal(other.tensor, tensor)) same = other.name;
    if (same === undefined) {
      others.push({ name, tensor });
      continue;
    }
    edit.reroute(name, same);
    edit.removeWeight(name);
    note("Merged equal weights.", `weight "${name}"`);
  }
}

const sizeOf = ({ dtype, shape }: Tensor): number => byteSize(dtype, elements(shape));

const mayMerge = (tensor: Tensor): boolean =>
  tensor.strings === undefined &&
  BITS[tensor.dtype] >= 8 &&
  (elements(tensor.shape) === 1 || sizeOf(tensor) > 16 * SMALL_BYTES || !isFloat(tensor.dtype));

const starts = new WeakMap<Tensor, string>();

/** Type, shape and the first bytes, kept: what differs here is not read further. */
async function startOf(tensor: Tensor): Promise<string> {
  let start = starts.get(tensor);
  if (start === undefined) {
    const bytes = tensor.bytes ?? (await tensor.read({ offset: 0, length: Math.min(256, sizeOf(tensor)) }));
    start = `${tensor.dtype}[${tensor.shape}]:${bytes.subarray(0, 256)}`;
    starts.set(tensor, start);
  }
  return start;
}

async function equal(a: Tensor, b: Tensor): Promise<boolean> {
  if (a === b) return true;
  const size = sizeOf(a);
  for (let offset = 0; offset < size; offset += 1 << 20) {
    const range = { offset, length: Math.min(1 << 20, size - offset) };
    const [x, y] = await Promise.all([a.read(range), b.read(range)]);
    if (x.some((v, i) => v !== y[i])) return false;
  }
  return true;
}
