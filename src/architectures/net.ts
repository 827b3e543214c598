import { MinnowError } from "../errors.ts";
import { float, int, ints, string } from "../ir/attrs.ts";
import { type Dim, isKnown } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import type { Attrs, Model, Node, ValueInfo } from "../ir/graph.ts";
import { float32s, int64s, type Tensor } from "../ir/tensor.ts";
import type { Fact } from "../ops/define.ts";
import { factOf } from "../ops/facts.ts";
import { inferNode } from "../ops/infer.ts";
import { type Fans, fansOf, type Initializer, initialised, kaimingNormal, ones, torchDefault, zeros } from "./init.ts";
import { pair, type Window, windowAttrs } from "./window.ts";

export type { Padding, Sizes } from "./window.ts";

/** A value of the net that is being built: its name, and its shape as ONNX Runtime will give it. */
export interface Value {
  readonly name: string;
  readonly shape: readonly Dim[];
}

export interface ConvOptions extends Window {
  /** Under which `<name>.weight` and `<name>.bias` stand. */
  readonly name: string;
  readonly out: number;
  readonly groups?: number;
  /** Default: none, as before a BatchNorm. */
  readonly bias?: boolean;
  readonly init?: Initializer;
  readonly biasInit?: Initializer;
}

export interface LinearOptions {
  readonly name: string;
  readonly out: number;
  /** Default true. */
  readonly bias?: boolean;
  readonly init?: Initializer;
  readonly biasInit?: Initializer;
}

export interface EmbeddingOptions {
  readonly name: string;
  readonly count: number;
  readonly size: number;
  readonly init: Initializer;
}

export interface NormOptions {
  readonly name: string;
  readonly eps?: number;
  readonly init?: Initializer;
}

export interface PoolOptions extends Window {
  readonly name?: string;
  /** Whether a window that begins inside counts though it ends outside. */
  readonly ceil?: boolean;
  /** Whether the zeros around count in an average, as PyTorch has it unless told otherwise. */
  readonly countPadding?: boolean;
}

/** What layers take where they are told nothing. */
export interface NetDefaults {
  /** `momentum` is PyTorch's: the share of the new batch in the running statistics. */
  readonly norm?: { readonly eps?: number; readonly momentum?: number };
  readonly conv?: Initializer;
  readonly linear?: Initializer;
  readonly linearBias?: Initializer;
}

/** The form of an operator that is emitted, where it is younger than opset 18, and how many outputs it has. */
export interface EmitOptions {
  readonly name?: string | undefined;
  readonly attrs?: Attrs;
  readonly domain?: string;
  readonly since?: number;
  readonly outputs?: number;
}

interface State extends NetDefaults {
  readonly seed: number;
  readonly inputs: ValueInfo[];
  readonly weights: Map<string, Tensor>;
  readonly nodes: Node[];
  readonly facts: Map<string, Fact>;
  readonly names: Set<string>;
  readonly opsets: Map<string, number>;
}

/** The opset a net is written at unless an operator needs more; IR versions that go with opsets. */
const OPSET = 18;
const irOf = (opset: number): number => (opset >= 21 ? 10 : opset >= 19 ? 9 : 8);

/** The size of an axis that must be a number by now, counted from the end where negative. */
export function sizeAt(x: Value, axis: number): number {
  const size = x.shape.at(axis);
  if (size === undefined || !isKnown(size))
    throw new MinnowError(`Axis ${axis} of "${x.name}" [${x.shape}] has no fixed size.`, {
      code: "architectures/size",
    });
  return size;
}

/** The channels of an image [N, C, H, W]. */
export const channelsOf = (x: Value): number => sizeAt(x, 1);

/** The size of an image [N, C, H, W]. */
export const imageSizeOf = (x: Value): readonly [number, number] => [sizeAt(x, 2), sizeAt(x, 3)];

/**
 * Builds a model layer by layer. A layer is a method that takes values and gives one; its shape is known at once. Weights are
 * named as PyTorch names them in a state dict, below the scope the layer is called in; activations have no dropout.
 *
 * @example
 * const net = new Net({ seed: 1 });
 * let x = net.input("image", ["N", 3, 32, 32]);
 * x = net.relu(net.conv(x, { name: "conv1", out: 16, kernel: 3, bias: true }));
 * x = net.linear(net.flatten(net.globalAveragePool(x)), { name: "fc", out: 10 });
 * const model = net.model({ logits: x }, "tiny");
 */
