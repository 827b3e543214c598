import { type Dim, isKnown, maxDim, sameDim, UNKNOWN } from "../ir/dim.ts";
import type { Graph } from "../ir/graph.ts";
import { type Applied, defineOp, type Fact, type OpRule } from "./define.ts";
import { frozen } from "./elements.ts";
import { axisOf, fact } from "./facts.ts";

type Known = Fact | undefined;

/** The graph that stands in an attribute. */
function bodyOf(n: Applied, name: string): Graph {
  const attr = n.node.attrs[name];
  return attr?.type === "graph" ? attr.value : n.fail(`its attribute ${name} is no graph.`);
}

/** What holds of a value that is one of two: sizes and numbers where both agree. */
function either(a: Known, b: Known): Known {
  if (a === undefined || b === undefined || a.dtype !== b.dtype) return undefined;
  const shape = a.shape?.length === b.shape?.length ? a.shape?.map((d, i) => common(d, b.shape?.[i])) : undefined;
  const value = a.value?.length === b.value?.length ? a.value?.map((d, i) => common(d, b.value?.[i])) : undefined;
  return fact(a.dtype, shape, shape && value?.some((d) => d !== UNKNOWN) ? value : undefined);
}

const common = (a: Dim, b: Dim = UNKNOWN): Dim => (sameDim(a, b) ? a : UNKNOWN);

const sameFact = (a: Known, b: Known): boolean => JSON.stringify(a) === JSON.stringify(b);

const conditional = defineOp({
  name: "If",
  since: 1,
  infer: (n) => {
    const [condition] = n.inputs[0]?.value ?? [];
    const run = (name: string): readonly Known[] => {
      const body = bodyOf(n, name);
      if (body.outputs.length < n.outputs) n.fail(`${name} has ${body.outputs.length} outputs of its ${n.outputs}.`);
      return n.graph(body, []);
    };
    // A branch that is never taken need not fit the shapes that are.
    if (condition === 0 || condition === 1) return run(condition === 1 ? "then_branch" : "else_branch");
    const [then, otherwise] = [run("then_branch"), run("else_branch")];
    return then.map((f, i) => either(f, otherwise[i]));
  },
  axes: (n) => frozen(n, "runs one of two graphs"),
});

/** Rounds after which what is carried counts as of any shape. */
const ROUNDS = 8;

/** Inside this many graphs what is carried counts as of any shape, and one round tells all: rounds of rounds would take forever. */
const DEEP = 3;

const ofAnyShape = (f: Known): Known => f && fact(f.dtype);

/**
 * What a body's outputs are, and what it carries from one round to the next, whichever round it is: widened until
 * another round changes nothing.
 */
function settled(
  n: Applied,
  initial: readonly Known[],
  run: (carried: readonly Known[]) => readonly Known[],
): { readonly carried: readonly Known[]; readonly outputs: readonly Known[] } {
  const deep = n.nesting >= DEEP;
  let carried = deep ? initial.map(ofAnyShape) : initial;
  for (let round = 0; ; round++) {
    const outputs = run(carried);
    const wider = carried.map((f, i) => (round < ROUNDS ? either(f, outputs[i]) : ofAnyShape(f)));
    if (deep || wider.every((f, i) => sameFact(f, carried[i]))) return { carried, outputs };
    carried = wider;
  }
}

/** A scalar that a body is given, in the shape it declares for it. */
function scalarFor(body: Graph, index: number, dtype: Fact["dtype"], value?: Dim): Fact {
  const type = body.inputs[index]?.type;
  const shape = type?.kind === "tensor" && type.shape?.every(isKnown) ? type.shape : [];
  return fact(dtype, shape, value === undefined ? undefined : [value]);
}

/** A body's inputs: the round, the condition (true while it runs), what is carried; its outputs: the condition, what is carried, what is stacked. */
const loop = defineOp({
  name: "Loop",
  since: 1,
  infer: (n) => {
    const body = bodyOf(n, "body");
    const initial = n.node.inputs.slice(2).map((_, i) => n.inputs[i + 2]);
    if (body.inputs.length !== initial.length + 2 || body.outputs.length < initial.length + 1)
      n.fail(
        `its body has ${body.inputs.length} inputs and ${body.outputs.length} outputs for ${initial.length} values.`,
      );
    const { carried, outputs } = settled(n, initial, (values) =>
      rotated(n.graph(body, [scalarFor(body, 0, "int64"), scalarFor(body, 1, "bool", 1), ...values])),
    );
    const goesOn = outputs.at(-1);
    const rounds = roundsOf(n, goesOn);
    const stacked = outputs.slice(initial.length, -1);
    return [
      ...(rounds === 0 ? initial : carried),
      ...stacked.map((f) => f && fact(f.dtype, f.shape && [rounds, ...f.shape])),
    ];
  },
  axes: (n) => frozen(n, "runs a graph several times"),
});

/** The first of a list as its last. */
const rotated = (list: readonly Known[]): readonly Known[] => [...list.slice(1), list[0]];

/** How many rounds a Loop takes, where it ends only at its limit. */
function roundsOf(n: Applied, goesOn: Known): Dim {
  const start = n.node.inputs[1] ? n.inputs[1]?.value?.[0] : 1;
  if (start === 0) return 0;
  const limit = n.inputs[0]?.value?.[0];
  return start === 1 && goesOn?.value?.[0] === 1 && limit !== undefined ? maxDim(limit, 0) : UNKNOWN;
}

/** A body's inputs: the states, then a slice of each scanned input; its outputs: the states, then what is stacked. */
const scan = defineOp({
  name: "Scan",
  since: 9,
  infer: (n) => {
    const body = bodyOf(n, "body");
    const count = n.int("num_scan_inputs", 1);
    const states = n.node.inputs.length - count;
    if (states < 0 || body.inputs.length !== n.node.inputs.length || body.outputs.length < states)
      n.fail(`its body has ${body.inputs.length} inputs for ${states} states and ${count} scanned inputs.`);
    const axes = n.ints("scan_input_axes") ?? [];
    let length: Dim = UNKNOWN;
    const slices = n.node.inputs.slice(states).map((_, i): Known => {
      const f = n.inputs[states + i];
      if (f?.shape === undefined) return f && fact(f.dtype);
      const axis = axisOf(n, axes[i] ?? 0, f.shape.length);
      if (!isKnown(length) && f.shape[axis] !== UNKNOWN) length = f.shape[axis] ?? UNKNOWN;
      return fact(f.dtype, f.shape.toSpliced(axis, 1));
    });
    const initial = n.node.inputs.slice(0, states).map((_, i) => n.inputs[i]);
    const { carried, outputs } = settled(n, initial, (values) => n.graph(body, [...values, ...slices]));
    const places = n.ints("scan_output_axes") ?? [];
    const stacked = outputs.slice(states).map((f, i): Known => {
      if (f?.shape === undefined) return f && fact(f.dtype);
      const axis = axisOf(n, places[i] ?? 0, f.shape.length + 1);
      return fact(f.dtype, f.shape.toSpliced(axis, 0, length));
    });
    return [...carried, ...stacked];
  },
  axes: (n) => frozen(n, "runs a graph several times"),
});

/** Operators that run graphs of their own. */
export const control: readonly OpRule[] = [conditional, loop, scan];
