import { makeDivisible } from "./architecture.ts";
import type { Initializer } from "./init.ts";
import { channelsOf, type Net, type Padding, type Sizes, type Value } from "./net.ts";

/** Activations by the names papers give them. */
export type Activation = "none" | "relu" | "relu6" | "hard_swish" | "hard_sigmoid" | "silu" | "gelu" | "sigmoid";

export function activate(net: Net, x: Value, act: Activation, name?: string): Value {
  switch (act) {
    case "none":
      return x;
    case "relu":
      return net.relu(x, name);
    case "relu6":
      return net.relu6(x, name);
    case "hard_swish":
      return net.hardSwish(x, name);
    case "hard_sigmoid":
      return net.hardSigmoid(x, name);
    case "silu":
      return net.silu(x, name);
    case "gelu":
      return net.gelu(x, name);
    case "sigmoid":
      return net.sigmoid(x, name);
  }
}

export interface ConvNormActOptions {
  readonly out: number;
  readonly kernel?: Sizes;
  readonly stride?: Sizes;
  readonly groups?: number;
  readonly dilation?: Sizes;
  readonly padding?: Padding;
  readonly act?: Activation;
  /** Names of the convolution and the normalization; default `0` and `1`, as in torchvision. */
  readonly names?: readonly [conv: string, norm: string];
  readonly init?: Initializer;
  /** First value of the normalization's scale. */
  readonly gain?: Initializer;
}

/** Convolution without bias, BatchNorm, activation (ReLU unless told otherwise). */
export function convNormAct(net: Net, x: Value, options: ConvNormActOptions): Value {
  const { act = "relu", names: [conv, norm] = ["0", "1"], kernel = 3, gain, ...rest } = options;
  x = net.conv(x, { ...rest, name: conv, kernel });
  return activate(net, net.batchNorm(x, { name: norm, ...(gain && { init: gain }) }), act);
}

/** {@link convNormAct} with a filter for each channel: k × k multiply-adds a value, where a full one takes k × k × channels. */
export const depthwise = (net: Net, x: Value, options: Omit<ConvNormActOptions, "out" | "groups">): Value =>
  convNormAct(net, x, { ...options, out: channelsOf(x), groups: channelsOf(x) });

/** {@link convNormAct} of 1 × 1: mixes channels. */
export const pointwise = (net: Net, x: Value, options: ConvNormActOptions): Value =>
  convNormAct(net, x, { kernel: 1, ...options });

export interface SeparableOptions {
  readonly out: number;
  readonly kernel?: Sizes;
  readonly stride?: Sizes;
  readonly padding?: Padding;
  readonly act?: Activation;
  /** Activation after the pointwise convolution; default the same. */
  readonly lastAct?: Activation;
  readonly names?: { readonly depthwise: readonly [string, string]; readonly pointwise: readonly [string, string] };
  /** What is done between the two, for example {@link squeezeExcite}. */
  readonly between?: (x: Value) => Value;
  /** Whether the input is added where shapes allow it; default false. */
  readonly skip?: boolean;
}

/** A depthwise convolution, then a pointwise one: MobileNet's block (Howard et al. 2017, arXiv:1704.04861). */
export function depthwiseSeparable(net: Net, x: Value, options: SeparableOptions): Value {
  const { out, act = "relu", lastAct = act, names, between = (v) => v, skip = false, ...rest } = options;
  const spatial = depthwise(net, x, { ...rest, act, names: names?.depthwise ?? ["0", "1"] });
  const y = pointwise(net, between(spatial), { out, act: lastAct, names: names?.pointwise ?? ["3", "4"] });
  return skip ? residual(net, x, y) : y;
}

/** The sum of a block's input and output where they have the same shape, else its output. */
export const residual = (net: Net, x: Value, y: Value): Value =>
  x.shape.every((size, axis) => size === y.shape[axis]) ? net.add(x, y) : y;

export interface SqueezeExciteOptions {
  /** Channels in the middle. */
  readonly squeeze: number;
  readonly act?: Activation;
  readonly gate?: Activation;
  /** Names of the two 1 × 1 convolutions; default `fc1` and `fc2`, as in torchvision. */
  readonly names?: readonly [reduce: string, expand: string];
}

/** Weighs each channel by what the means of all say (Hu et al. 2018, arXiv:1709.01507). */
export function squeezeExcite(net: Net, x: Value, options: SqueezeExciteOptions): Value {
  const { squeeze, act = "relu", gate = "sigmoid", names: [reduce, expand] = ["fc1", "fc2"] } = options;
  let s = net.globalAveragePool(x);
  s = activate(net, net.conv(s, { name: reduce, out: squeeze, kernel: 1, bias: true }), act);
  s = net.conv(s, { name: expand, out: channelsOf(x), kernel: 1, bias: true });
  return net.mul(x, activate(net, s, gate));
}

