import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import type { PassResult } from "../passes/index.ts";
import {
  applyBlockPlan,
  applyLowRankPlan,
  type BlockImportance,
  type BlockPlan,
  type DropBlocksOptions,
  type LowRankOptions,
  type LowRankPlan,
  planDropBlocks,
  planLowRank,
} from "../prune/index.ts";
import { clip, count, percent, table } from "../report/words.ts";
import { dim } from "./console.ts";
import { amount, choice, number, runningOf, text, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";

/** Options of `minnow prune` that take whole blocks out, or make two layers of one. */
export const RESTRUCTURING: OptionSpecs = {
  "drop-blocks": {
    type: "string",
    value: "2|25%|every:2|A,B",
    help: "Take whole residual blocks out: so many, those that say least on --data; all but the first of every so many; or by name.",
  },
  importance: {
    type: "string",
    value: "NAME",
    help: "Of --drop-blocks: output (what the outputs change by without it) or influence (what it changes) (output).",
  },
  "low-rank": {
    type: "string",
    value: "70%|ratio:0.5|energy:0.9",
    help: "Make two layers of lower rank of one where that is cheaper: what is left of all MACs, of each layer's, or of what each says.",
  },
  kernels: {
    type: "string",
    value: "NAME",
    help: "Of --low-rank: kernels become fewer outputs and a 1×1 behind them (outputs), or k×1 and 1×k (spatial) (outputs).",
  },
};

/** A plan as the command line shows it, and what carries it out. */
export interface Restructuring {
  readonly lines: readonly string[];
  readonly json: unknown;
  apply(): Promise<PassResult>;
}

/** What `--drop-blocks` or `--low-rank` asks for; undefined where neither is given. */
export async function restructuring(
  given: Given,
  model: Model,
  openData: () => Promise<Dataset | undefined>,
  onProgress: (done: number, total: number) => void,
): Promise<Restructuring | undefined> {
  const asked = ["drop-blocks", "low-rank"].filter((name) => text(given, name) !== undefined);
  if (asked.length === 0) return undefined;
  const others = ["macs", "params", "latency", "ratio", "sparsity"].filter((name) => given.options[name] !== undefined);
  const [first, second] = [...asked, ...others];
  if (second !== undefined) throw wrong(`--${first} and --${second} are given together.`, "Run twice for both.");
  const data = await openData();
  const measured = { ...runningOf(given), signal: given.signal, onProgress, ...(data && { data }) };
  const list = (name: string) => text(given, name)?.split(",");
  if (first === "drop-blocks") {
    const options = { ...measured, ...dropOptions(given) };
    const plan = await planDropBlocks(model, options);
    return { lines: blockLines(plan), json: blocksAsJson(plan), apply: () => applyBlockPlan(plan, options) };
  }
  const [layers, ignoredLayers, roundTo] = [
    list("layers"),
    list("ignored-layers"),
    number(given, "round-to", { least: 1 }),
  ];
  const plan = await planLowRank(model, {
    ...measured,
    ...rankOptions(given),
    ...(layers && { layers }),
    ...(ignoredLayers && { ignoredLayers }),
    ...(roundTo && { roundTo }),
  });
  const { layers: factored, macs } = plan;
  return { lines: rankLines(plan), json: { layers: factored, macs }, apply: () => applyLowRankPlan(plan) };
}

function dropOptions(given: Given): DropBlocksOptions {
  const value = text(given, "drop-blocks") ?? "";
  const importance: BlockImportance | undefined = choice(given, "importance", ["output", "influence"]);
  const shared = importance === undefined ? {} : { importance };
  const every = /^every:(\d+)$/.exec(value)?.[1];
  if (every !== undefined) return { ...shared, every: Number(every) };
  if (/^\d+(\.\d+)?%$/.test(value)) return { ...shared, count: value as `${number}%` };
  return /^\d+$/.test(value) ? { ...shared, count: Number(value) } : { ...shared, blocks: value.split(",") };
}

function rankOptions(given: Given): LowRankOptions {
  const value = text(given, "low-rank") ?? "";
  const kernels = choice(given, "kernels", ["outputs", "spatial"]);
  const shared = kernels === undefined ? {} : { kernels };
  const [, name, number] = /^(ratio|energy):(\d*\.?\d+)$/.exec(value) ?? [];
  if (name !== undefined) return { ...shared, [name]: Number(number) };
  if (!value.endsWith("%")) return { ...shared, macs: amount(given, "low-rank") as number };
  const left = Number(value.slice(0, -1));
  if (!(left > 0 && left < 100)) throw wrong(`--low-rank is "${value}".`, "Give a share between 0% and 100%.");
  return { ...shared, macs: `${left}%` };
}

const change = (before: number, after: number): string =>
  `${count(before)} → ${count(after)}, ${percent(after / before)} left`;

function blockLines({ blocks, before, after }: BlockPlan): string[] {
  const rows = blocks.map(({ block, macs, parameters, importance, goes }) => [
    clip(block.name, 52),
    count(macs),
    count(parameters),
    importance === undefined ? "" : importance.toPrecision(3),
    goes ? "goes" : "",
  ]);
  return [
    ...table([["block", "MACs", "parameters", "importance", ""], ...rows], [1, 2, 3]),
    "",
    ...table([
      ["parameters", change(before.parameters, after.parameters)],
      ["MACs", change(before.macs, after.macs)],
    ]),
  ];
}

function blocksAsJson({ blocks, before, after }: BlockPlan) {
  return {
    before,
    after,
    blocks: blocks.map(({ block, ...rest }) => ({ name: block.name, from: block.from, to: block.to, ...rest })),
  };
}

function rankLines({ layers, macs }: LowRankPlan): string[] {
  const rows = layers.map(({ name, split, full, rank, lost, macs: own }) => [
    clip(name, 44),
    rank === undefined ? dim(`${full}, whole`) : `${full} → ${rank}`,
    rank === undefined ? "" : percent(own.after / own.before, 0),
    rank === undefined ? "" : percent(lost),
    rank === undefined || split === "outputs" ? "" : split,
  ]);
  return [
    ...table([["layer", "rank", "MACs left", "lost", ""], ...rows], [1, 2, 3]),
    "",
    ...table([["MACs", change(macs.before, macs.after)]]),
  ];
}
