import { MinnowError } from "../errors.ts";
import { int, ints, stringAttr } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import { codeOf, type DType } from "../ir/dtype.ts";
import type { GraphEdit } from "../ir/edit.ts";
import type { Attrs, Node } from "../ir/graph.ts";
import { elements, type Tensor, tensorFrom } from "../ir/tensor.ts";
import type { Fact, Mapped } from "./define.ts";
import { factOf } from "./facts.ts";
import { ruleOf } from "./index.ts";
import { applied, inferNode } from "./infer.ts";

/** A value's name, or a number that stands for a scalar of the other operand's type. */
export type Operand = string | number;

/** A value of which another is padded with zeros along one axis. */
interface Stretch {
  readonly of: string;
  readonly axis: number;
  /** Zeros before it. */
  readonly from: number;
}

/** The numbers of a constant. */
type Numbers = readonly (number | bigint)[] | ArrayLike<number>;

/**
 * Appends nodes to a graph that is being edited, one line an operation, and knows the type and shape of all it made.
 * What changes nothing is not emitted: a sum with 0, a product with 1, a Reshape to the same shape, a cast to the same type.
 *
 * @example
 * // y = x / (1 + exp −x)
 * const y = g.div(x, g.add(1, g.op("Exp", [g.neg(x)])));
 */
export class Emitter {
  readonly edit: GraphEdit;
  readonly opsets: ReadonlyMap<string, number>;
  readonly #facts: Map<string, Fact>;
  readonly #constants: Map<string, string>;
  /** Outputs of what was made, by what it is: the same operation on the same values is made once. */
  readonly #made: Map<string, string[]>;
  /** What was padded with zeros along one axis. */
  readonly #stretches: Map<string, Stretch>;
  /** The stretches that were given another shape. */
  readonly #regrouped: Map<string, string>;
  /** Put in front of the names of nodes made from here on. */
  near = "";
  /** Whether to emit what ONNX Runtime's WebGPU backend runs as well: no batch statistics, no places of maxima, no fused products. */
  portable: boolean;

  /** `facts` are those of the graph's values; what is made is added to them. */
  constructor(edit: GraphEdit, facts: Map<string, Fact>, opsets: ReadonlyMap<string, number>, like?: Emitter) {
    this.edit = edit;
    this.#facts = facts;
    this.opsets = opsets;
    this.portable = like?.portable ?? false;
    this.#constants = like === undefined ? new Map() : like.#constants;
    this.#made = like === undefined ? new Map() : like.#made;
    this.#stretches = like === undefined ? new Map() : like.#stretches;
    this.#regrouped = like === undefined ? new Map() : like.#regrouped;
  }

  /** What is known of a value; throws where nothing is. */
  fact(value: string): Fact {
    const found = this.#facts.get(value);
    if (found !== undefined) return found;
    throw new MinnowError(`Nothing is known of the type of "${value}".`, {
      code: "train/unknown-type",
      mend: "An operator without a rule computes it. Rewrite the model without it, or keep it off the path to the loss.",
    });
  }

