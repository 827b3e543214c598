import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { nearestNames } from "../numeric/nearest.ts";
import { defaultRuntime, type Runtime } from "../runtime/index.ts";
import { matcher } from "../train/globs.ts";
import { sizeOf, type Var } from "./axis.ts";
import { type CostAfter, costAfter } from "./cost.ts";
import { type Derivation, derive } from "./derive.ts";
import { type FrozenAxis, floatWeights, type Group, type Groups, groupsOf } from "./groups.ts";
import { type GroupKind, KINDS, kindsOf } from "./kinds.ts";
import { perCost } from "./per-cost.ts";
import { prepared } from "./prepare.ts";
import { SCORES, scoresOf } from "./scores.ts";
import { limitOf, search, TARGETS } from "./search.ts";
import { selection } from "./select.ts";
import type { Plan, StructuredPruningOptions } from "./types.ts";

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
 * Decides what to cut, and says what that does; nothing is cut yet. The cut is the smallest share of the
 * ranking that meets every target; what rounding takes beyond it in its last step is given back ({@link restored}), but for a latency.
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
  checkNames(derivation, options);
  const kinds = kindsOf(derivation, found.groups);
  const isChosen = chosenBy(derivation, found, options);
  const wanted = found.groups.filter(
    (group) => isChosen(group) && options.only?.includes(kinds.get(group) as GroupKind) !== false,
  );
  if (wanted.length === 0) throw nothingToCut(derivation, found, options);
  const roundTo = options.roundTo ?? roundToFor(options.runtime ?? defaultRuntime());
  const cost = costAfter(derivation);
  const { worths, scores, ranking } = await ranked(derivation, wanted, cost, options);
  const select = selection(derivation, wanted, scores, { ...ranking, roundTo });
  const values = new Map(wanted.map((group) => [group.variable, worths.get(group)]));
  const worth = (group: Var, index: number) => values.get(group)?.[index] ?? 0;
  const masks = await search({ derivation, select, cost, options, roundTo, worth });
  if (masks.size === 0) throw noCut(wanted, roundTo, options);
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  const groups = wanted.map((group) => ({
    group,
    kind: kinds.get(group) as GroupKind,
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

/** Scores as they are compared, and how. What is worth most for its cost is known where sums over whole groups are not evened out. */
async function ranked(d: Derivation, groups: readonly Group[], cost: CostAfter, options: StructuredPruningOptions) {
  if (options.perCost !== true) {
    const worths = await scoresOf(d, groups, options);
    return { worths, scores: worths, ranking: options };
  }
  const worths = await scoresOf(d, groups, { groupReduction: "sum", normalizer: "none", ...options });
  return {
    worths,
    scores: perCost(worths, cost, options),
    ranking: { ...options, globalPruning: true },
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
  const kind = rest.only?.find((name) => !KINDS.includes(name));
  if (kind !== undefined) bad("only", `It is ${JSON.stringify(kind)}`, `It can be ${KINDS.join(", ")}.`);
  for (const at of TARGETS) if (rest[at] !== undefined) limitOf(rest[at], 1, at);
  const targets = TARGETS.filter((at) => rest[at] !== undefined);
  if (pruningRatio !== undefined && targets.length > 0)
    bad("pruningRatio", `It is given together with ${targets.join(" and ")}`, "Give a ratio, or what may be left.");
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

/** Every name that is given must be one of a layer or of a weight. */
function checkNames({ model }: Derivation, options: StructuredPruningOptions): void {
  const { nodes, weights, inputs } = model.graph;
  const known = [...new Set([...nodes.map(({ name }) => name), ...weights.keys()])].filter((name) => name !== "");
  for (const at of ["layers", "ignoredLayers"] as const)
    for (const pattern of options[at] ?? []) {
      if (known.some(matcher([pattern]))) continue;
      const input = inputs.find(({ name }) => name === pattern);
      const reader = nodes.find((node) => node.inputs.includes(pattern));
      if (input !== undefined)
        throw new MinnowError(`"${pattern}" is an input of the model: callers feed it, so that its channels stay.`, {
          code: "prune/input",
          at,
          mend: `What reads it can be cut, along its own outputs: ${reader?.name ?? "nothing does"}.`,
        });
      throw new MinnowError(`There is no layer or weight "${pattern}".`, {
        code: "prune/option",
        at,
        mend: `The nearest names are ${nearestNames(pattern, known, { within: 12, count: 3 }).join(", ") || known.slice(0, 3).join(", ")}.`,
      });
    }
}

function nothingToCut(d: Derivation, found: Groups, options: StructuredPruningOptions): MinnowError {
  const { groups, frozen } = found;
  const fits = options.layers && matcher(options.layers);
  const about = [...frozen, ...singles(d)].filter(({ weight, reader }) => !fits || fits(weight) || fits(reader));
  const reasons = [...new Set(about.map(({ weight, axis, reason }) => `${weight} axis ${axis}: ${reason}`))];
  const more = reasons.length > 4 ? ` and ${reasons.length - 4} more` : "";
  const why = reasons.length === 0 ? "" : ` Why: ${reasons.slice(0, 4).join("; ")}${more}.`;
  if (groups.length === 0)
    return new MinnowError(`Nothing of the model can be cut.${why}`, {
      code: "prune/nothing",
      mend: "Make it smaller another way: minnow quantize.",
    });
  const given = (["layers", "ignoredLayers", "only", "exact"] as const).filter((name) => options[name] !== undefined);
  return new MinnowError(`${given.join(" and ")} leave nothing that can be cut.${why}`, {
    code: "prune/nothing",
    mend: `These can be, for example: ${groups
      .slice(0, 4)
      .map(({ name }) => name)
      .join(", ")}.`,
  });
}

/** Axes of weights with one channel alone. */
function singles(d: Derivation): FrozenAxis[] {
  return [...floatWeights(d)].flatMap(({ weight, reader }) =>
    (d.axes.get(weight) ?? []).flatMap((own, axis) =>
      sizeOf(own) === 1 ? [{ weight, reader, axis, reason: "it has one channel, and one must stay" }] : [],
    ),
  );
}

function noCut(groups: readonly Group[], roundTo: number, options: StructuredPruningOptions): MinnowError {
  const isMet = TARGETS.some((name) => options[name] !== undefined);
  const most = Math.max(...groups.map(({ size }) => size));
  return new MinnowError(
    isMet
      ? "The model is within what is asked for as it is; nothing is cut."
      : `So little is asked for that nothing goes: channels are kept in multiples of ${roundTo}, and the largest group has ${most}.`,
    {
      code: "prune/nothing",
      mend: isMet ? "Ask for less." : "Ask for a larger cut, or give a smaller roundTo; 1 rounds nothing.",
    },
  );
}
