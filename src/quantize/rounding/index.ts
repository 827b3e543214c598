import type { Rounding } from "../blocks.ts";
import { halfQuadratic } from "./hqq.ts";
import { kQuant } from "./k-quant.ts";
import { leastSquaredError } from "./mse.ts";
import { roundToNearest } from "./rtn.ts";

/**
 * How the numbers of a block are rounded without data.
 * - `rtn`: to nearest, over the whole range of the block.
 * - `mse`: over the part of the range with the least squared error.
 * - `kQuant`: by scales fitted to the levels, errors of large numbers counting more.
 * - `hqq`: by zero points for which most numbers are nearly right; asymmetric alone.
 */
export type RoundingMethod = "rtn" | "mse" | "kQuant" | "hqq";

export const ROUNDINGS: Readonly<Record<RoundingMethod, Rounding>> = {
  rtn: roundToNearest,
  mse: leastSquaredError,
  kQuant,
  hqq: halfQuadratic,
};
