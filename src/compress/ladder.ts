import { type LayerCosts, type LayerFormat, type Precision, planPrecision } from "../quantize/index.ts";
import { type Format, speedOf, type Target } from "../runtime/index.ts";
import { type Budget, checkBudget, type Figures, isMet } from "./budget.ts";
import type { Recipe } from "./recipe.ts";
import type { Trial } from "./trials.ts";

/** A candidate to try. */
export interface Candidate {
  readonly name: string;
  readonly recipe: Recipe;
}

/** What a strategy may ask while it decides what to try next. */
export interface Situation {
  /** What each layer takes and loses in some formats. */
  costs(formats: readonly LayerFormat[]): Promise<readonly LayerCosts[]>;
  /** Where the result will run; given, latency decides, and nothing may be left untried for being larger. */
  readonly target: Target | undefined;
  readonly budget: Budget;
  /** The model as given. */
  readonly before: Figures;
  /** The share of the weights that are matrices, which dynamic quantization and blocks are for. */
  readonly matrices: number;
}

/** Proposes candidates one by one; each `yield` gives back how it went. A search is one such generator. */
export type Strategy = (situation: Situation) => AsyncGenerator<Candidate, void, Trial>;

type Method = Extract<Recipe[number], { name: "quantizeStatic" }>["method"];
type Attempts = AsyncGenerator<Candidate, void, Trial>;

const made = (name: string, ...steps: Recipe): Candidate => ({ name, recipe: [{ name: "optimize" }, ...steps] });

const int8 = (method: Method, biasCorrection: boolean): Candidate =>
  made(int8Name(method, biasCorrection), { name: "quantizeStatic", method, biasCorrection });

const int8Name = (method: Method, biasCorrection: boolean): string =>
  `int8 ${method}${biasCorrection ? ", bias corrected" : ""}`;

const stored = (to: "int8" | "fp16", biasCorrection = false): Candidate =>
  made(`${to} storage${biasCorrection ? ", bias corrected" : ""}`, {
    name: "storeWeights",
    to,
    ...(biasCorrection && { biasCorrection }),
  });

/** Shares of the noise of all layers in int8, one after the other, while a budget is missed. */
const SHARES = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64];

/**
 * The ladder: int8 by the plainest method, then better ones while the budget is missed (bias correction, other
 * calibrations, then mixed precision: the fewest multiply-adds in float that halve the noise, and halve it again); the
 * storage formats, which keep float speed on every runtime, with fewer and fewer bits where they are not needed while the
 * budget holds; and for models of matrices what the target multiplies fast. Where the target runs int8 slower than float,
 * depthwise layers are left out of it.
 */
export const ladder: Strategy = async function* (situation) {
  const { target, before } = situation;
  const tried: { trial: Trial; method: Method; corrected: boolean }[] = [];
  const attempt = async function* (method: Method, corrected: boolean): Attempts {
    tried.push({ trial: yield int8(method, corrected), method, corrected });
  };
  const met = () => tried.some(({ trial }) => trial.met);
  yield* attempt("minmax", false);
  yield* attempt("minmax", true);
  for (const method of ["entropy", "percentile", "mse"] as const) if (!met()) yield* attempt(method, true);
  let storage: Trial = yield stored("int8");
  if (!storage.met) storage = yield stored("int8", true);
  if (target !== undefined && situation.matrices > 0.5) yield* products(target);
  const best = tried
    .filter(({ trial }) => trial.figures !== undefined)
    .sort((a, b) => a.trial.distance - b.trial.distance)[0];
  if (best !== undefined) {
    const slow = (best.trial.figures?.latencyMs ?? 0) > (before.latencyMs ?? Infinity);
    if (target !== undefined && slow) yield* withoutDepthwise(situation, best);
    if (!met()) yield* fewerInIntegers(situation, best);
  }
  const tooLarge = (storage.figures?.bytes ?? 0) > (situation.budget.maxSize ?? Infinity);
  if (isAsGood(situation, storage) && (target === undefined || tooLarge)) yield* fewerBits(situation, storage);
  if (!met() && !storage.met) yield stored("fp16");
};

/** Whether a trial keeps the budget of the metric, whatever it takes. */
function isAsGood({ budget: { maxDrop }, before }: Situation, { figures }: Trial): boolean {
  return figures !== undefined && isMet(checkBudget(maxDrop === undefined ? {} : { maxDrop }, before, figures));
}

