import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { benchmark, randomFeeds, sizeOf } from "../measure/index.ts";
import { defaultRuntime, type Runtime } from "../runtime/index.ts";
import { matcher } from "../train/globs.ts";
import { cut } from "./apply.ts";
import type { Masks } from "./axis.ts";
import { type CostAfter, costAfter, type PrunedCost } from "./cost.ts";
import { type Derivation, derive } from "./derive.ts";
import { type Group, type Groups, groupsOf } from "./groups.ts";
import { prepared } from "./prepare.ts";
import { SCORES, scoresOf } from "./scores.ts";
import { type Selection, selection } from "./select.ts";
import type { Plan, StructuredPruningOptions, Target } from "./types.ts";

/**
 * The multiple of channels that a runtime's kernels want. ONNX Runtime's CPU build on x64 computes convolutions in blocks
 * of 16 channels where the processor has AVX-512 (8 with AVX2; a multiple of 16 serves both): other numbers leave the
 * blocked kernels and can be slower than the whole model. WebAssembly has no such kernels; other processors were not measured.
 */
export function roundToFor(runtime: Runtime): number {
  if (runtime === "wasm") return 1;
  const arch = (globalThis as { process?: { arch?: string } }).process?.arch;
  return runtime === "node" && (arch === "x64" || arch === undefined) ? 16 : 8;
}

/**
 * Decides what to cut, and says what that does; nothing is cut yet. The cut is the smallest that meets every target.
 * Throws a MinnowError `prune/nothing` where no group is left to cut, with the reasons, `prune/unreachable` where the
 * targets are below what cutting can reach, with what it can, and `prune/option` for options that make no sense.
 *
 * @example
 * const plan = await planPruning(model, { macs: "50%" });
 * for (const { group, kept } of plan.groups) console.log(group.name, kept, group.size);
 */
export async function planPruning(model: Model, options: StructuredPruningOptions = {}): Promise<Plan> {
  checkOptions(options);
  const derivation = derive((await prepared(model)).model);
  const found = groupsOf(derivation);
  const wanted = found.groups.filter(chosenBy(derivation, found, options));
  if (wanted.length === 0) throw nothingToCut(found, options);
  const roundTo = options.roundTo ?? roundToFor(options.runtime ?? defaultRuntime());
  const scores = await scoresOf(derivation, wanted, options);
  const select = selection(derivation, wanted, scores, { ...options, roundTo });
  const cost = costAfter(derivation);
  const masks = await search({ derivation, select, cost, options, roundTo });
  if (masks.size === 0) throw tooFine(wanted, roundTo);
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  const groups = wanted.map((group) => ({
    group,
    kept: masks.get(group.variable)?.reduce((a, b) => a + b, 0) ?? group.size,
  }));
  return {
    derivation,
    groups,
    left: found.groups.filter((group) => !wanted.includes(group)),
    frozen: found.frozen,
    coverage: found.coverage,
    masks,
    roundTo,
    channelRatio: 1 - groups.reduce((sum, { kept }) => sum + kept, 0) / total,
    before: cost(new Map()),
    after: cost(masks),
  };
}

function checkOptions({ pruningRatio, maxPruningRatio, roundTo, score, ...rest }: StructuredPruningOptions): void {
  const bad = (at: string, what: string, mend: string): never => {
    throw new MinnowError(`${what}.`, { code: "prune/option", at, mend });
  };
  if (pruningRatio !== undefined && !(pruningRatio > 0 && pruningRatio < 1))
    bad("pruningRatio", `It is ${pruningRatio}`, "Give a share of the channels above 0 and below 1, 0.5 for example.");
  if (maxPruningRatio !== undefined && !(maxPruningRatio > 0 && maxPruningRatio <= 1))
    bad("maxPruningRatio", `It is ${maxPruningRatio}`, "Give a share above 0 and up to 1.");
  if (roundTo !== undefined && !(Number.isInteger(roundTo) && roundTo >= 1))
    bad("roundTo", `It is ${roundTo}`, "Give a whole number from 1 on; 1 rounds nothing.");
  if (score !== undefined && !SCORES.includes(score))
    bad("score", `It is ${JSON.stringify(score)}`, `It can be ${SCORES.join(", ")}.`);
  for (const at of TARGETS) if (rest[at] !== undefined) limitOf(rest[at], 1, at);
  const targets = TARGETS.filter((at) => rest[at] !== undefined);
  if (pruningRatio !== undefined && targets.length > 0)
    bad("pruningRatio", `It is given together with ${targets.join(" and ")}`, "Give a ratio, or what may be left.");
}

