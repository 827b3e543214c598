import type { Runtime } from "../runtime/index.ts";
import type { Masks } from "./axis.ts";
import type { PrunedCost } from "./cost.ts";
import type { Derivation } from "./derive.ts";
import type { FrozenAxis, Group, Groups } from "./groups.ts";
import type { GroupKind } from "./kinds.ts";
import type { ScoreOptions } from "./scores.ts";

/** What may be left at most: a number, or a share of what there is, such as `"50%"`. */
export type Target = number | `${number}%`;

/** How much is cut: one of a ratio of indices, or what may be left. Several targets all have to be met. */
export interface Targets {
  /** Share of the indices that goes; Torch-Pruning's name. Default 0.5 where no target is given. */
  readonly pruningRatio?: number;
  /** Multiply-adds of one example. */
  readonly macs?: Target;
  readonly parameters?: Target;
  /** Bytes of the file. */
  readonly size?: Target;
  /** Milliseconds of one run on one example, measured on `runtime` with `threads`. */
  readonly latency?: Target;
}

/** Options of {@link structuredPruning}, in Torch-Pruning's words where it has some. */
export interface StructuredPruningOptions extends ScoreOptions, Targets {
  /** Ranks the indices of all groups together; default false: the same share of every group goes. */
  readonly globalPruning?: boolean;
  /**
   * Ranks the indices of all groups (or of like ones, `isomorphic`) by what they are worth for what they cost, of what the targets
   * name; scores are then sums over the whole group, not normalized, where nothing else is said.
   */
  readonly perCost?: boolean;
  /** Ranks groups of like layers together, each kind losing the same share (Fang et al. 2024, arXiv 2407.04616). */
  readonly isomorphic?: boolean;
  /** Keeps a multiple of this many channels in each layer; default what kernels of `runtime` want ({@link roundToFor}). */
  readonly roundTo?: number;
  /** The share of one group that may go; default 1. One index stays in any case. */
  readonly maxPruningRatio?: number;
  /** Layers or weights, by name, whose groups stay; `*` stands for anything. */
  readonly ignoredLayers?: readonly string[];
  /** Only groups of these layers or weights are cut. */
  readonly layers?: readonly string[];
  /** Only groups of these kinds are cut: whole attention heads, feed-forward widths. */
  readonly only?: readonly GroupKind[];
  /** Leaves groups alone whose number of indices a mean or a normalization depends on; default false. */
  readonly exact?: boolean;
  /** Where the model will run: decides `roundTo`, and where latency is measured. */
  readonly runtime?: Runtime;
  /** After the cut: fits the next layers to what they gave before, on `data`; default where there is data. */
  readonly reconstruct?: boolean;
  /** After the cut: measures the statistics of normalizations again, on `data`; default where there is data. */
  readonly reestimate?: boolean;
}

/** What a plan does to one group. */
export interface PlannedGroup {
  readonly group: Group;
  readonly kind: GroupKind;
  readonly kept: number;
}

/** What will be cut, and what that does. Nothing is cut before {@link applyPlan}. */
export interface Plan {
  readonly derivation: Derivation;
  readonly groups: readonly PlannedGroup[];
  /** Groups that options leave alone. */
  readonly left: readonly Group[];
  readonly frozen: readonly FrozenAxis[];
  readonly coverage: Groups["coverage"];
  readonly masks: Masks;
  readonly roundTo: number;
  /** Share of all indices of all groups that goes: what is often quoted, and neither of the two below. */
  readonly channelRatio: number;
  readonly before: PrunedCost;
  readonly after: PrunedCost;
}
