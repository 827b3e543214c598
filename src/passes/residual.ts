import { MinnowError } from "../errors.ts";
import { sameDim } from "../ir/dim.ts";
import { isFloat } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { usesOf } from "../ir/walk.ts";
import type { Fact } from "../ops/define.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";

/** A value and what is added to it: `sum = from + f(from)`, all three of one shape. */
export interface ResidualBranch {
  readonly from: string;
  readonly sum: string;
  /** The nodes of f: nothing but them and the sum reads what they compute. */
  readonly nodes: readonly Node[];
}

/**
 * One or several branches in a row that repeat as a whole (attention and feed-forward of a transformer). Whoever reads `to`
 * may read `from` instead: the model without the block.
 */
export interface ResidualBlock {
  /** The name of the node that adds its last branch, or of what it writes. */
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly branches: readonly ResidualBranch[];
  /** Blocks of one number stand in a row, with nothing but what repeats between them. */
  readonly row: number;
}

/**
 * The residual blocks of a model, in its order. They are found in the graph: a value v and a sum v + f(v) of the same shape,
 * where f multiplies by a matrix or a kernel and is read by the sum alone. What stands between two of them may be a
 * normalization or an activation; the one behind the last of a row belongs to it where the others have one, too. Branches
 * around other branches are no blocks.
 */
export function residualBlocks(model: Model): ResidualBlock[] {
  const finder = new Finder(model);
  return finder.rows().flatMap((row, i) => finder.blocks(row, i));
}

/**
 * Takes blocks out: what read the end of one reads its beginning. Exact where a block adds nothing. Throws a MinnowError
 * `passes/output` where nothing would be left to compute an output of the model.
 */
export function withoutBlocks(model: Model, blocks: readonly ResidualBlock[]): Model {
  const e = edit(model.graph);
  for (const { from, to, name } of blocks)
    if (!e.reroute(to, from))
      throw new MinnowError(
        `It computes the output "${to}", and its input is an input or an output of the model itself.`,
        {
          code: "passes/output",
          at: `block "${name}"`,
          mend: "Leave this block.",
        },
      );
  return { ...model, graph: e.done() };
}

/** What stands between the end of a branch and the beginning of the next. */
interface Step {
  readonly branch: ResidualBranch;
  /** Nodes from its sum to the beginning of the next branch; undefined for the last of a row. */
  readonly link: readonly Node[] | undefined;
}

class Finder {
  readonly #model: Model;
  readonly #facts: ReadonlyMap<string, Fact>;
  /** Where the node that computes a name stands; −1 for inputs. What weights alone decide is not here. */
  readonly #place: ReadonlyMap<string, number>;
  /** Weights, and what is computed from nothing else. */
  readonly #fixed: ReadonlySet<string>;

  constructor(model: Model) {
    this.#model = model;
    this.#facts = inferModel(model);
    this.#fixed = fixedValues(model);
    const values = [
      ...model.graph.inputs.map(({ name }) => [name, -1] as const),
      ...model.graph.nodes.flatMap((node, i) => node.outputs.map((name) => [name, i] as const)),
    ];
    this.#place = new Map(values.filter(([name]) => !this.#fixed.has(name)));
  }

