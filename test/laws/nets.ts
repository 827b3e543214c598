import { float, int, ints, string } from "../../src/ir/attrs.ts";
import type { Dim } from "../../src/ir/dim.ts";
import { edit, type GraphEdit } from "../../src/ir/edit.ts";
import type { Attr, Graph, Model } from "../../src/ir/graph.ts";
import { elements, float32s, int64s, type Tensor } from "../../src/ir/tensor.ts";
import { type Random, random } from "../../src/numeric/random.ts";

type Attrs = Readonly<Record<string, Attr>>;

/** Writes a small net node by node, in the forms of an opset. */
export class Net {
  readonly opset: number;
  readonly #edit: GraphEdit;
  readonly #next: Random;

  constructor(opset: number, inputs: Readonly<Record<string, readonly Dim[]>>, integers = false) {
    this.opset = opset;
    this.#next = random(opset + 1);
    const dtype = integers ? "int64" : "float32";
    const graph: Graph = {
      name: "net",
      inputs: Object.entries(inputs).map(([name, shape]) => ({ name, type: { kind: "tensor", dtype, shape } })),
      outputs: [],
      weights: new Map(),
      nodes: [],
      valueInfo: new Map(),
    };
    this.#edit = edit(graph);
  }

  constant = (tensor: Tensor): string => this.#edit.weight("c", tensor);

  numbers = (...values: number[]): string => this.constant(int64s(values));