const TARGETS = ["macs", "parameters", "size", "latency"] as const;

/** What may be left at most, of what there is. */
function limitOf(target: Target, whole: number, at: string): number {
  const share = typeof target === "number" ? undefined : Number(target.slice(0, -1)) / 100;
  if (share === undefined ? !((target as number) > 0) : !(share > 0 && share < 1 && String(target).endsWith("%")))
    throw new MinnowError(`It is ${JSON.stringify(target)}.`, {
      code: "prune/option",
      at,
      mend: 'Give a number above 0, or a share of what there is between "0%" and "100%".',
    });
  return share === undefined ? (target as number) : share * whole;
}

/** Whether the options let a group be cut. */
function chosenBy(d: Derivation, found: Groups, options: StructuredPruningOptions): (group: Group) => boolean {
  const names = namesOfGroups(d, found);
  const matches = (patterns: readonly string[] | undefined) => {
    const fits = patterns && matcher(patterns);
    return (group: Group) => fits !== undefined && [...(names.get(group) ?? [])].some(fits);
  };
  const [ignored, only] = [matches(options.ignoredLayers), matches(options.layers)];
  return (group) =>
    !(options.exact === true && group.counted.length > 0) &&
    !ignored(group) &&
    (options.layers === undefined || only(group));
}

/** What a group can be called by: its weights, and the nodes that read them. */
function namesOfGroups({ model }: Derivation, { groups }: Groups): Map<Group, Set<string>> {
  const readers = new Map<string, string[]>();
  for (const node of model.graph.nodes)
    for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node.name]);
  return new Map(
    groups.map((group) => [
      group,
      new Set(group.members.flatMap(({ weight }) => [weight, ...(readers.get(weight) ?? [])])),
    ]),
  );
}

function nothingToCut(
  { groups, frozen }: Groups,
  { layers, ignoredLayers, exact }: StructuredPruningOptions,
): MinnowError {
  const fits = layers && matcher(layers);
  const about = fits === undefined ? frozen : frozen.filter(({ weight, reader }) => fits(weight) || fits(reader));
  const reasons = [...new Set(about.map(({ weight, axis, reason }) => `${weight} axis ${axis}: ${reason}`))];
  const more = reasons.length > 4 ? ` and ${reasons.length - 4} more` : "";
  const why = reasons.length === 0 ? "" : ` Of what was asked for: ${reasons.slice(0, 4).join("; ")}${more}.`;
  const options = [layers && "layers", ignoredLayers && "ignoredLayers", exact && "exact"].filter(Boolean).join(", ");
  return new MinnowError(
    groups.length === 0
      ? `Nothing of the model can be cut.${why}`
      : `The model has ${groups.length} groups of channels that can be cut, and ${options} leaves none of them.${why}`,
    {
      code: "prune/nothing",
      mend:
        groups.length === 0
          ? "Quantize it instead, or make its weights smaller in the file: minnow quantize."
          : `Groups there are, for example: ${groups
              .slice(0, 4)
              .map(({ name }) => name)
              .join(", ")}.`,
    },
  );
}

const tooFine = (groups: readonly Group[], roundTo: number): MinnowError =>
  new MinnowError(
    `So little was asked for that nothing goes: channels are kept in multiples of ${roundTo}, and the largest group has ${Math.max(...groups.map(({ size }) => size))}.`,
    {
      code: "prune/nothing",
      mend: "Ask for a larger cut, or give a smaller roundTo; 1 rounds nothing.",
    },
  );

interface Search {
  readonly derivation: Derivation;
  readonly select: Selection;
  readonly cost: CostAfter;
  readonly options: StructuredPruningOptions;
  readonly roundTo: number;
}

