import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { verify } from "../ir/verify.ts";
import { costOf } from "../measure/index.ts";
import { nearestNames } from "../numeric/nearest.ts";
import type { Change, Json, Pass, PassResult } from "../passes/index.ts";
import { type ResidualBlock, removeDeadCode, residualBlocks } from "../passes/index.ts";
import { withoutBlocks } from "../passes/residual.ts";
import { matcher } from "../train/globs.ts";
import { averagesOf, examplesOf, type MeasureData, observing } from "./activations.ts";
import { type Distance, distanceTo } from "./output-distance.ts";
import { prepared } from "./prepare.ts";
import { reestimate, reestimateBehind } from "./reestimate.ts";
import { cosine } from "./similarity.ts";

/**
 * How a block is judged.
 * - `output`: how far the outputs move without it, the statistics of normalizations measured again; after each block that goes, the
 *   others are judged again (SLEB, Song et al. 2024, arXiv 2402.09025). A run or two over the data for every block that is tried.
 * - `influence`: 1 − the cosine between what enters and what leaves it, over each example (ShortGPT, Men et al. 2024, arXiv
 *   2403.03853: over each token). One run over the data for all.
 */
export type BlockImportance = "output" | "influence";

/** One of `count`, `keep`, `every` and `blocks` says what goes. */
export interface DropBlocksOptions extends MeasureData {
  /** How many blocks go, or which share of them: those of the least importance. Needs data. */
  readonly count?: number | `${number}%`;
  /** How many stay. Needs data. */
  readonly keep?: number;
  /** Of every `every` blocks in a row the first stays: 2 halves the depth, as of DistilBERT (Sanh et al. 2019, arXiv 1910.01108). */
  readonly every?: number;
  /** These go, by name; `*` stands for anything. */
  readonly blocks?: readonly string[];
  /** Default `output`. */
  readonly importance?: BlockImportance;
  /** Of `output`; default `kl` for scores [N, classes] or [N, T, classes], else `squared`. */
  readonly distance?: Distance;
  /** Measures the statistics of normalizations again, on `data`; default where there is data. */
  readonly reestimate?: boolean;
}

/** A block and what is known of it. */
export interface PlannedBlock {
  readonly block: ResidualBlock;
  /** Of one example. */
  readonly macs: number;
  readonly parameters: number;
  /** Absent where nothing was measured. Of `output`, that with all blocks in place. */
  readonly importance?: number;
  readonly goes: boolean;
}

export interface BlockPlan {
  /** The model in the form the blocks were found in; its outputs are those of the one given. */
  readonly model: Model;
  readonly blocks: readonly PlannedBlock[];
  readonly before: { readonly macs: number; readonly parameters: number };
  readonly after: { readonly macs: number; readonly parameters: number };
}

/**
 * Decides which residual blocks go ({@link residualBlocks}), and says what that saves; nothing is taken out yet. Throws a
 * MinnowError `prune/nothing` for a model without blocks, `prune/option` for options that make no sense.
 *
 * @example
 * const { blocks } = await planDropBlocks(model, { count: 2, data: stories });
 * for (const { block, importance, goes } of blocks) console.log(block.name, importance, goes);
 */
export async function planDropBlocks(given: Model, options: DropBlocksOptions = {}): Promise<BlockPlan> {
  const { model } = await prepared(given);
  const blocks = residualBlocks(model);
  if (blocks.length === 0)
    throw new MinnowError("The model has no residual block: no value to which a branch that starts from it is added.", {
      code: "prune/nothing",
      mend: "Cut channels instead: minnow prune --macs 50%.",
    });
  const count = countOf(options, blocks.length);
  const importances = await importancesOf(model, blocks, count, options);
  const going = new Set(importances?.going ?? chosen(blocks, options));
  if (going.size === 0)
    throw new MinnowError("No block would go: none has others beside it in its row.", {
      code: "prune/nothing",
      mend: `Give count or blocks; there are ${blocks.length}.`,
    });
  const small = (
    await removeDeadCode().run(
      withoutBlocks(
        model,
        blocks.filter((block) => going.has(block)),
      ),
    )
  ).model;
  const costs = costOf(model);
  const byNode = new Map(costs.layers.map((layer) => [layer.name, layer]));
  const sum = (block: ResidualBlock, what: "macs" | "parameters"): number =>
    block.branches
      .flatMap(({ nodes }) => nodes)
      .reduce((total, node) => total + (byNode.get(node.name || (node.outputs[0] ?? ""))?.[what] ?? 0), 0);
  const { macs, parameters } = costOf(small);
  return {
    model,
    blocks: blocks.map((block, i) => ({
      block,
      macs: sum(block, "macs"),
      parameters: sum(block, "parameters"),
      ...(importances && { importance: importances.first[i]! }),
      goes: going.has(block),
    })),
    before: { macs: costs.macs, parameters: costs.parameters },
    after: { macs, parameters },
  };
}

/**
 * Takes whole residual blocks out: layers of a transformer, blocks of a ResNet. Widths stay, and so does the way around: what
 * read the end of a block reads its beginning. Throws as {@link planDropBlocks} does.
 *
 * @example
 * const { model: shallow } = await dropBlocks({ count: 2, data: stories }).run(model);
 * const { model: student } = await dropBlocks({ every: 2 }).run(teacher);
 */
export function dropBlocks(options: DropBlocksOptions): Pass {
  const { data: _d, signal: _s, onProgress: _p, ...rest } = options;
  return {
    name: "dropBlocks",
    options: rest as unknown as Json,
    run: async (model) => applyBlockPlan(await planDropBlocks(model, options), options),
  };
}