/** Formats for products of matrices, where the target is not known to be slow at them. */
async function* products(target: Target): Attempts {
  const quick = (format: Format) => !["slow", "absent"].includes(speedOf(target, format).verdict);
  if (quick("dynamic-int8")) yield made("dynamic int8", { name: "quantizeDynamic" });
  if (quick("matmul-8bit")) yield made("q8 in blocks", { name: "quantizeWeights", bits: 8 });
  if (quick("matmul-4bit"))
    yield made("q4 in blocks, GPTQ", { name: "quantizeWeights", bits: 4, symmetric: false, gptq: true });
}

interface Best {
  readonly method: Method;
  readonly corrected: boolean;
}

/** Int8 but for depthwise layers, whose weights are stored small. */
async function* withoutDepthwise({ costs }: Situation, best: Best): Attempts {
  const layers = await costs(["int8"]);
  if (!layers.some(({ depthwise }) => depthwise)) return;
  const plan = Object.fromEntries(
    layers.map(({ node, depthwise }) => [node, depthwise ? "fp16-storage" : "int8"] as const),
  );
  yield mixed("depthwise layers in float", plan, best);
}

/** Int8 for fewer layers, as long as that is half of them. */
async function* fewerInIntegers({ costs }: Situation, best: Best): Attempts {
  const layers = await costs(["int8", "int8-storage", "float"]);
  const whole = planPrecision(layers, { maxNoise: Infinity, least: "floatMacs" });
  const macs = layers.reduce((sum, layer) => sum + layer.macs, 0);
  let before = "";
  for (const share of whole === undefined ? [] : SHARES) {
    const next = planPrecision(layers, { maxNoise: share * whole!.noise, least: "floatMacs" });
    if (next === undefined || JSON.stringify(next.plan) === before) continue;
    before = JSON.stringify(next.plan);
    const left = Object.values(next.plan).filter((format) => format !== "int8").length;
    if (left > layers.length / 2) return;
    const part = ((100 * next.floatMacs) / Math.max(1, macs)).toFixed(0);
    const trial: Trial = yield mixed(
      `${left} layer${left === 1 ? "" : "s"} of ${layers.length} in float (${part} % of the MACs)`,
      next.plan,
      best,
    );
    if (trial.met) return;
  }
}

const mixed = (what: string, plan: Precision["plan"], { method, corrected }: Best): Candidate =>
  made(`${int8Name(method, corrected)}, ${what}`, {
    name: "quantizeMixed",
    plan,
    method,
    ...(corrected && { biasCorrection: true }),
  });

/**
 * Storage in as few bits a layer as the budget allows: what a budget of bytes has room for, else the noise of 4 bits
 * everywhere, then more or less of it.
 */
async function* fewerBits({ costs, budget }: Situation, storage: Trial): Attempts {
  const layers = await costs(["int8-storage", "int4-storage", "int3-storage", "int2-storage"]);
  const able = layers.filter(({ choices }) => choices.length > 0);
  const sum = (format: LayerFormat, what: "bytes" | "noise") =>
    able.reduce((all, { choices }) => all + (choices.find((c) => c.format === format)?.[what] ?? 0), 0);
  const candidate = (next: Precision) => made(`storage in ${bitsOf(next)}`, { name: "quantizeMixed", plan: next.plan });
  if (budget.maxSize !== undefined) {
    const beside = (storage.figures?.bytes ?? 0) - sum("int8-storage", "bytes");
    // The nodes and scales of fewer bits take some more.
    const next = planPrecision(able, { maxBytes: budget.maxSize - beside - 100 * able.length });
    if (next !== undefined) yield candidate(next);
    return;
  }
  let noise = sum("int4-storage", "noise");
  if (!(noise > sum("int8-storage", "noise"))) return;
  const seen = new Set<string>();
  let direction = 0;
  for (let tries = 0; tries < 5; tries++) {
    const next = planPrecision(able, { maxNoise: noise });
    if (next === undefined || seen.has(JSON.stringify(next.plan))) return;
    seen.add(JSON.stringify(next.plan));
    const trial: Trial = yield candidate(next);
    const step = trial.met ? 1 : -1;
    if (direction !== 0 && step !== direction) return;
    direction = step;
    noise *= 4 ** step;
  }
}

/** `8/4/2 bits (4/2/1)`: how many layers are stored in how many. */
const bitsOf = ({ plan }: Precision): string => {
  const formats = Object.values(plan);
  const counts = ["8", "4", "3", "2"]
    .map((bits) => [bits, formats.filter((format) => format === `int${bits}-storage`).length] as const)
    .filter(([, count]) => count > 0);
  return `${counts.map(([bits]) => bits).join("/")} bits (${counts.map(([, count]) => count).join("/")})`;
};
