import { describe, expect, it } from "vitest";
import type { Model } from "../../src/ir/graph.ts";
import { verify } from "../../src/ir/verify.ts";
import { randomFeeds } from "../../src/measure/index.ts";
import { cut } from "../../src/prune/apply.ts";
import { indicesOf, type Masks } from "../../src/prune/axis.ts";
import { type Derivation, derive } from "../../src/prune/derive.ts";
import { type Groups, groupsOf } from "../../src/prune/groups.ts";
import { prepared } from "../../src/prune/prepare.ts";
import { apart, masked, outputsOf, randomMasks, rotated } from "../laws/masking.ts";
import { REAL_MODELS, WITHOUT_REAL } from "../real.ts";
import { filled } from "./filled.ts";

const absent = REAL_MODELS.length === 0;

/** Share of the float constants in groups, and in groups along two axes, in percent: no less. Vocabulary and masks of positions stay. */
const COVERAGE: Readonly<Record<string, readonly [one: number, two: number]>> = {
  "arch/convnext_tiny": [99.9, 95.9],
  "arch/densenet121": [99.9, 85.0],
  "arch/efficientnet_b0": [99.9, 70.7],
  "arch/efficientnet_v2_s": [99.9, 91.0],
  "arch/googlenet": [99.9, 83.9],
  "arch/inception_v3": [99.9, 91.0],
  "arch/mnasnet0_5": [99.9, 37.2],
  "arch/mnasnet1_0": [99.9, 65.6],
  "arch/mobilenet_v2": [99.9, 59.9],
  "arch/mobilenet_v3_large": [99.9, 74.0],
  "arch/mobilenet_v3_small": [99.9, 56.4],
  "arch/regnet_x_400mf": [99.9, 91.3],
  "arch/regnet_y_400mf": [99.9, 88.4],
  "arch/resnet18": [99.9, 95.3],
  "arch/resnet50": [99.9, 91.4],
  "arch/resnext50_32x4d": [99.9, 91.2],
  "arch/shufflenet_v2_x0_5": [99.7, 20.8],
  "arch/shufflenet_v2_x1_0": [99.6, 44.1],
  "arch/squeezenet1_1": [99.9, 58.0],
  "arch/swin_t": [99.9, 96.9],
  "arch/vit_b_16": [99.9, 98.0],
  "text/stories260K_T128": [94.9, 68.6],
};

/** Which positions of which weights each index covers, and whether the count matters: what two derivations must agree on. */
function signature(d: Derivation, { groups }: Groups): string[] {
  return groups
    .map(({ variable, members, counted }) =>
      members
        .map(
          ({ weight, axis }) =>
            `${weight}[${axis}] ${indicesOf(d.axes.get(weight)![axis]!, variable)} ${counted.length > 0}`,
        )
        .sort()
        .join("; "),
    )
    .sort();
}

describe.skipIf(absent).each(absent ? [WITHOUT_REAL] : REAL_MODELS)("The groups of %s", (path) => {
  let loaded: Promise<{ model: Model; base: Model }> | undefined;
  const load = () => {
    loaded ??= filled(path).then(async (model) => ({ model, base: (await prepared(model)).model }));
    return loaded;
  };

  it("hold the weights they should, whatever the order of the nodes", async () => {
    const { base } = await load();
    const d = derive(base);
    const found = groupsOf(d);
    const [one, two] = COVERAGE[path.replace(/\.onnx(\.gz)?$/, "")] ?? [99.7, 37];
    expect(100 * found.coverage.one).toBeGreaterThan(one);
    expect(100 * found.coverage.two).toBeGreaterThan(two);
    expect(found.frozen.filter(({ reason }) => /sizes differ/.test(reason))).toEqual([]);
    const back = derive(base, { reversed: true });
    expect(signature(back, groupsOf(back))).toEqual(signature(d, found));
  }, 60_000);

  it("cut, equal what masking gives; with a weight cut at its neighbours, they do not", async () => {
    const { model, base } = await load();
    const d = derive(base);
    const { groups } = groupsOf(d);
    const masks: Masks = randomMasks(groups, 5);
    const small = await cut(d, masks);
    verify(small);
    const feeds = randomFeeds(model, { batch: 2, seed: 3 });
    const whole = await outputsOf(model, feeds);
    const [want, got] = [await outputsOf(masked(d, masks), feeds), await outputsOf(small, feeds)];
    const { difference, largest } = apart(want, got);
    expect(largest).toBeGreaterThan(0);
    expect(difference).toBeLessThan(1e-4 * largest);
    expect(apart(whole, want).difference).toBeGreaterThan(10 * difference);
    if (path.startsWith("arch/")) return;
    const wrong = await outputsOf(await cut(shifted(d, masks), masks), feeds);
    expect(apart(want, wrong).difference).toBeGreaterThan(1e-4 * largest);
  }, 60_000);
});

/** The model with one weight moved by a position along an axis that is cut, so that others go than should. */
function shifted(d: Derivation, masks: Masks): Derivation {
  for (const { members, variable, size } of groupsOf(d).groups) {
    const mask = masks.get(variable);
    const member = members.find(({ multiplicity, weight }) => multiplicity === 1 && d.axes.get(weight)!.length > 1);
    if (mask === undefined || member === undefined) continue;
    const own = { size };
    const axes = new Map(d.axes);
    axes.set(
      member.weight,
      d.axes.get(member.weight)!.map((axis, i) => (i === member.axis ? own : axis)),
    );
    (masks as Map<object, Uint8Array>).set(own, rotated(mask));
    return { ...d, model: d.model, facts: d.facts, flows: d.flows, axes, size: (dim) => d.size(dim) };
  }
  throw new Error("Nothing is cut of any weight.");
}
