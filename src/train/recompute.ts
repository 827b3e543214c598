import { byteSize, isFloat } from "../ir/dtype.ts";
import type { Node } from "../ir/graph.ts";
import type { Emitter } from "../ops/emit.ts";

/**
 * Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): the forward pass is cut into about √n pieces where little
 * crosses; the backward pass computes each piece again from what crosses into it, so that only that is kept.
 * A piece's copy reads its inputs plus a zero made of the gradient that comes in: ONNX Runtime would otherwise see that
 * both compute the same, and keep the first.
 */
export class Recompute {
  readonly #g: Emitter;
  readonly #nodes: readonly Node[];
  /** The piece of each node; the last one is not computed again. */
  readonly #piece = new Map<Node, number>();
  /** Values of the copies by piece, by the names they stand for. */
  readonly #copies = new Map<number, Map<string, string>>();
  readonly #last: number;

  constructor(g: Emitter, nodes: readonly Node[]) {
    this.#g = g;
    this.#nodes = nodes;
    const cuts = cutsOf(nodes, crossings(g, nodes));
    this.#last = cuts.length;
    let piece = 0;
    for (const [i, node] of nodes.entries()) {
      if (cuts[piece] === i) piece++;
      this.#piece.set(node, piece);
    }
  }

  /** The node as the backward pass sees it: reading and writing the copies of its piece. `gradient` is one that comes into the piece. */
  seen(node: Node, gradient: string): Node {
    const piece = this.#piece.get(node);
    if (piece === undefined || piece === this.#last) return node;
    let copies = this.#copies.get(piece);
    if (copies === undefined) {
      copies = this.#again(piece, gradient);
      this.#copies.set(piece, copies);
    }
    return renamed(node, copies);
  }

  /** Computes a piece again. */
  #again(piece: number, gradient: string): Map<string, string> {
    const g = this.#g;
    const near = g.near;
    g.near = `again/${piece}`;
    const first = g.slice(g.reshape(gradient, [g.size(gradient)]), [0], [1], [0]);
    const zero = g.reshape(g.cast(g.is("Less", first, first), "float32"), []);
    const own = this.#nodes.filter((node) => this.#piece.get(node) === piece);
    const made = new Set(own.flatMap((node) => node.outputs));
    const copies = new Map<string, string>();
    const hooked = new Map<string, string>();
    const input = (name: string): string => {
      if (made.has(name)) return copies.get(name) ?? name;
      if (name === "" || g.edit.constant(name) !== undefined || !isActivation(g, name)) return name;
      const known = hooked.get(name) ?? g.add(name, zero);
      hooked.set(name, known);
      return known;
    };
    for (const node of own) {
      const outputs = g.ops(node.op, node.inputs.map(input), node.outputs.length, node.attrs, node.domain);
      node.outputs.forEach((name, i) => {
        if (name !== "") copies.set(name, outputs[i] as string);
      });
    }
    g.near = near;
    return copies;
  }
}

const renamed = (node: Node, names: ReadonlyMap<string, string>): Node => ({
  ...node,
  inputs: node.inputs.map((name) => names.get(name) ?? name),
  outputs: node.outputs.map((name) => names.get(name) ?? name),
});

/** Float32 values with a batch: what it costs to add a zero to is worth it. */
const isActivation = (g: Emitter, name: string): boolean => g.dtype(name) === "float32" && g.rank(name) > 1;

/** For each place between nodes, the bytes of activations that are made before and read after. */
function crossings(g: Emitter, nodes: readonly Node[]): number[] {
  const lastRead = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of node.inputs) lastRead.set(name, i);
  });
  const change = new Array<number>(nodes.length + 1).fill(0);
  nodes.forEach((node, i) => {
    for (const name of node.outputs) {
      const end = lastRead.get(name);
      if (end === undefined || !isFloat(g.dtype(name))) continue;
      const bytes = byteSize(g.dtype(name), g.size(name));
      change[i + 1] = (change[i + 1] as number) + bytes;
      change[end + 1] = (change[end + 1] ?? 0) - bytes;
    }
  });
  let live = 0;
  return change.map((by) => {
    live += by;
    return live;
  });
}

/** Where to cut, as indices of the nodes after the cuts: about √n of them, each where least crosses in its part of the way. */
function cutsOf(nodes: readonly Node[], crossing: readonly number[]): number[] {
  const count = Math.floor(Math.sqrt(nodes.length));
  const cuts: number[] = [];
  for (let part = 1; part < count; part++) {
    const [from, to] = [(part - 0.5) / count, (part + 0.5) / count].map((share) =>
      Math.round(share * nodes.length),
    ) as [number, number];
    let best = -1;
    for (let i = Math.max(from, (cuts.at(-1) ?? 0) + 1); i < to; i++)
      if (best < 0 || (crossing[i] as number) < (crossing[best] as number)) best = i;
    if (best > 0) cuts.push(best);
  }
  return cuts;
}
