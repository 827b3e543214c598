import { describe, expect, it } from "vitest";
import { apart, masked, outputsOf, randomMasks } from "../../test/laws/masking.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { cut } from "../prune/apply.ts";
import { derive } from "../prune/derive.ts";
import { groupsOf } from "../prune/groups.ts";
import { prepared } from "../prune/prepare.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { create } from "./index.ts";

const SIZES = { vocabulary: 50, layers: 2, dimension: 32, heads: 4, inner: 48 };

/** Name, options, and how many heads there are that can be cut. */
const CASES: readonly (readonly [string, Partial<ArchitectureOptions>, number])[] = [
  ["bert_tiny", { ...SIZES, classes: 2 }, 4],
  ["distilbert", { ...SIZES, classes: 2, length: 8 }, 4],
  ["mobilebert", { ...SIZES, classes: 2 }, 4],
  ["llama", { ...SIZES, kvHeads: 2 }, 2],
  ["llama", { ...SIZES, length: 8 }, 4],
  ["vit_tiny", { depth: 0.2, resolution: 32, classes: 3 }, 3],
  ["mobilevit_xxs", { depth: 0.5, resolution: 64, classes: 3 }, 4],
];

describe("channels and heads of a transformer can be cut, which equals zeroing them", () => {
  it.each(CASES)("%s %o", async (name, options, heads) => {
    const model = create(name, { ...options, seed: 4 });
    const { model: base } = await prepared(model);
    const d = derive(base);
    const { groups, coverage } = groupsOf(d);
    expect(coverage.one).toBeGreaterThan(0.99);
    // A normalization over fewer channels is another one, not the same with zeros.
    const exact = groups.filter(({ counted }) => counted.length === 0);
    expect(exact.some(({ size }) => size === heads)).toBe(true);
    const masks = randomMasks(exact, 5);
    const small = await cut(d, masks);
    verify(small);
    const feeds = randomFeeds(model, { batch: 2, length: 8, seed: 3 });
    const [whole, want, got] = await Promise.all([model, masked(d, masks), small].map((m) => outputsOf(m, feeds)));
    const { difference, largest } = apart(want!, got!);
    expect(difference).toBeLessThan(1e-4 * largest);
    expect(apart(whole!, want!).difference).toBeGreaterThan(10 * difference);
  });
});
