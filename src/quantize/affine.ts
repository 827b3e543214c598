import type { Range } from "./types.ts";

/** The types of weights that are read beside integer activations. */
export type WeightType = "uint8" | "int8";

export type QuantType = WeightType | "uint16" | "int16";

/** value = (level − zeroPoint)·scale. The scale is a float32 above 0. */
export interface Affine {
  readonly scale: number;
  readonly zeroPoint: number;
}

export interface AffineOptions {
  readonly type: QuantType;
  /** The zero point in the middle of the type. */
  readonly symmetric?: boolean;
  /** No level may lie outside the range: what writes the value is cut off there, and a wider one would undo that. */
  readonly inside?: boolean;
}

/** Scales stay above this, so that the product of two is still a normal float32. */
export const LEAST_SCALE = 2 ** -60;

const LEVELS: Readonly<Record<QuantType, readonly [number, number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65535],
  int16: [-32768, 32767],
};

/**
 * Spreads the levels of a type over a range, which is widened to hold 0, so that zero is exact. A range of zeros alone
 * counts as 0 … 1.
 */
export function affineOf({ min, max }: Range, { type, symmetric = false, inside = false }: AffineOptions): Affine {
  const [first, last] = LEVELS[type];
  let [low, high] = [Math.min(0, min), Math.max(0, max)];
  if (low === high) [low, high] = [0, 1];
  if (symmetric) {
    const scale = Math.max(LEAST_SCALE, Math.fround((2 * Math.max(-low, high)) / (last - first)));
    return { scale, zeroPoint: (first + last + 1) / 2 };
  }
  const even = Math.max(LEAST_SCALE, Math.fround((high - low) / (last - first)));
  const zeroPoint = Math.min(last, Math.max(first, roundEven(first - low / even)));
  return { scale: inside ? scaleInside(low, high, zeroPoint - first, last - zeroPoint, even) : even, zeroPoint };
}

/** The largest float32 by which no level below or above the zero point lies outside the range, in float32 arithmetic. */
function scaleInside(low: number, high: number, below: number, above: number, fallback: number): number {
  const wanted = Math.min(below > 0 ? -low / below : Infinity, above > 0 ? high / above : Infinity);
  let scale = Math.fround(wanted);
  if (!(scale > LEAST_SCALE) || !Number.isFinite(scale)) return fallback;
  const [least, most] = [Math.fround(low), Math.fround(high)];
  while (Math.fround(-below * scale) < least || Math.fround(above * scale) > most) scale = previousFloat(scale);
  return scale;
}

function previousFloat(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  view.setUint32(0, view.getUint32(0) - 1);
  return view.getFloat32(0);
}

/** The nearest whole number, ties to even, as QuantizeLinear rounds. */
export function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** The level a number is rounded to. */
export function quantizeLevel(value: number, { scale, zeroPoint }: Affine, type: QuantType): number {
  const [first, last] = LEVELS[type];
  return Math.min(last, Math.max(first, roundEven(value / scale) + zeroPoint));
}