/** The smallest cut that meets every target. */
async function search({ derivation, select, cost, options, roundTo }: Search): Promise<Masks> {
  const { pruningRatio, latency } = options;
  const targets = TARGETS.filter((name) => options[name] !== undefined);
  if (targets.length === 0) return select(pruningRatio ?? 0.5);
  const before = cost(new Map());
  const overhead = (await sizeOf(derivation.model)).bytes - before.weightBytes;
  const figures = ({ macs, parameters, weightBytes }: PrunedCost) => ({
    macs,
    parameters,
    size: weightBytes + overhead,
  });
  const whole = figures(before);
  const counted = (["macs", "parameters", "size"] as const).flatMap((name) => {
    const target = options[name];
    return target === undefined ? [] : [{ name, limit: limitOf(target, whole[name], name) }];
  });
  const meets = (share: number): boolean => {
    const after = figures(cost(select(share)));
    return counted.every(({ name, limit }) => after[name] <= limit);
  };
  if (!meets(1)) throw unreachable(figures(cost(select(1))), counted, roundTo);
  let share = await least(0, 20, async (at) => meets(at));
  if (latency !== undefined) share = await byLatency(derivation, select, share, options, roundTo);
  return select(share);
}

/** The least share in [from, 1] that is enough, to within (1 − from) / 2^steps; 1 is. */
async function least(from: number, steps: number, enough: (share: number) => Promise<boolean>): Promise<number> {
  if (await enough(from)) return from;
  let [low, high] = [from, 1];
  for (let i = 0; i < steps; i++) {
    const middle = (low + high) / 2;
    if (await enough(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** How often the time is measured in a search for it. */
const MEASUREMENTS = 7;

/** Bisects by measured latency, the whole model in turn with what is tried. */
async function byLatency(
  d: Derivation,
  select: Selection,
  from: number,
  options: StructuredPruningOptions,
  roundTo: number,
): Promise<number> {
  const feeds = randomFeeds(d.model, { seed: options.seed ?? 0 });
  const settings = {
    ...(options.runtime && { runtime: options.runtime }),
    ...(options.threads && { threads: options.threads }),
    ...(options.signal && { signal: options.signal }),
  };
  const timeOf = async (share: number) => {
    const [whole, small] = await benchmark([d.model, await cut(d, select(share))], feeds, settings);
    return {
      limit: limitOf(options.latency as Target, whole?.medianMs ?? Number.NaN, "latency"),
      ms: small?.medianMs ?? 0,
    };
  };
  const fastest = await timeOf(1);
  if (fastest.ms > fastest.limit) throw tooSlow(fastest, roundTo);
  return least(from, MEASUREMENTS, async (share) => {
    const { ms, limit } = await timeOf(share);
    return ms <= limit;
  });
}

function unreachable(
  reached: Readonly<Record<"macs" | "parameters" | "size", number>>,
  limits: readonly { name: "macs" | "parameters" | "size"; limit: number }[],
  roundTo: number,
): MinnowError {
  const units = { macs: "MACs", parameters: "parameters", size: "bytes" };
  const missed = limits.filter(({ name, limit }) => reached[name] > limit);
  const said = missed.map(
    ({ name, limit }) => `${Math.round(reached[name])} ${units[name]}, and at most ${Math.round(limit)} are asked for`,
  );
  return new MinnowError(`With all cut that may be, there are ${said.join("; there are ")}.`, {
    code: "prune/unreachable",
    mend: `Ask for less${roundTo > 1 ? `, give roundTo 1 (now ${roundTo})` : ""}, a larger maxPruningRatio or fewer ignoredLayers, or quantize as well.`,
  });
}

const tooSlow = ({ ms, limit }: { ms: number; limit: number }, roundTo: number): MinnowError =>
  new MinnowError(
    `With all cut that may be, a run takes ${ms.toFixed(2)} ms, and at most ${limit.toFixed(2)} ms are asked for.`,
    {
      code: "prune/unreachable",
      mend: `Ask for less${roundTo > 1 ? `, give roundTo 1 (now ${roundTo})` : ""}, or quantize as well.`,
    },
  );
