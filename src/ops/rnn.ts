import { addDim, type Dim, divideExactly, isKnown, mulDim, productOf, sameDim, UNKNOWN } from "../ir/dim.ts";
import { type Applied, type AxesRule, defineOp, type Fact, type Mapped, type OpRule } from "./define.ts";
import { fact, required } from "./facts.ts";

/** A recurrent operator: how many gates its weights hold, and how its inputs after R follow. */
interface Recurrence {
  readonly name: string;
  readonly gates: number;
  /** What lies in the inputs from 3 on; `state` is carried from step to step, and given at the end. */
  readonly more: readonly ("bias" | "lengths" | "state" | "peepholes")[];
}

/** Whether X is [batch, time, features] rather than [time, batch, features]. */
const batchFirst = (n: Applied): boolean => n.int("layout", 0) === 1;

const directions = (n: Applied): number => (n.string("direction", "forward") === "bidirectional" ? 2 : 1);

/** The size of the hidden state, by the weights or the attribute. */
function hiddenSize(n: Applied, gates: number): Dim {
  const [w, r] = [n.inputs[1]?.shape, n.inputs[2]?.shape];
  const each = (rows: Dim | undefined): Dim =>
    divideExactly(rows ?? UNKNOWN, gates) ?? (isKnown(rows ?? "") ? 0 : UNKNOWN);
  const said = n.has("hidden_size") ? n.int("hidden_size", 0) : UNKNOWN;
  const sizes = [r?.[2] ?? UNKNOWN, each(r?.[1]), each(w?.[1]), said].filter((size) => size !== UNKNOWN);
  const known = sizes.filter(isKnown);
  if (known.some((size) => size !== known[0]))
    n.fail(`its weights are [${w}] and [${r}] with hidden_size ${said}; they do not fit together for ${gates} gates.`);
  return known[0] ?? sizes[0] ?? UNKNOWN;
}

/** Y [time, directions, batch, hidden], and the states after the last step [directions, batch, hidden]. */
function inferRecurrent(n: Applied, { gates, more }: Recurrence): Fact[] {
  const { dtype, shape } = required(n, 0);
  const states = more.filter((what) => what === "state");
  const [w, r] = [required(n, 1).shape, required(n, 2).shape];
  for (const [index, given] of [shape, w, r].entries())
    if (given !== undefined && given.length !== 3) n.fail(`input ${index} is [${given}]; it needs rank 3.`);
  const [d, h] = [directions(n), hiddenSize(n, gates)];
  for (const given of [w?.[0], r?.[0]])
    if (given !== undefined && isKnown(given) && given !== d)
      n.fail(`its weights are for ${given} directions, not ${d}.`);
  const [features, taken] = [shape?.[2] ?? UNKNOWN, w?.[2] ?? UNKNOWN];
  if (isKnown(features) && isKnown(taken) && !sameDim(features, taken))
    n.fail(
      `input is [${shape}] and its weight [${w}]; ${features} features meet ${taken}.`,
      "Check what writes its input.",
    );
  if (shape === undefined) return [fact(dtype), ...states.map(() => fact(dtype))];
  const [first, second] = shape as [Dim, Dim];
  return batchFirst(n)
    ? [fact(dtype, [first, second, d, h]), ...states.map(() => fact(dtype, [first, d, h]))]
    : [fact(dtype, [first, d, second, h]), ...states.map(() => fact(dtype, [d, second, h]))];
}

/** `!tni, !d(4h)i, !d(4h)h, !d(8h), n, !dnh, … -> !t!dnh, !dnh, …`: R has the hidden axis twice and is summed over the second. */
function recurrentAxes(n: Mapped, { gates, more }: Recurrence): AxesRule {
  const state = batchFirst(n) ? "n!dh" : "!dnh";
  const kinds = { bias: `!d(${2 * gates}h)`, lengths: "n", state, peepholes: `!d(${gates - 1}h)` };
  const all = [batchFirst(n) ? "n!ti" : "!tni", `!d(${gates}h)i`, `!d(${gates}h)h`, ...more.map((what) => kinds[what])];
  const inputs = n.node.inputs.map((name, i) => (name === "" ? "" : all[i]));
  const outputs = [batchFirst(n) ? "n!t!dh" : "!t!dnh", state, state].slice(0, n.outputs);
  return { map: `${inputs.join(",")} -> ${outputs.join(",")}`, holds: { hidden_size: "h" } };
}

/** Every step multiplies the input and the state with the weights of every gate. */
function recurrentMacs(n: Mapped, gates: number): Dim {
  const [x, h] = [n.inputs[0]?.shape, hiddenSize(n, gates)];
  if (x?.length !== 3) return UNKNOWN;
  const [steps, features] = [mulDim(x[0] as Dim, x[1] as Dim), x[2] as Dim];
  const perStep = productOf([directions(n), gates, h]);
  return mulDim(productOf([steps, perStep]), addDim(features, h));
}

const recurrent = (what: Recurrence): OpRule =>
  defineOp({
    name: what.name,
    since: 7,
    infer: (n) => inferRecurrent(n, what),
    axes: (n) => recurrentAxes(n, what),
    macs: (n) => recurrentMacs(n, what.gates),
  });

export const recurrences: readonly OpRule[] = [
  recurrent({ name: "GRU", gates: 3, more: ["bias", "lengths", "state"] }),
  recurrent({ name: "LSTM", gates: 4, more: ["bias", "lengths", "state", "state", "peepholes"] }),
  recurrent({ name: "RNN", gates: 1, more: ["bias", "lengths", "state"] }),
];
