import { benchmark, randomFeeds } from "../measure/index.ts";
import { cut } from "./apply.ts";
import type { Masks } from "./axis.ts";
import type { CostAfter } from "./cost.ts";
import type { Derivation } from "./derive.ts";
import type { Group } from "./groups.ts";
import type { GroupKind } from "./kinds.ts";
import type { Selection } from "./select.ts";
import type { StructuredPruningOptions } from "./types.ts";

/** The share that is cut of each kind to time it. */
const TRIED = 0.3;
/** Seconds for each model that is timed. */
const SECONDS = 2;
/** No kind loses more than this times the share of the average, or less than one over it. */
const MOST = 2;

/**
 * How much of the common share each group loses: more where its multiply-adds take longer. Measured kind by kind: the whole
 * model in turn with those that have a share of one kind cut.
 */
export async function paceOf(
  d: Derivation,
  kinds: ReadonlyMap<Group, GroupKind>,
  select: Selection,
  cost: CostAfter,
  options: StructuredPruningOptions,
): Promise<(group: Group) => number> {
  const all = select(TRIED);
  const names = [...new Set(kinds.values())];
  const masksOf = (name: GroupKind): Masks =>
    new Map(
      [...kinds].flatMap(([{ variable }, kind]) =>
        kind === name && all.has(variable) ? [[variable, all.get(variable)!]] : [],
      ),
    );
  const tried = names.map((name) => ({ name, masks: masksOf(name) })).filter(({ masks }) => masks.size > 0);
  const models = [d.model];
  for (const { masks } of tried) models.push(await cut(d, masks));
  const [whole, ...times] = await benchmark(models, randomFeeds(d.model, { seed: options.seed ?? 0 }), {
    seconds: SECONDS,
    ...(options.runtime && { runtime: options.runtime }),
    ...(options.threads && { threads: options.threads }),
    ...(options.signal && { signal: options.signal }),
  });
  const before = cost(new Map()).macs;
  const saved = tried.map(({ name, masks }, i) => ({
    name,
    time: Math.max(0, 1 - times[i]!.p10Ms / whole!.p10Ms),
    macs: 1 - cost(masks).macs / before,
  }));
  const sum = (what: "time" | "macs") => saved.reduce((total, each) => total + each[what], 0);
  const usual = sum("time") / Math.max(1e-9, sum("macs"));
  const paces = new Map(
    saved.map(({ name, time, macs }) => {
      const rate = macs > 0 && usual > 0 ? time / macs / usual : 1;
      return [name, Math.min(MOST, Math.max(1 / MOST, rate))];
    }),
  );
  return (group) => paces.get(kinds.get(group) as GroupKind) ?? 1;
}
