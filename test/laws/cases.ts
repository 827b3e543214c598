import { float, int, ints, subgraph, tensor } from "../../src/ir/attrs.ts";
import type { Dim } from "../../src/ir/dim.ts";
import type { DType } from "../../src/ir/dtype.ts";
import type { Attrs, Graph, Model, Node, ValueInfo } from "../../src/ir/graph.ts";
import { elements, float32s, int64s, type Tensor, tensorFrom } from "../../src/ir/tensor.ts";
import { random } from "../../src/numeric/random.ts";

/** A small model that a pass has something to do on, and what is left of it after `optimize`. */
export interface Case {
  readonly says: string;
  readonly model: Model;
  /** The operators that are left, in order. */
  readonly left: readonly string[];
}

const next = random(5);
const weights = (...shape: number[]): Tensor =>
  float32s(
    shape,
    Float32Array.from({ length: elements(shape) }, () => next() * 2 - 1),
  );
const positive = (...shape: number[]): Tensor =>
  float32s(
    shape,
    Float32Array.from({ length: elements(shape) }, () => 0.5 + next()),
  );

const info = (name: string, shape?: readonly Dim[], dtype: DType = "float32"): ValueInfo =>
  shape === undefined ? { name } : { name, type: { kind: "tensor", dtype, shape } };

/** `op inputs… > outputs…` with the attributes. */
function node(line: string, attrs: Attrs = {}): Node {
  const [left = "", right = ""] = line.split(">").map((part) => part.trim());
  const [op = "", ...inputs] = left.split(" ");
  return {
    name: `${op}_${right.split(" ")[0]}`,
    op,
    domain: "",
    inputs: inputs.map((i) => (i === "-" ? "" : i)),
    outputs: right.split(" "),
    attrs,
  };
}

function graphOf(x: readonly Dim[], nodes: readonly Node[], constants: Record<string, Tensor> = {}): Graph {
  return {
    name: "case",
    inputs: [info("x", x)],
    outputs: [info("y")],
    weights: new Map(Object.entries(constants)),
    nodes,
    valueInfo: new Map(),
  };
}

const modelOf = (graph: Graph): Model => ({ graph, opsets: new Map([["", 18]]), irVersion: 8, functions: [] });

const norm = (name: string, c: number): Record<string, Tensor> => ({
  [`${name}.g`]: weights(c),
  [`${name}.b`]: weights(c),
  [`${name}.m`]: weights(c),
  [`${name}.v`]: positive(c),
});
const batchNorm = (name: string, x: string, y: string): Node =>
  node(`BatchNormalization ${x} ${name}.g ${name}.b ${name}.m ${name}.v > ${y}`, { epsilon: float(1e-3) });

const image: readonly Dim[] = ["N", 4, 8, 8];

/** `cond ? x + 0 : -(−x)` where the branches read values from outside and have dead code of their own. */
function branches(): Graph {
  const empty = { inputs: [], weights: new Map<string, Tensor>(), valueInfo: new Map() };
  const then: Graph = {
    ...empty,
    name: "then",
    outputs: [info("t")],
    weights: new Map([["zero", float32s([], [0])]]),
    nodes: [node("Add h zero > s"), node("Relu h > dead"), node("Sigmoid s > t")],
  };
  const otherwise: Graph = {
    ...empty,
    name: "else",
    outputs: [info("e")],
    nodes: [node("Neg h > n"), node("Identity n > i"), node("Neg i > e")],
  };
  return graphOf(
    ["N", 3],
    [
      node("Identity x > h"),
      node("ReduceMax x - > m", { keepdims: int(0) }),
      node("Greater m half > c"),
      node("If c > y", { then_branch: subgraph(then), else_branch: subgraph(otherwise) }),
    ],
    { half: float32s([], [0.5]) },
  );
}