  /** A node with what is known of its operands and results, as rules see it. */
  mapped(node: Node): Mapped {
    const results = node.outputs.map((name) => this.#facts.get(name));
    return { ...applied(node, this.opsets, this.#facts), results };
  }

  dtype(value: string): DType {
    return this.fact(value).dtype;
  }

  /** The sizes of a value; throws where one of them is not a number yet. */
  shape(value: string): readonly number[] {
    const { shape } = this.fact(value);
    if (shape?.every(isKnown)) return shape as readonly number[];
    throw new MinnowError(`The shape of "${value}" is ${shape ? `[${shape}]` : "not known"}.`, {
      code: "train/open-shape",
      mend: "A training graph has fixed sizes: bind every symbolic size, the batch included, to a number.",
    });
  }

  rank(value: string): number {
    return this.shape(value).length;
  }

  size(value: string): number {
    return elements(this.shape(value));
  }

  /** Applies an operator with one output. */
  op(op: string, inputs: readonly Operand[], attrs: Attrs = {}, domain = ""): string {
    return this.ops(op, inputs, 1, attrs, domain)[0] as string;
  }

  /** Applies an operator with several outputs. Numbers among the inputs take the type of the first named one. */
  ops(op: string, inputs: readonly Operand[], outputs: number, attrs: Attrs = {}, domain = ""): string[] {
    const like = inputs.find((i): i is string => typeof i === "string" && i !== "");
    const names = inputs.map((i) => (typeof i === "number" ? this.scalar(i, like ? this.dtype(like) : "float32") : i));
    const key = `${domain}:${op}(${names})${outputs}${JSON.stringify(attrs, plain)}`;
    const same = ruleOf({ op, domain })?.deterministic === false ? undefined : this.#made.get(key);
    if (same !== undefined) return [...same];
    const base = this.near === "" ? op : `${this.near}/${op}`;
    const made = this.edit.add({ op, inputs: names, domain, attrs, outputs, name: this.edit.fresh(base) });
    const node = { name: base, op, domain, inputs: names, outputs: made, attrs };
    inferNode(node, this.opsets, this.#facts, { valueInfo: new Map(), outputs: [] });
    this.#made.set(key, made);
    return [...made];
  }

  /** A constant of these numbers; equal small ones are made once. */
  constant(dtype: DType, shape: readonly number[], values: Numbers): string {
    const key =
      values.length > 64 ? undefined : `${dtype}[${shape}]${Array.from(values as ArrayLike<number>).map(String)}`;
    const known = key && this.#constants.get(key);
    if (known) return known;
    const tensor = tensorFrom(dtype, shape, values as ArrayLike<number>);
    const name = this.edit.weight(`const_${dtype}`, tensor);
    this.#facts.set(name, factOf(tensor));
    if (key) this.#constants.set(key, name);
    return name;
  }

  /** A tensor as a constant, under a name near `base`. */
  weight(base: string, tensor: Tensor): string {
    const name = this.edit.weight(base, tensor);
    this.#facts.set(name, factOf(tensor));
    return name;
  }

  scalar(value: number, dtype: DType = "float32"): string {
    return this.constant(dtype, [], [value]);
  }

  /** A 1-D int64 constant: axes, shapes, pads. */
  ints(values: readonly number[]): string {
    return this.constant("int64", [values.length], values);
  }

  add(a: Operand, b: Operand): string {
    if (a === 0 || b === 0) return this.#named(a === 0 ? b : a);
    return this.#scattered(a, b) ?? this.#scattered(b, a) ?? this.#binary("Add", ...ordered(a, b));
  }

  /** A value plus what was added up on zeros, for this alone: it is added up on the value, which saves the zeros and a pass. */
  #scattered(value: Operand, sum: Operand): string | undefined {
    const unread = (name: Operand | undefined) =>
      typeof name === "string" && this.edit.readersOf(name).length === 0 ? this.edit.writerOf(name) : undefined;
    let node = unread(sum);
    while (node?.op === "Reshape" && this.edit.readersOf(node.inputs[0] as string).length === 1)
      node = this.edit.writerOf(node.inputs[0] as string);
    if (typeof value !== "string" || node?.op !== "ScatterElements" || stringAttr(node, "reduction", "none") !== "add")
      return undefined;
    const [zeros, places, values] = node.inputs as [string, string, string];
    const nothing = this.edit.writerOf(zeros);
    const blank = nothing?.op === "Expand" && this.fact(nothing.inputs[0] as string).value?.join() === "0";
    return blank && sameShape(this.shape(zeros), this.shape(value)) && this.dtype(zeros) === this.dtype(value)
      ? this.op("ScatterElements", [value, places, values], node.attrs)
      : undefined;
  }

  sub(a: Operand, b: Operand): string {
    return b === 0 ? this.#named(a) : this.#binary("Sub", a, b);
  }

  mul(a: Operand, b: Operand): string {
    return a === 1 ? this.#named(b) : b === 1 ? this.#named(a) : this.#binary("Mul", ...ordered(a, b));
  }

  div(a: Operand, b: Operand): string {
    return b === 1 ? this.#named(a) : this.#binary("Div", a, b);
  }

  pow(a: Operand, b: Operand): string {
    return b === 1 ? this.#named(a) : this.#binary("Pow", a, b);
  }

  neg(a: string): string {
    return this.op("Neg", [a]);
  }

  /** Comparison: Less, Greater, LessOrEqual, GreaterOrEqual, Equal. */
  is(op: string, a: Operand, b: Operand): string {
    return this.#binary(op, a, b);
  }

  /** `yes` where the condition holds, else `no`. */
  where(condition: string, yes: Operand, no: Operand, dtype?: DType): string {
    const named = [yes, no].find((v): v is string => typeof v === "string");
    const type = dtype ?? (named ? this.dtype(named) : "float32");
    const value = (v: Operand) => (typeof v === "number" ? this.scalar(v, type) : v);
    return this.op("Where", [condition, value(yes), value(no)]);
  }

  /** 1 where the condition holds, else 0, in the type of `like`. */
  mask(condition: string, like: string): string {
    return this.cast(condition, this.dtype(like));
  }

  cast(a: string, dtype: DType): string {
    return this.dtype(a) === dtype ? a : this.op("Cast", [a], { to: int(codeOf(dtype)) });
  }

  zerosLike(a: string): string {
    return this.expand(this.scalar(0, this.dtype(a)), this.shape(a));
  }

  reshape(a: string, shape: readonly number[]): string {
    if (sameShape(this.shape(a), shape)) return a;
    const allow = shape.includes(0) ? { allowzero: int(1) } : {};
    const regrouped = this.op("Reshape", [a, this.ints(shape)], allow);
    if (this.#stretches.has(a)) this.#regrouped.set(regrouped, a);
    return regrouped;
  }

  expand(a: string, shape: readonly number[]): string {
    if (sameShape(this.shape(a), shape)) return a;
    return this.#drawnOut(a, shape) ?? this.op("Expand", [a, this.ints(shape)]);
  }

  /** One number after the other, each a few times: a product with a row of ones, a fifth to a half of Expand's time up to 64 times. */
  #drawnOut(a: string, shape: readonly number[]): string | undefined {
    const own = this.shape(a);
    const kept = own.findLastIndex((size) => size !== 1) + 1;
    const times = shape.slice(kept).reduce((product, size) => product * size, 1);
    const alike = kept > 0 && own.length === shape.length && sameShape(own.slice(0, kept), shape.slice(0, kept));
    if (!alike || times < 2 || times > 64 || this.dtype(a) !== "float32" || this.edit.constant(a)) return undefined;
    const ones = this.constant("float32", [1, times], Array(times).fill(1));
    return this.reshape(this.matMul(this.reshape(a, [this.size(a), 1]), ones), shape);
  }

  transpose(a: string, perm: readonly number[]): string {
    return perm.every((p, i) => p === i) ? a : this.op("Transpose", [a], { perm: ints(perm) });
  }

  /** The last two axes swapped. */
  transposeLast(a: string): string {
    const rank = this.rank(a);
    return this.transpose(a, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
  }

  /** a · b over the last two axes, either of them transposed; one fused node in float32. */
  matMul(a: string, b: string, { transA = false, transB = false } = {}): string {
    const [m, n] = [this.rank(a), this.rank(b)];
    if (!transA && !transB) return this.op("MatMul", [a, b]);
    if (this.dtype(a) === "float32" && m >= 2 && n >= 2 && this.opsets.has("com.microsoft") && !this.portable)
      return this.op("FusedMatMul", [a, b], { transA: int(+transA), transB: int(+transB) }, "com.microsoft");
    return this.op("MatMul", [transA ? this.transposeLast(a) : a, transB ? this.transposeLast(b) : b]);
  }

  /** Sum, mean or extremum over axes (counted from 0); over none it is the value itself. */
  reduce(
    op: "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceSumSquare",
    a: string,
    axes: readonly number[],
    keep = true,
  ): string {
    if (axes.length === 0 && op !== "ReduceSumSquare") return a;
    return this.op(op, [a, this.ints(axes)], { keepdims: int(+keep) });
  }

  sum(a: string, axes: readonly number[], keep = true): string {
    return this.reduce("ReduceSum", a, axes, keep);
  }

  mean(a: string, axes: readonly number[], keep = true): string {
    return this.reduce("ReduceMean", a, axes, keep);
  }

  /** What a value of `shape` that was broadcast to the shape of `a` gets of it: the sum over all it was repeated to. */
  sumTo(a: string, shape: readonly number[]): string {
    const from = this.shape(a);
    if (sameShape(from, shape)) return a;
    const lead = from.length - shape.length;
    const axes = from.flatMap((size, i) => (i < lead || (shape[i - lead] === 1 && size !== 1) ? [i] : []));
    return this.reshape(this.sum(a, axes), shape);
  }

  /** Positions `start` … `end` (exclusive, −1 based ends as in ONNX) along some axes. */
  slice(
    a: string,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): string {
    const last = steps === undefined ? [] : [this.ints(steps)];
    return this.op("Slice", [a, this.ints(starts), this.ints(ends), this.ints(axes), ...last]);
  }

  concat(parts: readonly string[], axis: number): string {
    return parts.length === 1 ? (parts[0] as string) : this.op("Concat", parts, { axis: int(axis) });
  }

  /** Zeros around: begins of all axes, then ends, as in ONNX Pad. */
  pad(a: string, pads: readonly number[], value = 0): string {
    if (pads.every((p) => p === 0)) return a;
    const padded = this.op("Pad", [a, this.ints(pads), this.scalar(value, this.dtype(a))]);
    const rank = pads.length / 2;
    const axes = new Set(pads.flatMap((p, i) => (p === 0 ? [] : [i % rank])));
    const [axis] = axes;
    if (value === 0 && axis !== undefined && axes.size === 1 && pads.every((p) => p >= 0))
      this.#stretches.set(padded, { of: a, axis, from: pads[axis] as number });
    return padded;
  }

  /** The sum of values of one shape. Those padded with zeros that lie beside each other along an axis become one Concat. */
  total(values: readonly string[]): string {
    const parts = this.#alike(values);
    for (const axis of new Set(values.flatMap((value) => this.#stretches.get(value)?.axis ?? []))) {
      const row = this.#row(parts, axis);
      if (row.length < 2) continue;
      for (const value of row) parts.splice(parts.indexOf(value), 1);
      parts.push(this.#joined(row, axis, this.shape(row[0] as string)));
    }
    if (parts.length <= 2) return parts.length === 1 ? (parts[0] as string) : this.add(...(parts as [string, string]));
    return this.portable ? parts.reduce((sum, part) => this.add(sum, part)) : this.op("Sum", parts);
  }

  /** The values, those that were regrouped from stretches of one shape summed before that. */
  #alike(values: readonly string[]): string[] {
    const shapes = new Map<string, string[]>();
    for (const value of values) {
      const from = this.#regrouped.get(value);
      const key = from === undefined ? "" : `[${this.shape(from)}]`;
      shapes.set(key, [...(shapes.get(key) ?? []), value]);
    }
    return [...shapes].flatMap(([key, alike]) => {
      if (key === "" || alike.length < 2) return alike;
      const sum = this.total(alike.map((value) => this.#regrouped.get(value) as string));
      return [this.reshape(sum, this.shape(alike[0] as string))];
    });
  }

  /** Those values that are stretches of an axis, as many as do not overlap, in their order. */
  #row(values: readonly string[], axis: number): string[] {
    const start = (value: string) => this.#stretches.get(value)?.from as number;
    const found = values.filter((value) => this.#stretches.get(value)?.axis === axis);
    let end = 0;
    return found
      .sort((a, b) => start(a) - start(b))
      .filter((value) => {
        if (start(value) < end) return false;
        end = start(value) + (this.shape(this.#stretches.get(value)?.of as string)[axis] as number);
        return true;
      });
  }

  /** Stretches one behind the other, zeros where there are gaps. */
  #joined(row: readonly string[], axis: number, shape: readonly number[]): string {
    const pieces: string[] = [];
    let end = 0;
    const fill = (to: number) => {
      if (to > end) pieces.push(this.expand(this.scalar(0, this.dtype(row[0] as string)), shape.with(axis, to - end)));
    };
    for (const value of row) {
      const { of, from } = this.#stretches.get(value) as Stretch;
      fill(from);
      pieces.push(of);
      end = from + (this.shape(of)[axis] as number);
    }
    fill(shape[axis] as number);
    return this.concat(pieces, axis);
  }

  /** Of a scalar and what ends in an axis of 1, where ONNX Runtime takes 30 times as long as for a row: as a row. */
  #binary(op: string, a: Operand, b: Operand): string {
    const type = this.dtype(typeof a === "number" ? this.#named(b) : a);
    const [x, y] = [a, b].map((v) => (typeof v === "number" ? this.scalar(v, type) : v)) as [string, string];
    const [one, long] = this.fact(x).shape?.length === 0 ? [x, y] : [y, x];
    const [none, shape] = [this.fact(one).shape, this.fact(long).shape];
    if (none?.length !== 0 || shape?.at(-1) !== 1 || !shape.every(isKnown)) return this.op(op, [x, y]);
    const row = this.reshape(long, [this.size(long)]);
    return this.reshape(this.op(op, long === x ? [row, y] : [x, row]), shape as number[]);
  }

  #named(a: Operand): string {
    return typeof a === "string" ? a : this.scalar(a);
  }
}

/** Attributes as text: bytes and large integers too. */
const plain = (_key: string, value: unknown): unknown =>
  typeof value === "bigint" ? String(value) : ArrayBuffer.isView(value) ? String(value) : value;

/** The named operand first, since a number takes its type. */
const ordered = (a: Operand, b: Operand): [Operand, Operand] => (typeof a === "number" ? [b, a] : [a, b]);

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, i) => size === b[i]);