export interface InvertedResidualOptions {
  readonly out: number;
  /** Channels inside, in multiples of the input's; 1 leaves the first convolution out. */
  readonly expand: number;
  /** Channels inside, where a paper gives them rather than a factor; default the factor's multiple of 8. */
  readonly hidden?: number;
  readonly kernel?: Sizes;
  readonly stride?: number;
  readonly dilation?: number;
  readonly padding?: Padding;
  readonly act?: Activation;
  readonly squeeze?: { readonly channels: number; readonly act?: Activation; readonly gate?: Activation };
  /** Names of the layers; default torchvision's, where they are numbered as they come. */
  readonly names?: InvertedResidualNames;
}

export interface InvertedResidualNames {
  readonly expand: readonly [string, string];
  readonly depthwise: readonly [string, string];
  /** Scope of {@link squeezeExcite}, and the names inside. */
  readonly squeeze?: readonly [scope: string, reduce: string, expand: string];
  readonly project: readonly [string, string];
}

/**
 * Expands the channels, filters each of them, weighs them, and projects to few again, linearly; the input is added where shapes
 * allow it. MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), with V3's squeeze-and-excite.
 */
export function invertedResidual(net: Net, x: Value, options: InvertedResidualOptions): Value {
  const { out, expand, kernel = 3, stride = 1, dilation = 1, act = "relu6", squeeze } = options;
  const { hidden = expanded(x, expand), padding = "half" } = options;
  const names = options.names ?? numbered(hidden !== channelsOf(x), squeeze !== undefined);
  let y = x;
  if (hidden !== channelsOf(x)) y = pointwise(net, y, { out: hidden, act, names: names.expand });
  y = depthwise(net, y, { kernel, stride, dilation, padding, act, names: names.depthwise });
  if (squeeze !== undefined) {
    const [scope, ...inside] = names.squeeze ?? ["se", "fc1", "fc2"];
    y = squeezeExcite(net.scope(scope), y, { ...squeeze, squeeze: squeeze.channels, names: inside });
  }
  y = pointwise(net, y, { out, act: "none", names: names.project });
  return stride === 1 ? residual(net, x, y) : y;
}

/** Channels inside a block that expands. */
const expanded = (x: Value, by: number): number => (by === 1 ? channelsOf(x) : makeDivisible(channelsOf(x) * by));

/** torchvision's names: `block.<i>.0` and `.1`, counted without what is left out. */
function numbered(expands: boolean, squeezes: boolean): InvertedResidualNames {
  const first = expands ? 1 : 0;
  const at = (i: number): readonly [string, string] => [`block.${i}.0`, `block.${i}.1`];
  return {
    expand: at(0),
    depthwise: at(first),
    squeeze: [`block.${first + 1}`, "fc1", "fc2"],
    project: at(first + (squeezes ? 2 : 1)),
  };
}

export interface FusedMBConvOptions {
  readonly out: number;
  readonly expand: number;
  readonly kernel?: Sizes;
  readonly stride?: number;
  readonly padding?: Padding;
  readonly act?: Activation;
  /** Names of the expanding and the projecting convolution, or of the one there is where nothing expands. */
  readonly names?: { readonly expand: readonly [string, string]; readonly project: readonly [string, string] };
}

/**
 * An inverted residual whose expansion and depthwise convolution are one full convolution, quicker where channels are few.
 * EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298).
 */
export function fusedMBConv(net: Net, x: Value, options: FusedMBConvOptions): Value {
  const { out, expand, kernel = 3, stride = 1, act = "silu", padding = "half" } = options;
  const { expand: first, project } = options.names ?? {
    expand: ["block.0.0", "block.0.1"],
    project: ["block.1.0", "block.1.1"],
  };
  const full = { kernel, stride, padding, act, names: first };
  const y =
    expand === 1
      ? convNormAct(net, x, { ...full, out })
      : pointwise(net, convNormAct(net, x, { ...full, out: expanded(x, expand) }), {
          out,
          act: "none",
          names: project,
        });
  return stride === 1 ? residual(net, x, y) : y;
}

export interface UniversalInvertedBottleneckOptions {
  readonly out: number;
  readonly expand: number;
  /** Kernel of the depthwise convolution before the expansion; 0 leaves it out. */
  readonly start: number;
  /** Kernel of the one between expansion and projection; 0 leaves it out. */
  readonly middle: number;
  readonly stride?: number;
  readonly act?: Activation;
}

/**
 * An inverted residual with a depthwise convolution before the expansion, in the middle, both or neither; the stride lies in the
 * middle one if there is one. MobileNetV4 (Qin et al. 2024, arXiv:2404.10518); named as in timm.
 */
export function universalInvertedBottleneck(net: Net, x: Value, options: UniversalInvertedBottleneckOptions): Value {
  const { out, expand, start, middle, stride = 1, act = "relu" } = options;
  const at = (name: string): readonly [string, string] => [`${name}.conv`, `${name}.bn`];
  let y = x;
  if (start > 0)
    y = depthwise(net, y, { kernel: start, stride: middle > 0 ? 1 : stride, act: "none", names: at("dw_start") });
  y = pointwise(net, y, { out: expanded(x, expand), act, names: at("pw_exp") });
  if (middle > 0) y = depthwise(net, y, { kernel: middle, stride, act, names: at("dw_mid") });
  y = pointwise(net, y, { out, act: "none", names: at("pw_proj") });
  return stride === 1 ? residual(net, x, y) : y;
}