export const CASES: readonly Case[] = [
  {
    says: "BatchNormalization after Conv, ConvTranspose in groups, and Gemm",
    model: modelOf(
      graphOf(
        image,
        [
          node("Conv x w > a", { group: int(2) }),
          batchNorm("n1", "a", "b"),
          node("ConvTranspose b u ub > c", { group: int(2), strides: ints([2, 2]) }),
          batchNorm("n2", "c", "d"),
          node("GlobalAveragePool d > e"),
          node("Flatten e > f"),
          node("Gemm f k > g", { transB: int(1), alpha: float(0.5) }),
          batchNorm("n3", "g", "y"),
        ],
        {
          w: weights(6, 2, 3, 3),
          u: weights(6, 2, 2, 2),
          ub: weights(4),
          k: weights(5, 4),
          ...norm("n1", 6),
          ...norm("n2", 4),
          ...norm("n3", 5),
        },
      ),
    ),
    left: ["Conv", "ConvTranspose", "GlobalAveragePool", "Flatten", "Gemm"],
  },
  {
    says: "BatchNormalization before an unpadded Conv, but not before a padded one",
    model: modelOf(
      graphOf(
        image,
        [
          batchNorm("n1", "x", "a"),
          node("Conv a w wb > b", { group: int(2) }),
          node("Relu b > c"),
          batchNorm("n2", "c", "d"),
          node("Conv d v > y", { pads: ints([1, 1, 1, 1]) }),
        ],
        { w: weights(6, 2, 3, 3), wb: weights(6), v: weights(2, 6, 3, 3), ...norm("n1", 4), ...norm("n2", 6) },
      ),
    ),
    left: ["Conv", "Relu", "BatchNormalization", "Conv"],
  },
  {
    says: "weights that two Convs share, only one of them normalized",
    model: modelOf(
      graphOf(
        image,
        [
          node("Conv x w > a"),
          batchNorm("n", "a", "b"),
          node("Sigmoid x > z"),
          node("Conv z w > c"),
          node("Relu c > d"),
          node("Add b d > y"),
        ],
        { w: weights(3, 4, 1, 1), ...norm("n", 3) },
      ),
    ),
    left: ["Conv", "Sigmoid", "Conv", "Relu", "Add"],
  },
  {
    says: "Mul, Sub, Div and Add by a number per channel after a Conv",
    model: modelOf(
      graphOf(
        image,
        [node("Conv x w > a"), node("Mul m a > b"), node("Sub s b > c"), node("Div c d > e"), node("Add e f > y")],
        { w: weights(3, 4, 3, 3), m: weights(3, 1, 1), s: weights(1, 3, 1, 1), d: positive(1), f: weights(3, 1, 1) },
      ),
    ),
    left: ["Conv"],
  },
  {
    says: "Add along another axis than the channels' after a Conv stays",
    model: modelOf(
      graphOf(image, [node("Conv x w > a"), node("Add a b > y")], { w: weights(8, 4, 1, 1), b: weights(8) }),
    ),
    left: ["Conv", "Add"],
  },
  {
    says: "MatMul and Add of two dimensions, then a scale",
    model: modelOf(
      graphOf(["N", 4], [node("MatMul x w > a"), node("Add b a > c"), node("Mul c s > y")], {
        w: weights(4, 5),
        b: weights(5),
        s: float32s([], [0.25]),
      }),
    ),
    left: ["Gemm"],
  },
  {
    says: "Pad before Conv and before an AveragePool that then counts zeros",
    model: modelOf(
      graphOf(
        image,
        [
          node("Pad x p > a"),
          node("Conv a w > b", { pads: ints([0, 1, 0, 1]) }),
          node("Pad b q - axes > c"),
          node("AveragePool c > y", { kernel_shape: ints([3, 3]), strides: ints([2, 2]) }),
        ],
        { p: int64s([0, 0, 1, 2, 0, 0, 0, 1]), w: weights(4, 4, 3, 3), q: int64s([1, 1]), axes: int64s([-2]) },
      ),
    ),
    left: ["Conv", "AveragePool"],
  },
  {
    says: "Transposes and Reshapes in a row that undo each other, and that do not",
    model: modelOf(
      graphOf(
        ["N", 2, 3, 4],
        [
          node("Transpose x > a", { perm: ints([0, 2, 3, 1]) }),
          node("Transpose a > b", { perm: ints([0, 3, 1, 2]) }),
          node("Reshape b s1 > c"),
          node("Unsqueeze c axis > d"),
          node("Reshape d s2 > e"),
          node("Transpose e > f", { perm: ints([1, 0, 2]) }),
          node("Transpose f > y", { perm: ints([2, 0, 1]) }),
        ],
        { s1: int64s([0, -1]), axis: int64s([1]), s2: int64s([-1, 4, 6]) },
      ),
    ),
    left: ["Reshape", "Transpose"],
  },
  {
    says: "shapes that are computed, with a symbolic batch",
    model: modelOf(
      graphOf(
        ["N", 6, 5],
        [
          node("Shape x > s"),
          node("Gather s zero > n"),
          node("Gather s one > c"),
          node("Div c two > h"),
          node("Unsqueeze n first > n1"),
          node("Unsqueeze h first > h1"),
          node("Concat n1 twos h1 minus > t", { axis: int(0) }),
          node("Reshape x t > a"),
          node("Cast h > hf", { to: int(1) }),
          node("Mul a hf > y"),
        ],
        {
          zero: tensorFrom("int64", [], [0]),
          one: tensorFrom("int64", [], [1]),
          two: tensorFrom("int64", [], [2]),
          first: int64s([0]),
          twos: int64s([2]),
          minus: int64s([-1]),
        },
      ),
    ),
    left: ["Reshape", "Mul"],
  },
  {
    says: "constants that are computed, Constant nodes and a large constant that would swell the file",
    model: modelOf(
      graphOf(
        ["N", 3],
        [
          node("Constant > k", { value: tensor(weights(4, 3)) }),
          node("Transpose k > kt", { perm: ints([1, 0]) }),
          node("MatMul x kt > a"),
          node("ConstantOfShape big > z", { value: tensor(float32s([1], [1])) }),
          node("ReduceSum z > zs", { keepdims: int(0) }),
          node("Exp zs2 > ze"),
          node("Mul a ze > b"),
          node("Mul b zs > d"),
          node("ConstantOfShape wide > l", { value: tensor(float32s([1], [1])) }),
          node("Add d l > y"),
        ],
        { big: int64s([300, 300]), wide: int64s([30000, 1, 4]), zs2: float32s([1], [0.5]) },
      ),
    ),
    left: ["MatMul", "Mul", "Mul", "ConstantOfShape", "Add"],
  },
  {
    says: "weights stored in 8 bits, which stay so",
    model: modelOf(
      graphOf(
        ["N", 40],
        [
          node("Cast q > c", { to: int(1) }),
          node("Mul c s > w"),
          node("MatMul x w > a"),
          node("DequantizeLinear q s > v"),
          node("MatMul a v > y"),
        ],
        {
          q: tensorFrom(
            "int8",
            [40, 40],
            Array.from({ length: 1600 }, (_, i) => (i % 251) - 125),
          ),
          s: float32s([], [0.01]),
        },
      ),
    ),
    left: ["Cast", "Mul", "MatMul", "DequantizeLinear", "MatMul"],
  },
  {
    says: "nodes that change nothing",
    model: modelOf(
      graphOf(
        image,
        [
          node("Identity x > a"),
          node("Cast a > b", { to: int(1) }),
          node("Add b zero > c"),
          node("Mul one c > d"),
          node("Concat d > e", { axis: int(1) }),
          node("Slice e from to all > f"),
          node("Pad f none > g"),
          node("Dropout g ratio > h mask"),
          node("Expand h ones > i"),
          node("Clip i > j"),
          node("Relu j > k"),
          node("Transpose k > y", { perm: ints([0, 1, 2, 3]) }),
        ],
        {
          zero: float32s([], [0]),
          one: float32s([1, 1], [1]),
          from: int64s([0, 0]),
          to: int64s([4, 1000]),
          all: int64s([1, 2]),
          none: int64s(new Array(8).fill(0)),
          ratio: float32s([], [0.5]),
          ones: int64s([1, 4, 1, 8]),
        },
      ),
    ),
    left: ["Relu"],
  },
  {
    says: "nodes and weights that are there twice, and an output nobody reads",
    model: modelOf(
      graphOf(
        image,
        [
          node("MaxPool x > a where", { kernel_shape: ints([2, 2]) }),
          node("ReduceMean a i1 > b"),
          node("ReduceMean a i2 > c"),
          node("Sub b c > d"),
          node("Sin x > dead"),
          node("Cos dead > deader"),
          node("Exp d > y"),
        ],
        { i1: int64s([2]), i2: int64s([2]), unread: weights(3) },
      ),
    ),
    left: ["MaxPool", "ReduceMean", "Sub", "Exp"],
  },
  {
    says: "branches that are added: windows inside one another, the input and its BatchNormalization, in groups",
    model: modelOf(
      graphOf(
        image,
        [
          node("Conv x w3 b3 > a", { pads: ints([1, 1, 1, 1]), group: int(2) }),
          batchNorm("n", "a", "c"),
          node("Conv x w1 > d", { group: int(2) }),
          node("Add d c > e"),
          batchNorm("m", "x", "h"),
          node("Add e h > i"),
          node("Add x i > j"),
          node("Conv x w5 b5 > f", { pads: ints([2, 1, 2, 1]), dilations: ints([2, 1]), group: int(2) }),
          node("Add j f > g"),
          node("Relu g > y"),
        ],
        {
          w3: weights(4, 2, 3, 3),
          b3: weights(4),
          w1: weights(4, 2, 1, 1),
          w5: weights(4, 2, 3, 3),
          b5: weights(4),
          ...norm("n", 4),
          ...norm("m", 4),
        },
      ),
    ),
    left: ["Conv", "Conv", "Add", "Relu"],
  },
  {
    says: "branches that are added but slide otherwise, or are read by others too",
    model: modelOf(
      graphOf(
        image,
        [
          node("Conv x w > a", { pads: ints([1, 1, 1, 1]), strides: ints([2, 2]) }),
          node("Conv x u > b", { pads: ints([0, 0, 0, 0]), strides: ints([2, 2]) }),
          node("Add a b > c"),
          node("Conv x v > d", { pads: ints([1, 1, 1, 1]) }),
          node("Sigmoid d > e"),
          node("Add d x > f"),
          node("MaxPool f > g", { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }),
          node("Sub c g > h"),
          node("ReduceMax e i > k"),
          node("Mul h k > y"),
        ],
        { w: weights(4, 4, 3, 3), u: weights(4, 4, 1, 1), v: weights(4, 4, 3, 3), i: int64s([2, 3]) },
      ),
    ),
    left: ["Conv", "Conv", "Sigmoid", "Add", "MaxPool", "Sub", "ReduceMax", "Mul"],
  },
  {
    says: "branches of an If",
    model: modelOf(branches()),
    left: ["ReduceMax", "Greater", "If", "Sigmoid", "Neg", "Neg"],
  },
  {
    says: "an output that is an input or a weight keeps its Identity",
    model: modelOf({
      ...graphOf(["N", 2], [node("Identity x > y"), node("Identity w > z")], { w: weights(2) }),
      outputs: [info("y"), info("z")],
    }),
    left: ["Identity", "Identity"],
  },
];
