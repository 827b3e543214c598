import { describe, expect, it } from "vitest";
import { type Candidate, ladder, type Situation } from "./ladder.ts";
import type { Trial } from "./trials.ts";

/** Layers that are alike but for their noise, each in every format. */
const layersFor: (count: number) => Situation["costs"] = (count) => async (formats) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ node: `layer${i}`, nodes: [`layer${i}`], weight: `w${i}`, depthwise: i % 2 === 1, macs: 1000 },
    choices: formats.map((format) => {
      const bits = Number(/\d+/.exec(format)?.[0] ?? 32);
      const noise = format === "float" ? 0 : 2 ** -i * 4 ** -bits * (format === "int8" ? 8 : 1);
      return { format, bytes: 100 * bits, noise };
    }),
  }));

interface Setting {
  readonly layers?: number;
  readonly target?: Situation["target"];
  readonly matrices?: number;
  /** What a candidate takes; the float model takes 1 ms. */
  readonly latencyOf?: (candidate: Candidate) => number;
}

/** Runs the ladder against a rule that says which candidates meet the budget; gives what it tried. */
async function climb(meets: (candidate: Candidate) => boolean, setting: Setting = {}): Promise<Candidate[]> {
  const tried: Candidate[] = [];
  const figures = { quality: 0.5, bytes: 1, parameters: 1, macs: 1, latencyMs: 1 };
  const proposals = ladder({
    ...{ target: setting.target, budget: {}, before: figures, matrices: setting.matrices ?? 0 },
    costs: layersFor(setting.layers ?? 40),
  });
  for (let next = await proposals.next(); !next.done; ) {
    const met = meets(next.value);
    tried.push(next.value);
    const own = { ...figures, latencyMs: setting.latencyOf?.(next.value) ?? 1 };
    const trial: Trial = { ...next.value, figures: own, met, distance: met ? 0 : tried.length, seconds: 0 };
    next = await proposals.next(trial);
  }
  return tried;
}

const namesOf = (tried: readonly Candidate[]) => tried.map(({ name }) => name);
const planIn = ({ recipe }: Candidate) => recipe.find((step) => step.name === "quantizeMixed")?.plan ?? {};
const left = (candidate: Candidate) => Object.values(planIn(candidate)).filter((format) => format !== "int8").length;

const isStatic = ({ recipe }: Candidate) => recipe.some((step) => step.name === "quantizeStatic");

const usesFew = (candidate: Candidate) => Object.values(planIn(candidate)).some((format) => /int[234]-/.test(format));

describe("the ladder", () => {
  it("does not climb on when the plain method is enough, but measures the storage format too", async () => {
    const tried = namesOf(await climb(isStatic));
    expect(tried.some((name) => name.includes("entropy"))).toBe(false);
    expect(tried.some((name) => name.includes("in float"))).toBe(false);
    expect(tried.some((name) => name.includes("storage"))).toBe(true);
  });

  it("tries bias correction and every calibration, then leaves more and more layers in float", async () => {
    const tried = await climb(() => false);
    for (const word of ["minmax", "bias corrected", "entropy", "percentile", "mse", "in float", "fp16"])
      expect(
        namesOf(tried).some((name) => name.includes(word)),
        word,
      ).toBe(true);
    const counts = tried.filter(({ name }) => name.includes("in float")).map(left);
    expect(counts.length).toBeGreaterThan(3);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(counts[0]).toBe(1);
  });

  it("never leaves more than half of the layers in float", async () => {
    for (const layers of [3, 6]) {
      const tried = await climb(() => false, { layers });
      const counts = tried.filter(({ name }) => name.includes("in float")).map(left);
      expect(Math.max(...counts)).toBeLessThanOrEqual(layers / 2);
    }
  });

  it("takes depthwise layers out of int8 where that is slower than float on the target", async () => {
    const slow = { target: "wasm", latencyOf: (candidate: Candidate) => (isStatic(candidate) ? 4 : 1) } as const;
    const found = (await climb(() => true, slow)).find(({ name }) => name.includes("depthwise"))!;
    for (const [node, format] of Object.entries(planIn(found)))
      expect(format === "int8").toBe(Number(node.slice(5)) % 2 === 0);
    expect(namesOf(await climb(() => true, { target: "wasm" })).some((name) => name.includes("depthwise"))).toBe(false);
  });

  it("goes on with fewer bits where only the download counts, as long as the budget holds", async () => {
    expect((await climb(() => true)).filter(usesFew).length).toBeGreaterThan(1);
    const tried = await climb((candidate) => !usesFew(candidate));
    const bits = tried.filter(usesFew);
    expect(bits.length).toBeGreaterThan(1);
    expect((await climb(() => true, { target: "node" })).some(usesFew)).toBe(false);
  });

  it("tries products of matrices in the formats that the target is not known to be slow at", async () => {
    const tried = async (target: "node" | "wasm") => namesOf(await climb(() => true, { target, matrices: 1 }));
    expect((await tried("node")).some((name) => name.includes("q4"))).toBe(true);
    expect((await tried("wasm")).some((name) => name.includes("q4"))).toBe(false);
    expect((await tried("wasm")).some((name) => name.includes("dynamic"))).toBe(true);
  });

  it("proposes nothing twice", async () => {
    for (const meets of [() => true, () => false]) {
      const tried = (await climb(meets)).map(({ recipe }) => JSON.stringify(recipe));
      expect(new Set(tried).size).toBe(tried.length);
    }
  });
});
