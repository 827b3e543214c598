import { elements, lazyTensor, SMALL_BYTES, type Tensor, tensorOf } from "../ir/tensor.ts";
import { normal as gaussian, type Random, random } from "../numeric/random.ts";

/**
 * How many numbers a weight sums over (`in`) and how many read each of its inputs (`out`), as PyTorch counts them: of
 * [out, in / groups, …kernel], `in` is in / groups × kernel and `out` is out × kernel.
 */
export interface Fans {
  readonly in: number;
  readonly out: number;
  /** Groups of a convolution, 1 elsewhere. */
  readonly groups: number;
}

/** Fills a weight with first values. */
export type Initializer = (values: Float32Array, fans: Fans, next: Random) => void;

const drawn =
  (scale: (fans: Fans) => number, draw: (next: Random) => number): Initializer =>
  (values, fans, next) => {
    const by = scale(fans);
    for (let i = 0; i < values.length; i++) values[i] = by * draw(next);
  };

const between = (next: Random): number => 2 * next() - 1;

export const constant =
  (value: number): Initializer =>
  (values) => {
    values.fill(value);
  };

export const zeros: Initializer = constant(0);
export const ones: Initializer = constant(1);

/** Normal of mean 0. */
export const normal = (deviation: number): Initializer => drawn(() => deviation, gaussian);

/** Uniform from −bound to bound. */
export const uniform = (bound: number): Initializer => drawn(() => bound, between);

/** Normal of mean 0, cut off (drawn again) beyond `cut` deviations; PyTorch's cut is an absolute 2, which at 0.02 cuts nothing. */
export const truncatedNormal = (deviation: number, cut = 2): Initializer =>
  drawn(
    () => deviation,
    (next) => {
      for (;;) {
        const value = gaussian(next);
        if (Math.abs(value) <= cut) return value;
      }
    },
  );

/** Which side of a weight its variance is kept on. */
export type Mode = "fan_in" | "fan_out";

const fanOf = (fans: Fans, mode: Mode): number => (mode === "fan_in" ? fans.in : fans.out);

/** Normal of variance 2 / fan, for layers before a ReLU (He et al. 2015, arXiv:1502.01852). */
export const kaimingNormal = (mode: Mode = "fan_in"): Initializer =>
  drawn((fans) => Math.sqrt(2 / fanOf(fans, mode)), gaussian);

/** Uniform of variance 2 / fan (He et al. 2015). */
export const kaimingUniform = (mode: Mode = "fan_in"): Initializer =>
  drawn((fans) => Math.sqrt(6 / fanOf(fans, mode)), between);

/** Normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010). */
export const xavierNormal: Initializer = drawn((fans) => Math.sqrt(2 / (fans.in + fans.out)), gaussian);

/** Uniform of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010). */
export const xavierUniform: Initializer = drawn((fans) => Math.sqrt(6 / (fans.in + fans.out)), between);

/** Uniform within ±1/√fan_in: what PyTorch gives convolutions and linear layers, biases included, unless told otherwise. */
export const torchDefault: Initializer = drawn((fans) => 1 / Math.sqrt(fans.in), between);

/** Normal of variance 2 × groups / fan_out: EfficientNet's, which counts one group of a depthwise convolution. */
export const kaimingGrouped: Initializer = drawn((fans) => Math.sqrt((2 * fans.groups) / fans.out), gaussian);

/** Uniform within ±1/√fan_out: EfficientNet's classifier. */
export const uniformFanOut: Initializer = drawn((fans) => 1 / Math.sqrt(fans.out), between);

/** The fans of a weight of PyTorch's layout [out, in / groups, …kernel]. */
export function fansOf(shape: readonly number[], groups = 1): Fans {
  const [out = 1, inner = 1, ...kernel] = shape;
  const area = elements(kernel);
  return { in: inner * area, out: out * area, groups };
}

/**
 * A float32 weight with first values. They depend on the seed and the name alone; those of a weight over 4 KB are computed
 * each time someone reads them, and not kept.
 */
export function initialised(
  name: string,
  shape: readonly number[],
  init: Initializer,
  { seed, fans = fansOf(shape) }: { readonly seed: number; readonly fans?: Fans },
): Tensor {
  const produce = (): Uint8Array => {
    const values = new Float32Array(elements(shape));
    init(values, fans, random(seedOf(name, seed)));
    return new Uint8Array(values.buffer);
  };
  return elements(shape) * 4 <= SMALL_BYTES
    ? tensorOf("float32", shape, produce())
    : lazyTensor("float32", shape, async () => produce());
}

/** The seed of one name: FNV-1a of its letters, begun at the seed. */
function seedOf(name: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed ^ Math.floor(seed / 2 ** 32)) | 0;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