  /** Drawn uniformly, of variance about 1 / fan-in. */
  weight(...shape: number[]): string {
    const bound = Math.sqrt(3 / Math.max(1, elements(shape) / (shape[0] ?? 1)));
    return this.#edit.weight(
      "w",
      float32s(
        shape,
        Array.from({ length: elements(shape) }, () => bound * (2 * this.#next() - 1)),
      ),
    );
  }

  ones(...shape: number[]): string {
    return this.#edit.weight(
      "s",
      float32s(
        shape,
        Array.from({ length: elements(shape) }, () => 0.7 + 0.6 * this.#next()),
      ),
    );
  }

  op(op: string, inputs: readonly string[], attrs: Attrs = {}, outputs = 1): string[] {
    return this.#edit.add({ op, inputs, attrs, outputs });
  }

  one = (op: string, inputs: readonly string[], attrs: Attrs = {}): string => this.op(op, inputs, attrs)[0]!;

  /** A list that was an attribute before an opset, and is an input from there on. */
  listed(op: string, x: string, since: number, name: string, list: readonly number[], attrs: Attrs = {}): string {
    return this.opset < since
      ? this.one(op, [x], { ...attrs, [name]: ints(list) })
      : this.one(op, [x, this.numbers(...list)], attrs);
  }

  split(x: string, axis: number, sizes: readonly number[]): string[] {
    return this.opset < 13
      ? this.op("Split", [x], { axis: int(axis), split: ints(sizes) }, sizes.length)
      : this.op("Split", [x, this.numbers(...sizes)], { axis: int(axis) }, sizes.length);
  }

  slice(x: string, axis: number, start: number, end: number): string {
    if (this.opset < 10)
      return this.one("Slice", [x], { axes: ints([axis]), starts: ints([start]), ends: ints([end]) });
    return this.one("Slice", [x, this.numbers(start), this.numbers(end), this.numbers(axis)]);
  }

  pad(x: string, pads: readonly number[]): string {
    return this.opset < 11 ? this.one("Pad", [x], { pads: ints(pads) }) : this.one("Pad", [x, this.numbers(...pads)]);
  }

  conv(x: string, from: number, to: number, kernel: readonly number[], more: Attrs = {}): string {
    const group = more.group?.type === "int" ? Number(more.group.value) : 1;
    const pads = ints([...kernel, ...kernel].map((k) => Math.floor(k / 2)));
    const inputs = [x, this.weight(to, from / group, ...kernel), this.weight(to)];
    return this.one("Conv", inputs, { kernel_shape: ints(kernel), pads, ...more });
  }

  batchNorm(x: string, channels: number): string {
    const [scale, shift, mean] = [this.ones(channels), this.weight(channels), this.weight(channels)];
    return this.one("BatchNormalization", [x, scale, shift, mean, this.ones(channels)]);
  }

  convBlock = (x: string, from: number, to: number, kernel: readonly number[] = [3, 3], more: Attrs = {}): string =>
    this.one("Relu", [this.batchNorm(this.conv(x, from, to, kernel, more), to)]);

  linear(x: string, from: number, to: number): string {
    return this.one("Add", [this.one("MatMul", [x, this.transposed(from, to)]), this.weight(to)]);
  }

  /** A weight of MatMul, [from, to]. */
  transposed(from: number, to: number): string {
    return this.one("Transpose", [this.weight(to, from)], { perm: ints([1, 0]) });
  }

  reshape = (x: string, ...shape: number[]): string => this.one("Reshape", [x, this.numbers(...shape)]);

  /** Written out below opset 17. */
  layerNorm(x: string, width: number): string {
    if (this.opset >= 17)
      return this.one("LayerNormalization", [x, this.ones(width), this.weight(width)], { axis: int(-1) });
    const mean = this.listed("ReduceMean", x, 18, "axes", [-1]);
    const apart = this.one("Sub", [x, mean]);
    const variance = this.listed("ReduceMean", this.one("Mul", [apart, apart]), 18, "axes", [-1]);
    const deviation = this.one("Sqrt", [this.one("Add", [variance, this.constant(float32s([], [1e-5]))])]);
    const scaled = this.one("Mul", [this.one("Div", [apart, deviation]), this.ones(width)]);
    return this.one("Add", [scaled, this.weight(width)]);
  }

  model(...outputs: string[]): Model {
    this.#edit.setOutputs(outputs.map((name) => ({ name })));
    const irVersion = this.opset < 15 ? 7 : this.opset < 21 ? 8 : 10;
    return { graph: this.#edit.done(), opsets: new Map([["", this.opset]]), irVersion, functions: [] };
  }
}

const head = (net: Net, x: string, width: number): string =>
  net.linear(net.one("Flatten", [net.one("GlobalAveragePool", [x])]), width, 5);

/** Two layers of LSTM, the second in both directions, then a classifier on all steps. */
export function lstm(opset: number): Model {
  const net = new Net(opset, { x: [7, "N", 6] });
  const layer = (x: string, from: number, h: number, directions: number) =>
    net.op(
      "LSTM",
      [x, net.weight(directions, 4 * h, from), net.weight(directions, 4 * h, h), net.weight(directions, 8 * h)],
      { hidden_size: int(h), ...(directions === 2 && { direction: string("bidirectional") }) },
      3,
    )[0]!;
  const first = net.listed("Squeeze", layer("x", 6, 12, 1), 13, "axes", [1]);
  const turned = net.one("Transpose", [layer(first, 12, 10, 2)], { perm: ints([0, 2, 1, 3]) });
  return net.model(net.linear(net.reshape(turned, 0, 0, -1), 20, 5));
}

/** A GRU with a state that the model brings, its last state classified. */
export function gru(opset: number): Model {
  const net = new Net(opset, { x: [7, 2, 6] });
  const [h, inputs] = [12, net.linear("x", 6, 8)];
  const weights = [net.weight(1, 3 * h, 8), net.weight(1, 3 * h, h), net.weight(1, 6 * h), "", net.weight(1, 2, h)];
  const [, last] = net.op("GRU", [inputs, ...weights], { hidden_size: int(h), linear_before_reset: int(1) }, 2);
  return net.model(net.linear(net.listed("Squeeze", last!, 13, "axes", [0]), h, 5));
}

/** GroupNorm as exporters write it: Reshape, InstanceNormalization, Reshape, and as one operator from opset 21 on. */
export function groupNorm(opset: number): Model {
  const net = new Net(opset, { x: ["N", 3, 8, 8] });
  const norm = (x: string, channels: number, groups: number): string => {
    if (opset >= 21)
      return net.one("GroupNormalization", [x, net.ones(channels), net.weight(channels)], { num_groups: int(groups) });
    const instance = net.one("InstanceNormalization", [
      net.reshape(x, 0, groups, -1),
      net.ones(groups),
      net.weight(groups),
    ]);
    const back = net.reshape(instance, -1, channels, 8, 8);
    return net.one("Add", [net.one("Mul", [back, net.ones(channels, 1, 1)]), net.weight(channels, 1, 1)]);
  };
  const first = net.one("Relu", [norm(net.conv("x", 3, 16, [3, 3]), 16, 4)]);
  const second = net.one("Relu", [norm(net.conv(first, 16, 12, [3, 3]), 12, 6)]);
  return net.model(head(net, second, 12));
}

/** A U-Net: down twice, up twice by ConvTranspose, what was skipped joined on channels. */
export function unet(opset: number): Model {
  const net = new Net(opset, { x: ["N", 3, 16, 16] });
  const halve = (x: string) => net.one("MaxPool", [x], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) });
  const double = (x: string, from: number, to: number) =>
    net.one("ConvTranspose", [x, net.weight(from, to, 2, 2), net.weight(to)], { strides: ints([2, 2]) });
  const a = net.convBlock("x", 3, 8);
  const b = net.convBlock(halve(a), 8, 16);
  const c = net.convBlock(halve(b), 16, 24);
  const d = net.convBlock(net.one("Concat", [double(c, 24, 16), b], { axis: int(1) }), 32, 16);
  const e = net.convBlock(net.one("Concat", [double(d, 16, 8), a], { axis: int(1) }), 16, 8);
  return net.model(net.conv(e, 8, 2, [1, 1]));
}

