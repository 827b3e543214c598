import { describe, expect, it } from "vitest";
import type { TensorData } from "../../src/ir/tensor.ts";
import { keyOf } from "../../src/ops/define.ts";
import { OPS } from "../../src/ops/index.ts";
import { breaksOf } from "./broken.ts";
import { type Followed, follow, maskOf, misfits } from "./cut.ts";
import { samplesOf, titleOf } from "./samples.ts";
import { bothWays, distance, equalsZeroing, lettersCut } from "./zeroing.ts";

const FOLLOWED = OPS.filter((rule) => rule.deterministic !== false)
  .map((rule) => ({
    name: keyOf(rule.name, rule.domain),
    rule,
    followed: samplesOf(rule).flatMap((sample) => follow(rule, sample) ?? []),
  }))
  .filter(({ followed }) => followed.length > 0);

const at = (f: Followed, letter: string): string => `${titleOf(f.sample)}: ${letter} of ${f.rule.map}`;

describe.each(FOLLOWED)("The map of $name", ({ followed }) => {
  it("gives every axis its size", () => {
    for (const f of followed) expect(misfits(f), `${titleOf(f.sample)}: ${f.rule.map}`).toEqual([]);
  });
});

const CUT = FOLLOWED.filter(({ followed }) => followed.some((f) => lettersCut(f).length > 0));

describe.each(CUT)("Cutting the axes of $name", ({ followed }) => {
  it("gives what zeroing them gives", async () => {
    for (const f of followed)
      for (const letter of lettersCut(f)) expect(await equalsZeroing(f, letter), at(f, letter)).toBe(true);
  });
});

/** Operators whose result does not depend on which indices of an axis there are. */
const ALIKE: Readonly<Record<string, string>> = {
  Equal: "drawn numbers are hardly ever equal",
  IsNaN: "no drawn number is NaN",
  Shape: "it gives sizes, which are the same whichever indices stay",
};

const TOLD_APART = CUT.filter(({ name }) => ALIKE[name] === undefined);

describe.each(TOLD_APART)("Cutting other indices of $name than are zeroed", ({ name, followed }) => {
  it("is noticed", async () => {
    for (const f of followed)
      for (const letter of lettersCut(f)) {
        const masks = maskOf(letter, f.sizes.get(letter) ?? 1, 7);
        const turned = new Map([...masks].map(([l, keep]) => [l, [...keep.slice(1), keep[0] as boolean]]));
        const { expected, got } = await bothWays(f, masks, turned);
        if (expected.some((want, k) => distance(want, got[k] as TensorData) > 1e-3)) return;
      }
    expect.fail(`no sample of ${name} tells one index from another`);
  });
});

/** Parts to cut: a cumulative product without its first factors looks as if nothing was wrong. */
const SEEDS = [7, 11, 13];

/** Whether the sizes, or the law of cutting along any letter, tell that a map is wrong. */
async function caught(f: Followed): Promise<boolean> {
  if (misfits(f).length > 0) return true;
  for (const letter of lettersCut(f))
    for (const seed of SEEDS) if (!(await equalsZeroing(f, letter, seed).catch(() => false))) return true;
  return false;
}

/** Whether a letter could be cut; of `...`, whether any axis could. */
const canCut = ({ free }: Followed, letter: string): boolean =>
  letter === "..." ? [...free.keys()].some((key) => key.startsWith(".")) : free.has(letter);

/** Broken maps of each rule, by the mistake: those about letters that could be cut, by the right map or the wrong one. */
const BROKEN = FOLLOWED.flatMap(({ name, rule, followed }) => {
  const broken = followed.flatMap((right) =>
    breaksOf(right.pattern).flatMap(({ how, about, pattern }) => {
      const wrong = follow(rule, right.sample, pattern);
      return wrong !== undefined && about.some((letter) => canCut(right, letter) || canCut(wrong, letter))
        ? [{ how, wrong }]
        : [];
    }),
  );
  return [...new Set(broken.map(({ how }) => how))].map((how) => ({
    name,
    how,
    maps: broken.filter((b) => b.how === how).map(({ wrong }) => wrong),
  }));
});

describe.each(BROKEN)("The map of $name with $how", ({ maps }) => {
  it("is caught", async () => {
    for (const f of maps) if (await caught(f)) return;
    expect.fail(`no law tells ${maps.length} broken maps`);
  });
});