export class Net {
  readonly #state: State;
  readonly #scope: string;

  constructor(options: NetDefaults & { readonly seed?: number } = {}, inside?: { state: State; scope: string }) {
    this.#scope = inside?.scope ?? "";
    this.#state = inside?.state ?? {
      ...options,
      seed: options.seed ?? 0,
      inputs: [],
      weights: new Map(),
      nodes: [],
      facts: new Map(),
      names: new Set(),
      opsets: new Map([["", OPSET]]),
    };
  }

  /** The same net with names below this one: `net.scope("features.0").conv(x, { name: "0", … })`. */
  scope(name: string | number): Net {
    return new Net({}, { state: this.#state, scope: `${this.#path(String(name))}.` });
  }

  /** An input of the model. A size that is a word is symbolic. */
  input(name: string, shape: readonly Dim[], dtype: DType = "float32"): Value {
    this.#state.inputs.push({ name, type: { kind: "tensor", dtype, shape } });
    this.#state.names.add(name);
    this.#state.facts.set(name, { dtype, shape });
    return { name, shape };
  }

  /** A learned weight under `name` in this scope, with first values of its own. */
  parameter(name: string, shape: readonly number[], init: Initializer, fans: Fans = fansOf(shape)): Value {
    const path = this.#path(name);
    if (shape.some((size) => !Number.isSafeInteger(size) || size < 1))
      throw new MinnowError(`"${path}" would have the shape [${shape}]; there is no channel left.`, {
        code: "architectures/no-channels",
        mend: "Give a greater width.",
      });
    return this.#keep(path, initialised(path, shape, init, { seed: this.#state.seed, fans }));
  }

  /** A constant that is not learned. The same name gives the same constant. */
  constant(name: string, tensor: Tensor): Value {
    return this.#state.weights.has(name) ? { name, shape: tensor.shape } : this.#keep(name, tensor);
  }

  /** A constant list of whole numbers: axes, a shape. */
  ints(values: readonly number[]): Value {
    return this.constant(`ints_${values.join("_")}`, int64s(values));
  }

  /** A constant number. */
  scalar(value: number): Value {
    return this.constant(`float_${value}`, float32s([], [value]));
  }

  /** Applies any operator. What has a method of its own is better called by that. An input may be left out. */
  op(op: string, inputs: readonly (Value | undefined)[], options: EmitOptions = {}): Value {
    return this.ops(op, inputs, { ...options, outputs: 1 })[0]!;
  }

  /** As {@link Net.op}, for an operator of more than one output. */
  ops(op: string, inputs: readonly (Value | undefined)[], options: EmitOptions = {}): Value[] {
    const { name = op.toLowerCase(), attrs = {}, domain = "", since = 1, outputs = 1 } = options;
    const { opsets, facts, nodes } = this.#state;
    opsets.set(domain, Math.max(opsets.get(domain) ?? 1, since));
    const path = this.#fresh(this.#path(name));
    const written = Array.from({ length: outputs }, (_, i) => (outputs === 1 ? path : this.#fresh(`${path}.${i}`)));
    const node: Node = {
      name: path,
      op,
      domain,
      inputs: inputs.map((value) => value?.name ?? ""),
      outputs: written,
      attrs,
    };
    inferNode(node, opsets, facts, { valueInfo: new Map(), outputs: [] });
    nodes.push(node);
    return written.map((output) => ({ name: output, shape: facts.get(output)?.shape ?? [] }));
  }

  /** Convolution of [N, C, H, W] by `<name>.weight` [out, C / groups, kernel]. */
  conv(x: Value, options: ConvOptions): Value {
    const {
      name,
      out,
      kernel,
      groups = 1,
      bias = false,
      init = this.#state.conv ?? kaimingNormal("fan_out"),
    } = options;
    const shape = [out, channelsOf(x) / groups, ...pair(kernel)];
    const fans = fansOf(shape, groups);
    const w = this.parameter(`${name}.weight`, shape, init, fans);
    const b = bias ? [this.parameter(`${name}.bias`, [out], options.biasInit ?? zeros, fans)] : [];
    return this.op("Conv", [x, w, ...b], { name, attrs: { ...this.#window(x, options, name), group: int(groups) } });
  }

  /** Batch normalization in its form for inference: `<name>.weight`, `.bias`, `.running_mean`, `.running_var`. */
  batchNorm(x: Value, { name, eps = this.#state.norm?.eps ?? 1e-5, init = ones }: NormOptions): Value {
    const momentum = this.#state.norm?.momentum;
    const c = [channelsOf(x)];
    const parts = [
      this.parameter(`${name}.weight`, c, init),
      this.parameter(`${name}.bias`, c, zeros),
      this.parameter(`${name}.running_mean`, c, zeros),
      this.parameter(`${name}.running_var`, c, ones),
    ];
    // ONNX counts the share of the old statistics.
    const attrs = { epsilon: float(eps), ...(momentum !== undefined && { momentum: float(1 - momentum) }) };
    return this.op("BatchNormalization", [x, ...parts], { name, attrs });
  }

  /** Layer normalization over the last axis. */
  layerNorm(x: Value, { name, eps = 1e-5, init = ones }: NormOptions): Value {
    const c = [sizeAt(x, -1)];
    const parts = [this.parameter(`${name}.weight`, c, init), this.parameter(`${name}.bias`, c, zeros)];
    return this.op("LayerNormalization", [x, ...parts], { name, attrs: { axis: int(-1), epsilon: float(eps) } });
  }

  /**
   * x · Wᵀ + b over the last axis. On [N, in] it is a Gemm whose `<name>.weight` is [out, in], as PyTorch stores it; on more axes
   * a MatMul whose `<name>.weight` is [in, out]: a weight that is the second input of a MatMul is PyTorch's transposed.
   */
  linear(x: Value, options: LinearOptions): Value {
    const { name, out, bias = true } = options;
    const { init = this.#state.linear ?? torchDefault, biasInit = this.#state.linearBias ?? zeros } = options;
    const inner = sizeAt(x, -1);
    const fans = { in: inner, out, groups: 1 };
    const flat = x.shape.length === 2;
    const w = this.parameter(`${name}.weight`, flat ? [out, inner] : [inner, out], init, fans);
    const b = bias ? [this.parameter(`${name}.bias`, [out], biasInit, fans)] : [];
    if (flat) return this.op("Gemm", [x, w, ...b], { name, attrs: { transB: int(1) } });
    const product = this.op("MatMul", [x, w], { name });
    return b[0] === undefined ? product : this.op("Add", [product, b[0]], { name: `${name}.add` });
  }

  /** Rows of the table `<name>.weight` [count, size] by their numbers (int64). */
  embedding(ids: Value, { name, count, size, init }: EmbeddingOptions): Value {
    const table = this.parameter(`${name}.weight`, [count, size], init, { in: size, out: count, groups: 1 });
    return this.op("Gather", [table, ids], { name, attrs: { axis: int(0) } });
  }

  relu = (x: Value, name?: string): Value => this.op("Relu", [x], { name });
  relu6 = (x: Value, name = "relu6"): Value => this.op("Clip", [x, this.scalar(0), this.scalar(6)], { name });
  hardSwish = (x: Value, name?: string): Value => this.op("HardSwish", [x], { name });
  /** max(0, min(1, x / 6 + 1 / 2)), which PyTorch calls hardsigmoid. */
  hardSigmoid = (x: Value, name?: string): Value =>
    this.op("HardSigmoid", [x], { name, attrs: { alpha: float(1 / 6), beta: float(0.5) } });
  sigmoid = (x: Value, name?: string): Value => this.op("Sigmoid", [x], { name });
  tanh = (x: Value, name?: string): Value => this.op("Tanh", [x], { name });
  /** x · sigmoid(x), also called swish. */
  silu = (x: Value, name = "silu"): Value => this.mul(x, this.sigmoid(x, `${name}.sigmoid`), name);
  /** x · Φ(x); with `approximate` by a tanh, as in GPT-2. */
  gelu = (x: Value, name?: string, approximate: "none" | "tanh" = "none"): Value =>
    this.op("Gelu", [x], {
      name,
      since: 20,
      ...(approximate === "tanh" && { attrs: { approximate: string("tanh") } }),
    });
  softmax = (x: Value, axis = -1, name?: string): Value =>
    this.op("Softmax", [x], { name, attrs: { axis: int(axis) } });

  add = (a: Value, b: Value, name?: string): Value => this.op("Add", [a, b], { name });
  sub = (a: Value, b: Value, name?: string): Value => this.op("Sub", [a, b], { name });
  mul = (a: Value, b: Value, name?: string): Value => this.op("Mul", [a, b], { name });
  div = (a: Value, b: Value, name?: string): Value => this.op("Div", [a, b], { name });
  matMul = (a: Value, b: Value, name?: string): Value => this.op("MatMul", [a, b], { name });

  concat = (parts: readonly Value[], axis: number, name?: string): Value =>
    this.op("Concat", parts, { name, attrs: { axis: int(axis) } });

  /** Parts of these sizes along an axis. */
  split = (x: Value, sizes: readonly number[], axis: number, name?: string): Value[] =>
    this.ops("Split", [x, this.ints(sizes)], { name, outputs: sizes.length, attrs: { axis: int(axis) } });

  /** From `start` up to `end` (not included) along an axis. */
  slice = (x: Value, axis: number, start: number, end: number, name?: string): Value =>
    this.op("Slice", [x, this.ints([start]), this.ints([end]), this.ints([axis])], { name });

  /** As ONNX has it: 0 keeps the size of that axis, one -1 takes what is left. */
  reshape = (x: Value, shape: readonly number[], name?: string): Value =>
    this.op("Reshape", [x, this.ints(shape)], { name });

  transpose = (x: Value, order: readonly number[], name?: string): Value =>
    this.op("Transpose", [x], { name, attrs: { perm: ints(order) } });

  /** [N, C, H, W] to [N, C · H · W]. */
  flatten = (x: Value, name?: string): Value => this.op("Flatten", [x], { name, attrs: { axis: int(1) } });

  /** Each channel's mean over the image: [N, C, 1, 1]. */
  globalAveragePool = (x: Value, name?: string): Value => this.op("GlobalAveragePool", [x], { name });

  mean = (x: Value, axes: readonly number[], keep = false, name?: string): Value =>
    this.op("ReduceMean", [x, this.ints(axes)], { name, attrs: { keepdims: int(keep ? 1 : 0) } });

  maxPool(x: Value, options: PoolOptions): Value {
    const { name = "maxpool", ceil = false } = options;
    return this.op("MaxPool", [x], {
      name,
      attrs: { ...this.#window(x, options, name), ceil_mode: int(ceil ? 1 : 0) },
    });
  }

  averagePool(x: Value, options: PoolOptions): Value {
    const { name = "avgpool", ceil = false, countPadding = true } = options;
    const { dilations: _, ...window } = this.#window(x, options, name);
    const attrs = { ...window, ceil_mode: int(ceil ? 1 : 0), count_include_pad: int(countPadding ? 1 : 0) };
    return this.op("AveragePool", [x], { name, attrs });
  }

  /** The finished model, its outputs under the names given here. */
  model(outputs: Readonly<Record<string, Value>>, name: string): Model {
    const { inputs, weights, nodes, facts, opsets } = this.#state;
    const renamed = new Map(Object.entries(outputs).map(([to, { name: from }]) => [from, to]));
    const rename = (value: string): string => renamed.get(value) ?? value;
    const infos = Object.entries(outputs).map(([to, { name: from, shape }]): ValueInfo => {
      const dtype = facts.get(from)?.dtype ?? "float32";
      return { name: to, type: { kind: "tensor", dtype, shape } };
    });
    return {
      graph: {
        name,
        inputs,
        outputs: infos,
        weights,
        nodes: nodes.map((n) => ({ ...n, inputs: n.inputs.map(rename), outputs: n.outputs.map(rename) })),
        valueInfo: new Map(),
      },
      opsets: new Map(opsets),
      irVersion: irOf(opsets.get("") ?? OPSET),
      functions: [],
      producerName: "minnow",
    };
  }

  #path(name: string): string {
    return this.#scope + name;
  }

  #fresh(base: string): string {
    let name = base;
    for (let i = 1; this.#state.names.has(name); i++) name = `${base}_${i}`;
    this.#state.names.add(name);
    return name;
  }

  #keep(name: string, tensor: Tensor): Value {
    const { weights, names, facts } = this.#state;
    if (names.has(name))
      throw new MinnowError(`Two things of this net are called "${name}".`, {
        code: "architectures/name",
        mend: "Give one of the layers another name or scope.",
      });
    names.add(name);
    weights.set(name, tensor);
    facts.set(name, factOf(tensor));
    return { name, shape: tensor.shape };
  }

  #window(x: Value, window: Window, name: string): Attrs {
    return windowAttrs(imageSizeOf(x), window, this.#path(name));
  }
}