/** Branches as in Inception: 1×7 and 7×1, pooling with padding, channels padded and cut, a grouped and a gated one. */
export function inception(opset: number): Model {
  const net = new Net(opset, { x: ["N", 3, 9, 9] });
  const stem = net.convBlock("x", 3, 12);
  const pool = { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) };
  const branches = [
    net.convBlock(net.convBlock(stem, 12, 10, [1, 7]), 10, 14, [7, 1]),
    net.convBlock(net.one("AveragePool", [stem], pool), 12, 6, [1, 1]),
    net.one("MaxPool", [net.pad(stem, [0, 2, 1, 1, 0, 2, 1, 1])], { kernel_shape: ints([3, 3]) }),
    net.convBlock(stem, 12, 16, [3, 3], { group: int(4) }),
  ];
  const joined = net.one("Concat", branches, { axis: int(1) });
  const squeezed = net.conv(net.one("GlobalAveragePool", [joined]), 52, 8, [1, 1]);
  const gate = net.one("Sigmoid", [net.conv(net.one("Relu", [squeezed]), 8, 52, [1, 1])]);
  const gated = net.one("Mul", [joined, gate]);
  const [left, right] = net.split(gated, 1, [20, 32]);
  const sum = net.one("Add", [net.conv(left!, 20, 18, [1, 1]), net.slice(right!, 1, 4, 22)]);
  return net.model(head(net, sum, 18));
}

/** One block of an encoder with attention; keys, queries and values from one weight, or each from its own. */
export function bert(opset: number, packed: boolean): Model {
  const net = new Net(opset, { ids: ["batch", 6] }, true);
  const [width, heads, size] = [24, 4, 6];
  const words = net.one("Gather", [net.weight(30, width), "ids"], { axis: int(0) });
  const x = net.layerNorm(net.one("Add", [words, net.weight(1, 6, width)]), width);
  const turned = (y: string) => net.one("Transpose", [net.reshape(y, 0, 0, heads, size)], { perm: ints([0, 2, 1, 3]) });
  const apart = (): string[] => {
    if (!packed) return [0, 1, 2].map(() => turned(net.linear(x, width, heads * size)));
    const all = net.one("Transpose", [net.reshape(net.linear(x, width, 3 * width), 0, 0, 3, heads, size)], {
      perm: ints([2, 0, 3, 1, 4]),
    });
    return [0, 1, 2].map((i) =>
      net.one("Gather", [all, net.constant({ ...int64s([i]), shape: [] })], { axis: int(0) }),
    );
  };
  const [q, k, v] = apart() as [string, string, string];
  const scores = net.one("MatMul", [q, net.one("Transpose", [k], { perm: ints([0, 1, 3, 2]) })]);
  const scaled = net.one("Div", [scores, net.constant(float32s([], [Math.sqrt(size)]))]);
  const mixed = net.one("MatMul", [net.one("Softmax", [scaled], { axis: int(3) }), v]);
  const back = net.reshape(net.one("Transpose", [mixed], { perm: ints([0, 2, 1, 3]) }), 0, 0, -1);
  const y = net.layerNorm(net.one("Add", [net.linear(back, width, width), x]), width);
  const wide = net.linear(y, width, 40);
  const gelu = net.one("Mul", [wide, net.one("Erf", [wide])]);
  const z = net.layerNorm(net.one("Add", [net.linear(gelu, 40, width), y]), width);
  const first = net.one("Gather", [z, net.constant({ ...int64s([0]), shape: [] })], { axis: int(1) });
  return net.model(net.linear(net.one("Tanh", [net.linear(first, width, width)]), width, 3));
}

