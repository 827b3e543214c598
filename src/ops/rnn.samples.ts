import { float, floats, int, string } from "../ir/attrs.ts";
import type { Attr } from "../ir/graph.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x = (...shape: number[]): SampleInput => ({ shape });
const words = (...values: string[]): Attr => ({
  type: "strings",
  value: values.map((v) => new TextEncoder().encode(v)),
});
const lengths = (...values: number[]): SampleInput => ({ shape: [values.length], dtype: "int32", values });

/** Weights of a recurrence of `gates`, 4 features in and 3 out, in as many directions. */
const weights = (gates: number, d: number): SampleInput[] => [x(d, gates * 3, 4), x(d, gates * 3, 3)];

const both = { direction: string("bidirectional"), hidden_size: int(3) };

export const samples: readonly Sample[] = [
  { op: "RNN", inputs: [x(5, 2, 4), ...weights(1, 1)], attrs: { hidden_size: int(3) }, outputs: 2 },
  {
    op: "RNN",
    inputs: [x(5, 2, 4), ...weights(1, 2), x(2, 6), lengths(5, 3), x(2, 2, 3)],
    attrs: {
      ...both,
      activations: words("Affine", "Tanh"),
      activation_alpha: floats([0.5]),
      activation_beta: floats([0.2]),
    },
    outputs: 2,
  },
  {
    op: "RNN",
    inputs: [x(5, 2, 4), ...weights(1, 1)],
    attrs: { direction: string("reverse"), clip: float(0.5), hidden_size: int(3) },
  },
  { op: "GRU", inputs: [x(5, 2, 4), ...weights(3, 1)], attrs: { hidden_size: int(3) }, outputs: 2 },
  {
    op: "GRU",
    inputs: [x(5, 2, 4), ...weights(3, 2), x(2, 18), lengths(5, 3), x(2, 2, 3)],
    attrs: { ...both, linear_before_reset: int(1) },
    outputs: 2,
  },
  {
    op: "GRU",
    inputs: [x(5, 2, 4), ...weights(3, 1), x(1, 18)],
    attrs: {
      direction: string("reverse"),
      clip: float(0.5),
      hidden_size: int(3),
      activations: words("HardSigmoid", "Tanh"),
      activation_alpha: floats([0.3]),
      activation_beta: floats([0.4]),
    },
  },
  { op: "LSTM", inputs: [x(5, 2, 4), ...weights(4, 1)], attrs: { hidden_size: int(3) }, outputs: 3 },
  {
    op: "LSTM",
    inputs: [x(5, 2, 4), ...weights(4, 2), x(2, 24), lengths(5, 3), x(2, 2, 3), x(2, 2, 3), x(2, 9)],
    attrs: both,
    outputs: 3,
  },
  {
    op: "LSTM",
    inputs: [x(5, 2, 4), ...weights(4, 1), x(1, 24), undefined, x(1, 2, 3), x(1, 2, 3)],
    attrs: {
      direction: string("reverse"),
      clip: float(0.8),
      hidden_size: int(3),
      activations: words("HardSigmoid", "Tanh", "Tanh"),
      activation_alpha: floats([0.3]),
      activation_beta: floats([0.4]),
    },
    outputs: 2,
  },
  {
    op: "LSTM",
    inputs: [x(5, 2, 4), ...weights(4, 1)],
    attrs: { hidden_size: int(3), input_forget: int(1) },
  },
];
