import type { Model } from "../ir/graph.ts";
import type { Corrections } from "./insert.ts";
import type { Plan } from "./plan.ts";
import type { QuantizeStaticOptions } from "./types.ts";

export async function measureCorrections(
  _float: Model,
  _quantized: Model,
  _plan: Plan,
  _options: QuantizeStaticOptions,
): Promise<Corrections> {
  return new Map();
}
