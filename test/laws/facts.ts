import { bindDim, type Dim, UNKNOWN } from "../../src/ir/dim.ts";
import type { DType } from "../../src/ir/dtype.ts";
import type { Model } from "../../src/ir/graph.ts";
import type { TensorData } from "../../src/ir/tensor.ts";
import type { Random } from "../../src/numeric/random.ts";
import type { Fact, OpRule } from "../../src/ops/define.ts";
import { applied, inferModel } from "../../src/ops/infer.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { modelOf } from "../../src/testing/single.ts";

/** What a rule is told of a sample, and the sizes behind the names it is told. */
export interface Told {
  readonly model: Model;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly sizes: ReadonlyMap<string, number>;
}

/** The ways the laws tell a rule of a sample: each is one claim. */
export const TOLD = {
  "all sizes": (sample: Sample): Told => told(modelOf(sample)),
  "the first axis by a name": (sample: Sample): Told =>
    named(sample, (size, axis) => (axis === 0 && size > 1 ? `N${size}` : size)),
  "every axis by a name of its own": (sample: Sample): Told =>
    named(sample, (size, axis, input) => (size > 1 ? `D${input}_${axis}_${size}` : size)),
  "whole numbers it holds by names": (sample: Sample): Told => namedValues(sample),
  "no sizes": (sample: Sample): Told =>
    changed(sample, (f) => (f.value ? f : { dtype: f.dtype, shape: (f.shape ?? []).map(() => UNKNOWN) })),
  "only types": (sample: Sample): Told => changed(sample, ({ dtype }) => ({ dtype })),
  "no numbers": (sample: Sample): Told => changed(sample, ({ value: _, ...f }) => f),
} as const;

const told = (model: Model): Told => ({ model, facts: factsOf(model), sizes: new Map() });

/** The facts of inputs and weights. */
const factsOf = (model: Model): ReadonlyMap<string, Fact> =>
  inferModel({ ...model, graph: { ...model.graph, nodes: [], outputs: [] } });

function changed(sample: Sample, change: (f: Fact) => Fact): Told {
  const { model, facts, sizes } = told(modelOf(sample));
  return { model, sizes, facts: new Map([...facts].map(([name, f]) => [name, change(f)])) };
}

function named(sample: Sample, size: (size: number, axis: number, input: number) => Dim): Told {
  const sizes = new Map<string, number>();
  const model = modelOf(sample, {
    size: (known, axis, input) => {
      const name = size(known, axis, input);
      if (typeof name === "string") sizes.set(name, known);
      return name;
    },
  });
  return { ...told(model), sizes };
}

/** Constants as a computed shape would come: each whole number from 1 on under a name. */
function namedValues(sample: Sample): Told {
  const { model, facts } = told(modelOf(sample));
  const sizes = new Map<string, number>();
  const nameOf = (v: Dim): Dim => {
    if (typeof v !== "number" || v < 1 || v > 2 ** 31 || !Number.isInteger(v)) return v;
    sizes.set(`V${v}`, v);
    return `V${v}`;
  };
  const renamed = [...facts].map(([name, f]): [string, Fact] =>
    f.value !== undefined && /^(int32|int64|float32)$/.test(f.dtype)
      ? [name, { ...f, value: f.value.map(nameOf) }]
      : [name, f],
  );
  return { model, facts: new Map(renamed), sizes };
}

/** The facts a rule infers of the outputs of the one node. */
export function inferred(rule: OpRule, { model, facts, sizes }: Told): readonly (Fact | undefined)[] {
  const node = model.graph.nodes[0];
  if (node === undefined) return [];
  return rule.infer(applied(node, model.opsets, facts)).map((f) => f && bound(f, sizes));
}

/** The fact once named sizes are given. */
export const bound = (f: Fact, sizes: ReadonlyMap<string, number>): Fact => ({
  dtype: f.dtype,
  ...(f.shape && { shape: f.shape.map((d) => bindDim(d, sizes)) }),
  ...(f.value && { value: f.value.map((d) => bindDim(d, sizes)) }),
});

/** What is wrong with the fact of an output that came out like this, one sentence each; none where they agree. */
export function wrong(f: Fact | undefined, given: Omit<TensorData, "data"> & Partial<TensorData>): string[] {
  if (f === undefined) return ["nothing is inferred"];
  const out: string[] = [];
  if (f.dtype !== given.dtype) out.push(`the type is ${given.dtype}, inferred ${f.dtype}`);
  const fits = f.shape?.length === given.shape.length && f.shape.every((d, i) => d === UNKNOWN || d === given.shape[i]);
  if (f.shape !== undefined && !fits) out.push(`the shape is [${given.shape}], inferred [${f.shape}]`);
  if (f.value === undefined) return out;
  if (f.shape === undefined) out.push("a value is inferred without its shape");
  if (given.data !== undefined) {
    const numbers = Array.from(given.data as ArrayLike<number | bigint | string>, Number);
    const same =
      f.value.length === numbers.length &&
      f.value.every((v, i) => v === UNKNOWN || Object.is(plus0(v), plus0(numbers[i] ?? Number.NaN)));
    if (!same) out.push(`the numbers are [${numbers}], inferred [${f.value}]`);
  }
  return out;
}

const plus0 = (v: Dim): Dim => (v === 0 ? 0 : v);

/** A fact of anything, or none. */
export function nonsense(next: Random): Fact | undefined {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T;
  const some = (lengths: readonly number[], items: readonly Dim[]): Dim[] =>
    Array.from({ length: pick(lengths) }, () => pick(items));
  const shape = some([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 7, "N", "N*2-5", UNKNOWN]);
  const value = some([0, 1, 2, 4], [-9, -1, 0, 1, 3, 0.5, 2 ** 63, "N", UNKNOWN]);
  const dtype = pick(["float32", "int64", "bool", "string"] as const);
  return pick([undefined, { dtype }, { dtype, shape }, { dtype, shape: [value.length], value }]);
}

/** Ways a rule can be wrong about its first output; each gives undefined where it has nothing to change. */
export const BREAKS: Readonly<Record<string, (f: Fact) => Fact | undefined>> = {
  "another type": (f) => ({ ...f, dtype: (f.dtype === "float32" ? "int64" : "float32") as DType }),
  "one axis too many": (f) => f.shape && { dtype: f.dtype, shape: [...f.shape, 1] },
  "a size that is off by one": (f) => {
    const at = f.shape?.findIndex((d) => typeof d === "number") ?? -1;
    if (f.shape === undefined || at < 0) return undefined;
    return { dtype: f.dtype, shape: f.shape.map((d, i) => (i === at ? (d as number) + 1 : d)) };
  },
  "a number that is off by one": (f) =>
    f.value && { ...f, value: f.value.map((v) => (typeof v === "number" ? v + 1 : v)) },
};