/** Takes out what a plan says. */
export async function applyBlockPlan(plan: BlockPlan, options: DropBlocksOptions = {}): Promise<PassResult> {
  const going = plan.blocks.filter(({ goes }) => goes);
  const whole = withoutBlocks(
    plan.model,
    going.map(({ block }) => block),
  );
  let { model } = await removeDeadCode().run(whole);
  const changes: Change[] = going.map(({ block }) => ({ what: "Took a residual block out.", at: block.name }));
  model = await reestimateBehind(model, options, changes);
  verify(model);
  return { model, changes };
}

/** How many go by importance; undefined where the options say which. */
function countOf({ count, keep, every, blocks }: DropBlocksOptions, all: number): number | undefined {
  const bad = (at: string, what: unknown, mend: string): never => {
    throw new MinnowError(`It is ${JSON.stringify(what)}, and there are ${all} blocks.`, {
      code: "prune/option",
      at,
      mend,
    });
  };
  const given = Object.entries({ count, keep, every, blocks }).filter(([, value]) => value !== undefined);
  if (given.length !== 1)
    throw new MinnowError(
      given.length === 0
        ? "Nothing says which blocks go."
        : `${given.map(([name]) => name).join(" and ")} are given together.`,
      { code: "prune/option", mend: "Give one of count, keep, every and blocks." },
    );
  if (every !== undefined && !(Number.isInteger(every) && every > 1))
    bad("every", every, "Give a whole number from 2 on: of that many blocks in a row one stays.");
  if (keep !== undefined && !(Number.isInteger(keep) && keep > 0 && keep < all))
    bad("keep", keep, `Give a whole number from 1 to ${all - 1}.`);
  if (keep !== undefined) return all - keep;
  if (count === undefined) return undefined;
  const share = /^(\d+(?:\.\d+)?)%$/.exec(String(count))?.[1];
  const going = share === undefined ? Number(count) : Math.round((Number(share) / 100) * all);
  if (!(Number.isInteger(going) && going > 0 && going < all))
    bad("count", count, `Give a whole number from 1 to ${all - 1}, or a share that makes one.`);
  return going;
}

/** Those that options name, or all but the first of every few in a row. */
function chosen(blocks: readonly ResidualBlock[], { every = 1, blocks: patterns }: DropBlocksOptions): ResidualBlock[] {
  if (patterns === undefined)
    return blocks.filter((block) => {
      const row = blocks.filter((other) => other.row === block.row);
      return row.indexOf(block) % every !== 0;
    });
  const names = blocks.map(({ name }) => name);
  const unknown = patterns.find((pattern) => !names.some(matcher([pattern])));
  if (unknown !== undefined)
    throw new MinnowError(`There is no residual block "${unknown}".`, {
      code: "prune/option",
      at: "blocks",
      mend: `The nearest are ${nearestNames(unknown, names, { within: 12, count: 3 }).join(", ") || names.slice(0, 3).join(", ")}.`,
    });
  return blocks.filter(({ name }) => matcher(patterns)(name));
}

/** The importance of each block, and which `count` go; undefined where nothing is asked for by importance. */
async function importancesOf(
  model: Model,
  blocks: readonly ResidualBlock[],
  count: number | undefined,
  options: DropBlocksOptions,
): Promise<{ first: readonly number[]; going: readonly ResidualBlock[] } | undefined> {
  const { importance = "output" } = options;
  if (importance !== "output" && importance !== "influence")
    throw new MinnowError(`It is ${JSON.stringify(importance)}.`, {
      code: "prune/option",
      at: "importance",
      mend: "It can be output or influence.",
    });
  if (count === undefined && options.data === undefined) return undefined;
  examplesOf(options.data);
  if (importance === "influence") {
    const first = await influences(model, blocks, options);
    const order = [...blocks.keys()].sort((a, b) => first[a]! - first[b]!);
    return {
      first,
      going: count === undefined ? chosen(blocks, options) : order.slice(0, count).map((i) => blocks[i]!),
    };
  }
  const distance = await distanceTo(model, options);
  const { onProgress: _, ...measured } = options;
  // As it will be used: what statistics measured again win back is not held against a block.
  const judge = async (gone: readonly ResidualBlock[]) => {
    const { model: small } = await removeDeadCode().run(withoutBlocks(model, inOrder(blocks, gone)));
    return distance(options.reestimate === false ? small : (await reestimate(small, measured)).model);
  };
  const first: number[] = [];
  for (const block of blocks) first.push(await judge([block]));
  if (count === undefined) return { first, going: chosen(blocks, options) };
  const going: ResidualBlock[] = [];
  let scores = first;
  while (going.length < count) {
    const left = blocks.map((_, i) => i).filter((i) => !going.includes(blocks[i]!));
    const least = left.reduce((best, i) => (scores[i]! < scores[best]! ? i : best));
    going.push(blocks[least]!);
    if (going.length === count) break;
    scores = [];
    for (const [i, block] of blocks.entries())
      scores[i] = going.includes(block) ? Infinity : await judge([...going, block]);
  }
  return { first, going };
}

/** As the model has them: the end of one may be the beginning of the next. */
const inOrder = (blocks: readonly ResidualBlock[], some: readonly ResidualBlock[]): ResidualBlock[] =>
  blocks.filter((block) => some.includes(block));

async function influences(
  model: Model,
  blocks: readonly ResidualBlock[],
  options: DropBlocksOptions,
): Promise<number[]> {
  const e = edit(model.graph);
  const names = blocks.map(({ from, to }) => cosine(model, e, from, to));
  const means = await averagesOf(observing(model, e, names), names, examplesOf(options.data), options);
  return means.map((mean) => 1 - mean[0]!);
}
