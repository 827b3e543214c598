import { int, ints, subgraph } from "../ir/attrs.ts";
import type { DType } from "../ir/dtype.ts";
import type { Attrs, Graph, Node, ValueInfo } from "../ir/graph.ts";
import { float32s, int64s, type Tensor, tensorFrom } from "../ir/tensor.ts";
import type { Sample, SampleInput } from "./sample.ts";

/** A graph of lines `Op input … > output …`; inputs and outputs are written `name`, `name:type` or `name:type[2,3]`. */
function body(
  inputs: string,
  lines: readonly (string | readonly [string, Attrs])[],
  outputs: string,
  weights: Readonly<Record<string, Tensor>> = {},
): Graph {
  return {
    name: "body",
    inputs: inputs.split(" ").filter(Boolean).map(infoOf),
    outputs: outputs.split(" ").map(infoOf),
    weights: new Map(Object.entries(weights)),
    nodes: lines.map((line) => nodeOf(...(typeof line === "string" ? ([line, {}] as const) : line))),
    valueInfo: new Map(),
  };
}

function infoOf(text: string): ValueInfo {
  const [, name = "", dtype, sizes] = /^(\w+)(?::(\w+)(?:\[([\d,]*)\])?)?$/.exec(text) ?? [];
  if (dtype === undefined) return { name };
  const shape = sizes?.split(",").filter(Boolean).map(Number);
  return { name, type: { kind: "tensor", dtype: dtype as DType, ...(shape && { shape }) } };
}

function nodeOf(line: string, attrs: Attrs): Node {
  const [left = "", right = ""] = line.split(" > ");
  const [op = "", ...inputs] = left.split(" ");
  return { name: "", op, domain: "", inputs, outputs: right.split(" "), attrs };
}

const scalar = (dtype: DType, value: number): SampleInput => ({ shape: [], dtype, values: [value], constant: true });
/** Numbers that are fed: nothing is known of them before the run. */
const fed = (input: SampleInput): SampleInput => ({ ...input, constant: false });
const int64 = (...values: number[]): SampleInput => ({
  shape: [values.length],
  dtype: "int64",
  values,
  constant: true,
});
const x: SampleInput = { shape: [2, 3] };

const two = body("", ["Identity a > t", "Identity k > u"], "t u", {
  a: float32s([2, 3], [1, 2, 3, 4, 5, 6]),
  k: int64s([1, 2]),
});
const other = body("", ["Identity b > e", "Identity m > f"], "e f", {
  b: float32s([4, 3], Array(12).fill(1)),
  m: int64s([1, 5]),
});

const branches = { then_branch: subgraph(two), else_branch: subgraph(other) };

const choices: readonly Sample[] = [
  { op: "If", inputs: [fed(scalar("bool", 1))], attrs: branches, outputs: 2 },
  { op: "If", inputs: [scalar("bool", 0)], attrs: branches, outputs: 2 },
  { op: "If", inputs: [scalar("bool", 1)], attrs: branches, outputs: 2 },
];

/** Adds to a value, grows another, counts a third, and stacks the first. */
const grows = body(
  "i:int64[] go:bool[] sum:float32 list:float32 count:int64",
  [
    "Identity go > on",
    "Add sum one > next",
    ["Concat list row > longer", { axis: int(0) }],
    "Add count step > counted",
    "Add next one > seen",
  ],
  "on next longer counted seen:float32[2,3]",
  { one: float32s([1], [1]), row: float32s([1, 3], [7, 8, 9]), step: int64s([1]) },
);
const carried = [x, x, int64(0)];
/** Stops by itself. */
const stops = body("i:int64[] go:bool[] v:float32", ["Less i end > on", "Neg v > w", "Identity w > s"], "on w s", {
  end: tensorFrom("int64", [], [1]),
});

const loops: readonly Sample[] = [
  { op: "Loop", inputs: [scalar("int64", 3), undefined, ...carried], attrs: { body: subgraph(grows) }, outputs: 4 },
  {
    op: "Loop",
    inputs: [fed(scalar("int64", 2)), scalar("bool", 1), ...carried],
    attrs: { body: subgraph(grows) },
    outputs: 4,
  },
  {
    op: "Loop",
    inputs: [scalar("int64", 2), fed(scalar("bool", 1)), ...carried],
    attrs: { body: subgraph(grows) },
    outputs: 4,
  },
  {
    op: "Loop",
    inputs: [scalar("int64", 2), scalar("bool", 0), ...carried],
    attrs: { body: subgraph(grows) },
    outputs: 4,
  },
  { op: "Loop", inputs: [undefined, scalar("bool", 1), x], attrs: { body: subgraph(stops) }, outputs: 2 },
];

/** A running sum of rows, and each row doubled. */
const runs = body("sum:float32 row:float32", ["Add sum row > next", "Add row row > twice"], "next twice");
/** No state, two inputs. */
const pairs = body("a:float32 b:float32", ["Add a b > c"], "c");

const scans: readonly Sample[] = [
  {
    op: "Scan",
    inputs: [{ shape: [3] }, { shape: [4, 3] }],
    attrs: { body: subgraph(runs), num_scan_inputs: int(1) },
    outputs: 2,
  },
  {
    op: "Scan",
    inputs: [{ shape: [2, 3] }, { shape: [2, 4, 3] }],
    attrs: {
      body: subgraph(runs),
      num_scan_inputs: int(1),
      scan_input_axes: ints([1]),
      scan_input_directions: ints([1]),
      scan_output_axes: ints([-1]),
      scan_output_directions: ints([1]),
    },
    outputs: 2,
  },
  { op: "Scan", inputs: [x, x], attrs: { body: subgraph(pairs), num_scan_inputs: int(2) } },
];

export const samples: readonly Sample[] = [...choices, ...loops, ...scans];
