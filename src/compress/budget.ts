import type { Estimate } from "../measure/interval.ts";

/** What a result must keep to. Absent means no bound. */
export interface Budget {
  /** Most the metric may fall: a fraction of it where `relative`, else absolute (0.01 is one percentage point). */
  readonly maxDrop?: { readonly value: number; readonly relative: boolean };
  /** Most bytes of the file. */
  readonly maxSize?: number;
  readonly maxMacs?: number;
  /** Milliseconds, median, on the target. */
  readonly maxLatency?: number;
}

/** The figures of one model. */
export interface Figures {
  /** The metric the search goes by, 0 … 1. */
  readonly quality: number;
  readonly bytes: number;
  readonly brotliBytes?: number;
  readonly parameters: number;
  readonly macs: number;
  readonly latencyMs?: number;
}

/** One bound and how a model stands to it. */
export interface Check {
  readonly what: "maxDrop" | "maxSize" | "maxMacs" | "maxLatency";
  readonly met: boolean;
  /** How far over the bound, as a share of it; 0 where it is met. */
  readonly excess: number;
  /** What was measured; NaN where it was not. */
  readonly value: number;
  readonly limit: number;
}

/** The absolute drop a budget allows from a metric of `before`. */
export const allowedDrop = (maxDrop: NonNullable<Budget["maxDrop"]>, before: number): number =>
  maxDrop.relative ? maxDrop.value * before : maxDrop.value;

/** How figures stand to a budget, bound by bound. */
export function checkBudget(budget: Budget, before: Figures, after: Figures): Check[] {
  const checks: Check[] = [];
  if (budget.maxDrop !== undefined) {
    const allowed = allowedDrop(budget.maxDrop, before.quality);
    const drop = before.quality - after.quality;
    checks.push({
      what: "maxDrop",
      met: drop <= allowed + 1e-12,
      excess: Math.max(0, drop - allowed) / Math.max(allowed, 0.001),
      value: drop,
      limit: allowed,
    });
  }
  const bound = (what: Check["what"], value: number | undefined, limit: number | undefined) => {
    if (limit === undefined) return;
    const excess = value === undefined ? 1 : Math.max(0, value - limit) / limit;
    checks.push({ what, met: excess === 0, excess, value: value ?? Number.NaN, limit });
  };
  bound("maxSize", after.bytes, budget.maxSize);
  bound("maxMacs", after.macs, budget.maxMacs);
  bound("maxLatency", after.latencyMs, budget.maxLatency);
  return checks;
}

export const isMet = (checks: readonly Check[]): boolean => checks.every((check) => check.met);

/** How far a model is from its budget, 0 when it is met: the largest excess. */
export const distance = (checks: readonly Check[]): number => Math.max(0, ...checks.map((check) => check.excess));

/** Whether a drop that meets its bound could, within its interval, miss it. */
export const isUncertain = (budget: Budget, before: Figures, change: Estimate): boolean =>
  budget.maxDrop !== undefined && -change.low > allowedDrop(budget.maxDrop, before.quality);
