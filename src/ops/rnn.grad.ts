import { MinnowError } from "../errors.ts";
import { float, floatsAttr, int } from "../ir/attrs.ts";
import { titleOf } from "../ir/walk.ts";
import type { Backward, Gradients } from "./gradient.ts";

type Activation = (g: Backward, x: string) => string;

/** Activations by their lower-case names, with the alpha and beta they take where none are given. */
const ACTIVATIONS: Readonly<
  Record<string, { readonly defaults: readonly number[]; of(alpha: number, beta: number): Activation }>
> = {
  relu: { defaults: [], of: () => (g, x) => g.op("Relu", [x]) },
  tanh: { defaults: [], of: () => (g, x) => g.op("Tanh", [x]) },
  sigmoid: { defaults: [], of: () => (g, x) => g.op("Sigmoid", [x]) },
  softsign: { defaults: [], of: () => (g, x) => g.op("Softsign", [x]) },
  softplus: { defaults: [], of: () => (g, x) => g.op("Softplus", [x]) },
  leakyrelu: { defaults: [0.01], of: (alpha) => (g, x) => g.op("LeakyRelu", [x], { alpha: float(alpha) }) },
  thresholdedrelu: { defaults: [1], of: (alpha) => (g, x) => g.op("ThresholdedRelu", [x], { alpha: float(alpha) }) },
  elu: { defaults: [1], of: (alpha) => (g, x) => g.op("Elu", [x], { alpha: float(alpha) }) },
  hardsigmoid: {
    defaults: [0.2, 0.5],
    of: (alpha, beta) => (g, x) => g.op("HardSigmoid", [x], { alpha: float(alpha), beta: float(beta) }),
  },
  affine: { defaults: [1, 0], of: (alpha, beta) => (g, x) => g.add(g.mul(x, alpha), beta) },
  scaledtanh: { defaults: [1, 1], of: (alpha, beta) => (g, x) => g.mul(g.op("Tanh", [g.mul(x, beta)]), alpha) },
};

/** The activations of all directions, one after the other, behind the node's clip. */
function activationsOf(g: Backward, fallback: readonly string[], directions: number): readonly Activation[] {
  const attr = g.node.attrs["activations"];
  const given = attr?.type === "strings" ? attr.value.map((v) => new TextDecoder().decode(v)) : [];
  const names = given.length > 0 ? given : Array.from({ length: directions }, () => fallback).flat();
  const alphas = [...(floatsAttr(g.node, "activation_alpha") ?? [])];
  const betas = [...(floatsAttr(g.node, "activation_beta") ?? [])];
  const clip = g.float("clip", 0);
  const limited = (own: Backward, x: string) =>
    clip > 0 ? own.op("Clip", [x, own.scalar(-clip, own.dtype(x)), own.scalar(clip, own.dtype(x))]) : x;
  return names.map((name) => {
    const known = ACTIVATIONS[name.toLowerCase()];
    if (known === undefined) return fail(g, `Its activation ${name} is none of ONNX's.`);
    const [alpha = 0, beta = 0] = known.defaults;
    const [takesAlpha, takesBeta] = [known.defaults.length > 0, known.defaults.length > 1];
    const apply = known.of((takesAlpha ? alphas.shift() : alpha) ?? alpha, (takesBeta ? betas.shift() : beta) ?? beta);
    return (own, x) => apply(own, limited(own, x));
  });
}

function fail(g: Backward, what: string): never {
  throw new MinnowError(what, {
    code: "train/no-gradient",
    at: titleOf(g.node),
    mend: "Freeze the weights before it, or export the model in ONNX's default form.",
  });
}

/** One direction of a recurrence: its own slices of the weights and states. */
interface Direction {
  readonly g: Backward;
  /** [gates · hidden, hidden] */
  readonly r: string;
  /** Biases of the input and of the state, [gates · hidden] each. */
  readonly bias: readonly [string, string] | undefined;
  /** LSTM's weights from the cell to the input, output and forget gates, [hidden] each. */
  readonly peepholes: readonly string[] | undefined;
  readonly activations: readonly Activation[];
  readonly hidden: number;
}

/** The states after a step, the first of which is the output, from those before it and the step's inputs to the gates. */
type Cell = (d: Direction, gates: string, states: readonly string[]) => readonly string[];

interface Recurrence {
  readonly gates: number;
  readonly activations: readonly string[];
  /** Inputs that hold the initial states. */
  readonly states: readonly number[];
  readonly cell: Cell;
  /** Whether the state's bias is added to the inputs of the gates before the steps; else the cell adds it. */
  early(g: Backward): boolean;
}

const product = (g: Backward, a: string, b: string, c?: string): string =>
  g.op("Gemm", c === undefined ? [a, b] : [a, b, c], { transB: int(1) });

const cut = (g: Backward, a: string, parts: number, size: number, axis = 1): readonly string[] =>
  parts === 1 ? [a] : g.ops("Split", [a, g.ints(Array(parts).fill(size))], parts, { axis: int(axis) });

const rnnCell: Cell = ({ g, r, activations: [f] }, gates, [h]) => [
  (f as Activation)(g, product(g, h as string, r, gates)),
];

const gruCell: Cell = ({ g, r, bias, activations, hidden }, gates, [h]) => {
  const [f, act] = activations as [Activation, Activation];
  const [state, after] = [h as string, g.int("linear_before_reset", 0) === 1];
  const [xz, xr, xh] = cut(g, gates, 3, hidden) as [string, string, string];
  const rows = (from: number, to: number) => g.slice(r, [from * hidden], [to * hidden], [0]);
  const [hz, hr, hh] = after
    ? cut(g, product(g, state, r, bias?.[1]), 3, hidden)
    : cut(g, product(g, state, rows(0, 2)), 2, hidden);
  const update = f(g, g.add(xz, hz as string));
  const reset = f(g, g.add(xr, hr as string));
  const candidate = act(
    g,
    after ? g.add(xh, g.mul(reset, hh as string)) : product(g, g.mul(reset, state), rows(2, 3), xh),
  );
  return [g.add(candidate, g.mul(update, g.sub(state, candidate)))];
};