  /** Branches that follow each other. */
  rows(): Step[][] {
    const branches = this.#branches();
    const linked = new Map<ResidualBranch, Step["link"]>();
    const next = new Map<ResidualBranch, ResidualBranch>();
    for (const [i, branch] of branches.entries()) {
      const after = branches.slice(i + 1).find(({ from }) => this.#at(from) >= this.#at(branch.sum));
      const link = after && this.#link(branch.sum, after.from);
      if (after === undefined || link === undefined) continue;
      next.set(branch, after);
      linked.set(branch, link);
    }
    const inside = new Set(next.values());
    return branches
      .filter((branch) => !inside.has(branch))
      .map((first) => {
        const row: Step[] = [];
        for (let at: ResidualBranch | undefined = first; at !== undefined; at = next.get(at))
          row.push({ branch: at, link: linked.get(at) });
        return row;
      });
  }

  blocks(row: readonly Step[], index: number): ResidualBlock[] {
    const size = periodOf(row.map(({ branch }) => this.#kindOf(branch.nodes)));
    return Array.from({ length: row.length / size }, (_, i): ResidualBlock => {
      const own = row.slice(i * size, (i + 1) * size);
      const last = own.at(-1) as Step;
      const { sum } = last.branch;
      const writer = this.#model.graph.nodes[this.#at(sum)];
      return {
        name: writer?.name || sum,
        from: own[0]!.branch.from,
        to: row[(i + 1) * size]?.branch.from ?? this.#like(sum, row.at(-1 - size)?.link ?? row.at(-2)?.link ?? []),
        branches: own.map(({ branch }) => branch),
        row: index,
      };
    });
  }

  #at = (name: string): number => this.#place.get(name) ?? -1;

  /** Sums of a value and a branch, those around others left out. */
  #branches(): ResidualBranch[] {
    const found = this.#model.graph.nodes.flatMap((node): ResidualBranch[] => {
      const [a = "", b = ""] = node.inputs;
      const sum = node.outputs[0] ?? "";
      if (node.op !== "Add" || node.domain !== "" || !this.#alike(a, sum) || !this.#alike(b, sum)) return [];
      const [from, end] = this.#at(a) < this.#at(b) ? [a, b] : [b, a];
      const nodes = this.#between(from, end, node);
      return nodes !== undefined && this.#holdsMatrix(nodes) ? [{ from, sum, nodes }] : [];
    });
    const sums = new Set(found.map(({ sum }) => sum));
    return found.filter(({ nodes }) => !nodes.some(({ outputs }) => sums.has(outputs[0] ?? "")));
  }

  /** Whether two values are computed, or fed, as floats of one shape. */
  #alike(a: string, b: string): boolean {
    const [one, other] = [this.#facts.get(a), this.#facts.get(b)];
    if (!this.#place.has(a) || one?.dtype !== other?.dtype) return false;
    if (one?.shape === undefined || !isFloat(one.dtype) || one.shape.length !== other?.shape?.length) return false;
    return one.shape.every((size, axis) => sameDim(size, other.shape?.[axis] ?? ""));
  }

  /** The nodes on the ways from one value to another; undefined where there are none, or others read what they compute. */
  #between(from: string, to: string, reader: Node | undefined): Node[] | undefined {
    const { nodes } = this.#model.graph;
    const { readers, outputs, writer } = usesOf(this.#model.graph);
    const start = this.#at(from);
    const reaches = new Map<Node, boolean>();
    const visit = (name: string): boolean => {
      if (name === from) return true;
      const node = this.#at(name) > start ? writer.get(name) : undefined;
      if (node === undefined) return false;
      const known = reaches.get(node);
      if (known !== undefined) return known;
      reaches.set(node, false);
      const found = node.inputs.map(visit).includes(true);
      reaches.set(node, found);
      return found;
    };
    if (from === to || !visit(to)) return undefined;
    const inside = nodes.slice(Math.max(0, start)).filter((node) => reaches.get(node) === true);
    const own = new Set(reader === undefined ? inside : [...inside, reader]);
    const leaks = inside.some((node) =>
      node.outputs.some(
        (name) =>
          !(name === to && reader === undefined) &&
          (outputs.has(name) || (readers.get(name) ?? []).some((other) => !own.has(other))),
      ),
    );
    return leaks ? undefined : inside;
  }

  /** The nodes from the end of a branch to the beginning of another where all that reads the end leads there, without a matrix. */
  #link(sum: string, from: string): readonly Node[] | undefined {
    if (sum === from) return [];
    const nodes = this.#alike(from, sum) ? this.#between(sum, from, undefined) : undefined;
    if (nodes === undefined || this.#holdsMatrix(nodes) || !this.#ends(sum, nodes)) return undefined;
    return nodes;
  }

  #ends(sum: string, nodes: readonly Node[]): boolean {
    const { readers, outputs } = usesOf(this.#model.graph);
    return !outputs.has(sum) && (readers.get(sum) ?? []).every((node) => nodes.includes(node));
  }

  /** The value behind a sum where the same nodes follow it as elsewhere; the sum itself where they do not. */
  #like(sum: string, link: readonly Node[]): string {
    const { nodes } = this.#model.graph;
    const known = new Set([sum]);
    const found: Node[] = [];
    for (const node of nodes.slice(this.#at(sum) + 1)) {
      if (found.length === link.length) break;
      const own = node.inputs.filter((name) => name !== "" && !this.#fixed.has(name));
      if (own.length === 0 || !own.every((name) => known.has(name))) continue;
      found.push(node);
      for (const name of node.outputs) known.add(name);
    }
    const to = found.at(-1)?.outputs[0] ?? sum;
    const same = found.length === link.length && found.every(({ op }, i) => op === link[i]?.op);
    return same && this.#link(sum, to)?.length === link.length ? to : sum;
  }

  /** The shapes of what contractions multiply by: matrices and kernels. */
  #matrices = (nodes: readonly Node[]): string[] =>
    nodes.flatMap((node) =>
      ruleOf(node)?.quant?.kind === "contraction"
        ? node.inputs.flatMap((name) => (this.#fixed.has(name) ? [`${this.#facts.get(name)?.shape}`] : []))
        : [],
    );

  #holdsMatrix = (nodes: readonly Node[]): boolean => this.#matrices(nodes).length > 0;

  /** What tells attention from feed-forward. */
  #kindOf = (nodes: readonly Node[]): string => this.#matrices(nodes).sort().join(" ");
}

/** Weights, and what is computed from nothing else. */
export function fixedValues({ graph }: Model): Set<string> {
  const fixed = new Set(graph.weights.keys());
  for (const { inputs, outputs } of graph.nodes)
    if (inputs.length > 0 && inputs.every((name) => name === "" || fixed.has(name)))
      for (const name of outputs) fixed.add(name);
  return fixed;
}

/** After how many the kinds repeat; 1 where they do not. */
function periodOf(kinds: readonly string[]): number {
  for (let size = 1; size <= kinds.length / 2; size++)
    if (kinds.length % size === 0 && kinds.every((kind, i) => kind === kinds[i % size])) return size;
  return 1;
}