/** Channels shuffled, space to depth and back, tiled, cut by lists of indices, reduced in every way. */
export function mixed(opset: number): Model {
  const net = new Net(opset, { x: ["N", 4, 8, 8] });
  const a = net.convBlock("x", 4, 16);
  const shuffled = net.reshape(
    net.one("Transpose", [net.reshape(a, 0, 2, 8, 8, 8)], { perm: ints([0, 2, 1, 3, 4]) }),
    0,
    -1,
    8,
    8,
  );
  const spread = net.one("SpaceToDepth", [shuffled], { blocksize: int(2) });
  const b = net.convBlock(spread, 64, 24, [1, 1]);
  const deep = net.one("DepthToSpace", [b], { blocksize: int(2) });
  const c = net.convBlock(deep, 6, 12, [3, 3], { group: int(2) });
  const every = net.one("Gather", [c, net.numbers(2, 3, 4, 5, 6, 7)], { axis: int(1) });
  const twice = net.one("Tile", [every, net.numbers(1, 2, 1, 1)]);
  const d = net.one("Add", [twice, net.one("LeakyRelu", [c], { alpha: float(0.2) })]);
  const mean = net.listed("ReduceMean", d, 18, "axes", [2, 3], { keepdims: int(0) });
  const most = net.listed("ReduceMax", d, 18, "axes", [2, 3], { keepdims: int(0) });
  return net.model(net.linear(net.one("Concat", [mean, most], { axis: int(1) }), 24, 5));
}

/** Layers of a transformer behind an embedding: normalized before each branch (as GPT), or behind each sum (as BERT). */
export function transformer(opset: number, layers: number, norm: "before" | "behind"): Model {
  const net = new Net(opset, { ids: ["batch", 6] }, true);
  const [width, heads, size] = [24, 4, 6];
  const turned = (y: string) => net.one("Transpose", [net.reshape(y, 0, 0, heads, size)], { perm: ints([0, 2, 1, 3]) });
  const attention = (x: string): string => {
    const [q, k, v] = [0, 1, 2].map(() => turned(net.linear(x, width, heads * size))) as [string, string, string];
    const scores = net.one("MatMul", [q, net.one("Transpose", [k], { perm: ints([0, 1, 3, 2]) })]);
    const mixed = net.one("MatMul", [net.one("Softmax", [scores], { axis: int(3) }), v]);
    const back = net.reshape(net.one("Transpose", [mixed], { perm: ints([0, 2, 1, 3]) }), 0, 0, -1);
    return net.linear(back, width, width);
  };
  // The cubic term of GELU by tanh is a value and a function of it, too, but no block.
  const gelu = (x: string): string => {
    const cubic = net.one("Mul", [net.one("Mul", [net.one("Mul", [x, x]), x]), net.constant(float32s([], [0.044715]))]);
    return net.one("Mul", [x, net.one("Sigmoid", [net.one("Add", [x, cubic])])]);
  };
  const forward = (x: string): string => net.linear(gelu(net.linear(x, width, 40)), 40, width);
  let x = net.one("Gather", [net.weight(30, width), "ids"], { axis: int(0) });
  if (norm === "behind") x = net.layerNorm(x, width);
  for (let i = 0; i < layers; i++)
    for (const branch of [attention, forward])
      x =
        norm === "before"
          ? net.one("Add", [branch(net.layerNorm(x, width)), x])
          : net.layerNorm(net.one("Add", [x, branch(x)]), width);
  return net.model(net.linear(norm === "before" ? net.layerNorm(x, width) : x, width, 5));
}

/** A ResNet of two widths: in each a block whose shortcut is a convolution, then plain ones. */
export function resnet(opset: number, plain: number): Model {
  const net = new Net(opset, { x: ["N", 3, 8, 8] });
  const two = (x: string, from: number, to: number, more: Attrs = {}) =>
    net.batchNorm(net.conv(net.convBlock(x, from, to, [3, 3], more), to, to, [3, 3]), to);
  let x = net.convBlock("x", 3, 8);
  for (const [from, to, step] of [
    [8, 8, 1],
    [8, 12, 2],
  ] as const) {
    const strides = { strides: ints([step, step]) };
    x = net.one("Relu", [net.one("Add", [two(x, from, to, strides), net.conv(x, from, to, [1, 1], strides)])]);
    for (let i = 0; i < plain; i++) x = net.one("Relu", [net.one("Add", [two(x, to, to), x])]);
  }
  return net.model(head(net, x, 12));
}
