import type { Figures } from "./budget.ts";
import type { Recipe } from "./recipe.ts";

/** One candidate: how it was made and what it came to. */
export interface Trial {
  /** In words: `int8 entropy, 2 layers in float`. */
  readonly name: string;
  readonly recipe: Recipe;
  /** Absent where it failed. */
  readonly figures?: Figures;
  readonly metrics?: Readonly<Record<string, number>>;
  readonly met: boolean;
  /** How far from the budget, 0 when it is met. */
  readonly distance: number;
  /** Why there are no figures, or what speaks against it. */
  readonly note?: string;
  readonly seconds: number;
}

/**
 * Remembers what was tried, so that a trial that took the process down is not tried again: it is written down before a
 * model is loaded, and crossed out after.
 */
export interface TrialLog {
  /** Whether an earlier run started this and never ended it. */
  killed(recipe: Recipe): boolean;
  started(recipe: Recipe): Promise<void>;
  ended(recipe: Recipe, trial: Trial): Promise<void>;
}

/** A log that forgets. */
export const noLog: TrialLog = { killed: () => false, started: async () => {}, ended: async () => {} };