const lstmCell: Cell = ({ g, r, peepholes, activations, hidden }, gates, states) => {
  const [h, c] = states as [string, string];
  const [f, act, out] = activations as [Activation, Activation, Activation];
  const [xi, xo, xf, xc] = cut(g, product(g, h, r, gates), 4, hidden) as [string, string, string, string];
  const seen = (x: string, cell: string, k: number) =>
    peepholes === undefined ? x : g.add(x, g.mul(cell, peepholes[k] as string));
  const input = f(g, seen(xi, c, 0));
  const forget = g.int("input_forget", 0) === 1 ? g.sub(1, input) : f(g, seen(xf, c, 2));
  const cell = g.add(g.mul(forget, c), g.mul(input, act(g, xc)));
  return [g.mul(f(g, seen(xo, cell, 1)), out(g, cell)), cell];
};

/** The recurrence as one product for the inputs of all steps, and the steps one by one: as many nodes as there are steps. */
function unrolled(g: Backward, what: Recurrence): readonly string[] {
  if (g.int("layout", 0) === 1) fail(g, "Its layout is batch first, which ONNX Runtime does not run.");
  const [steps, batch] = g.shape(g.x[0] as string) as [number, number];
  const count = g.shape(g.x[1] as string)[0] as number;
  const ways = Array.from({ length: count }, (_, k) => run(g, what, k, count));
  const y = g.concat(
    ways.map(({ outputs }) => g.reshape(g.concat(outputs, 0), [steps, 1, batch, -1])),
    1,
  );
  const last = what.states.map((_, k) =>
    g.concat(
      ways.map(({ states }) => g.reshape(states[k] as string, [1, batch, -1])),
      0,
    ),
  );
  return [y, ...last];
}

function run(
  g: Backward,
  what: Recurrence,
  k: number,
  count: number,
): { readonly outputs: readonly string[]; readonly states: readonly string[] } {
  const [steps, batch, features] = g.shape(g.x[0] as string) as [number, number, number];
  const hidden = g.shape(g.x[2] as string)[2] as number;
  const part = (input: number) => {
    const name = g.x[input];
    if (!name) return undefined;
    return g.reshape(count === 1 ? name : g.slice(name, [k], [k + 1], [0]), g.shape(name).slice(1));
  };
  const all = activationsOf(g, what.activations, count);
  const biases = part(3);
  const peepholes = part(7);
  const direction: Direction = {
    g,
    r: part(2) as string,
    bias: biases === undefined ? undefined : (cut(g, biases, 2, what.gates * hidden, 0) as [string, string]),
    peepholes: peepholes === undefined ? undefined : cut(g, peepholes, 3, hidden, 0),
    activations: all.slice(k * what.activations.length, (k + 1) * what.activations.length),
    hidden,
  };
  const { bias } = direction;
  const rows = g.reshape(g.x[0] as string, [steps * batch, features]);
  const gates = product(g, rows, part(1) as string, bias && (what.early(g) ? g.add(...bias) : bias[0]));
  const each = cut(g, gates, steps, batch, 0);
  const zeros = g.expand(g.scalar(0, g.dtype(rows)), [batch, hidden]);
  let states: readonly string[] = what.states.map((input) => part(input) ?? zeros);
  const outputs: string[] = [];
  const backwards = k === 1 || g.text("direction", "forward") === "reverse";
  for (let i = 0; i < steps; i++) {
    const t = backwards ? steps - 1 - i : i;
    const next = what.cell(direction, each[t] as string, states);
    // Behind the end of a sequence the output is zero, and the states stay.
    const running = g.x[4] ? g.reshape(g.is("Less", g.constant("int32", [1], [t]), g.x[4]), [batch, 1]) : undefined;
    outputs[t] = running ? g.where(running, next[0] as string, zeros) : (next[0] as string);
    states = running ? next.map((state, s) => g.where(running, state, states[s] as string)) : next;
  }
  return { outputs, states };
}

const late = (g: Backward): boolean => g.int("linear_before_reset", 0) === 1;

export const rnnGradients: Gradients = {
  // hₜ = f(xₜWᵀ + hₜ₋₁Rᵀ + b)
  RNN: {
    as: (g) => unrolled(g, { gates: 1, activations: ["Tanh"], states: [5], cell: rnnCell, early: () => true }),
  },
  // z, r = f(xₜWᵀ + hₜ₋₁Rᵀ + b), ĥ = g(xₜWᵀ + (r ⊙ hₜ₋₁)Rᵀ + b), hₜ = (1 − z) ⊙ ĥ + z ⊙ hₜ₋₁
  GRU: {
    as: (g) =>
      unrolled(g, {
        gates: 3,
        activations: ["Sigmoid", "Tanh"],
        states: [5],
        cell: gruCell,
        early: (own) => !late(own),
      }),
  },
  // i, o, f = σ(xₜWᵀ + hₜ₋₁Rᵀ + p ⊙ c + b), ĉ = g(…), cₜ = f ⊙ cₜ₋₁ + i ⊙ ĉ, hₜ = o ⊙ h(cₜ)
  LSTM: {
    as: (g) =>
      unrolled(g, {
        gates: 4,
        activations: ["Sigmoid", "Tanh", "Tanh"],
        states: [5, 6],
        cell: lstmCell,
        early: () => true,
      }),
  },
};
