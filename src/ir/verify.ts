import { MinnowError } from "../errors.ts";
import { subgraphs } from "./attrs.ts";
import { byteSize } from "./dtype.ts";
import type { Graph, Model } from "./graph.ts";
import { elements, type Tensor } from "./tensor.ts";
import { titleOf } from "./walk.ts";

/** Checks what the doc comments of `graph.ts` promise; throws a MinnowError (`graph/…`) at the first sentence that is broken. */
export function verify(model: Model): void {
  verifyGraph(model.graph, new Set());
  for (const { name, inputs, outputs, nodes, valueInfo } of model.functions) {
    const values = (names: readonly string[]) => names.map((value) => ({ name: value }));
    const body = { name, inputs: values(inputs), outputs: values(outputs), weights: new Map(), nodes, valueInfo };
    verifyGraph(body, new Set());
  }
}

/** Names that may be read. */
type Scope = Pick<ReadonlySet<string>, "has">;

/** As {@link verify}, for one graph; `outer` are the names it may read from around it. */
export function verifyGraph(graph: Graph, outer: Scope): void {
  const written = new Set<string>();
  const readable: Scope = { has: (name) => written.has(name) || outer.has(name) };
  const write = (name: string, by: string) => {
    if (written.has(name))
      fail(`"${name}" is written twice.`, by, "graph/written-twice", "Give one of them another name.");
    written.add(name);
  };
  for (const { name } of graph.inputs) write(name, `graph input "${name}"`);
  const inputs = new Set(written);
  for (const [name, tensor] of graph.weights) {
    if (!inputs.has(name)) write(name, `weight "${name}"`);
    verifyTensor(name, tensor);
  }
  for (const name of graph.sparseWeights?.keys() ?? []) write(name, `weight "${name}"`);
  for (const node of graph.nodes) {
    const at = titleOf(node);
    for (const name of node.inputs)
      if (name !== "" && !readable.has(name))
        fail(
          `it reads "${name}", which nothing before it writes.`,
          at,
          "graph/dangling",
          "Check the order and the names.",
        );
    for (const { graph: inner } of subgraphs(node)) verifyGraph(inner, readable);
    for (const name of node.outputs) if (name !== "") write(name, at);
  }
  for (const { name } of graph.outputs)
    if (!readable.has(name))
      fail("nothing writes it.", `graph output "${name}"`, "graph/dangling", "Check the names of the outputs.");
}

function verifyTensor(name: string, tensor: Tensor): void {
  const at = `weight "${name}"`;
  for (const size of tensor.shape)
    if (!Number.isSafeInteger(size) || size < 0)
      fail(`its shape is [${tensor.shape}].`, at, "graph/shape", "Sizes are whole numbers from 0 on.");
  if (tensor.bytes !== undefined && tensor.bytes.byteLength !== byteSize(tensor.dtype, elements(tensor.shape)))
    fail(
      `it holds ${tensor.bytes.byteLength} bytes; ${tensor.dtype} [${tensor.shape}] takes ${byteSize(tensor.dtype, elements(tensor.shape))}.`,
      at,
      "graph/tensor-size",
      "The file is damaged; export the model again.",
    );
}

function fail(what: string, at: string, code: `graph/${string}`, mend: string): never {
  throw new MinnowError(what, { code, at, mend });
}
