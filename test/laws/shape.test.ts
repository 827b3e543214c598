import { describe, expect, it } from "vitest";
import { MinnowError } from "../../src/errors.ts";
import type { TensorData } from "../../src/ir/tensor.ts";
import { random } from "../../src/numeric/random.ts";
import { type Fact, keyOf, type OpRule } from "../../src/ops/define.ts";
import { OPS } from "../../src/ops/index.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession } from "../../src/runtime/index.ts";
import { feedsOf, modelOf, outputName } from "../../src/testing/single.ts";
import { BREAKS, inferred, nonsense, TOLD, wrong } from "./facts.ts";
import { samplesOf, titleOf } from "./samples.ts";

/** Operators ONNX Runtime's CPU build has no kernel for: ONNX's own node tests stand for it. */
const NO_KERNEL: Readonly<Record<string, string>> = {};

/** Operators that only give scalars: they have no size to be wrong about. */
const SCALAR = new Set(["Size"]);

const results = new Map<Sample, Promise<readonly TensorData[]>>();

/** What ONNX Runtime computes for a sample, run once. */
function computed(sample: Sample): Promise<readonly TensorData[]> {
  let found = results.get(sample);
  if (found === undefined) {
    found = run(sample).catch((cause) => {
      throw new Error(`${titleOf(sample)}: ${cause.message}`, { cause });
    });
    results.set(sample, found);
  }
  return found;
}

async function run(sample: Sample): Promise<readonly TensorData[]> {
  const session = await openSession(modelOf(sample), { optimization: "disabled" });
  try {
    const outputs = await session.run(feedsOf(sample, 1));
    return Array.from({ length: sample.outputs ?? 1 }, (_, i) => outputs[outputName(i)] as TensorData);
  } finally {
    await session.close();
  }
}

/** What is wrong with what a rule infers of a sample. */
async function faults(rule: OpRule, sample: Sample, way: keyof typeof TOLD): Promise<string[]> {
  const facts = inferred(rule, TOLD[way](sample));
  const given = await computed(sample);
  return given.flatMap((tensor, i) => {
    const { dtype, shape } = tensor;
    return wrong(facts[i], rule.deterministic === false ? { dtype, shape } : tensor).map(
      (what) => `output ${i}: ${what}`,
    );
  });
}

describe.each(OPS.map((rule) => [keyOf(rule.name, rule.domain), rule] as const))("%s", (name, rule) => {
  const samples = samplesOf(rule);

  it("has a sample", () => expect(samples.length).toBeGreaterThan(0));

  if (NO_KERNEL[name] !== undefined) return;

  for (const way of Object.keys(TOLD) as (keyof typeof TOLD)[])
    it(`infers what ONNX Runtime gives, told ${way}`, async () => {
      for (const sample of samples) expect(await faults(rule, sample, way), titleOf(sample)).toEqual([]);
    });

  it("answers nonsense, or refuses it in words", () => {
    const next = random(1);
    for (const sample of samples) {
      const told = TOLD["all sizes"](sample);
      for (let i = 0; i < 30; i++) {
        const facts = [...told.facts].flatMap(([name, f]): [string, Fact][] => {
          const other = next() < 0.5 ? f : nonsense(next);
          return other ? [[name, other]] : [];
        });
        try {
          inferred(rule, { ...told, facts: new Map(facts) });
        } catch (error) {
          expect(error, `${titleOf(sample)} with ${JSON.stringify(facts)}`).toBeInstanceOf(MinnowError);
        }
      }
    }
  });

  it.each(Object.entries(BREAKS))("is caught with %s", async (what, change) => {
    let changed = 0;
    const breakFirst = (f: Fact | undefined, index: number) => {
      const other = index === 0 && f ? change(f) : undefined;
      if (other !== undefined && f?.value?.length !== 0) changed++;
      return other ?? f;
    };
    const broken: OpRule = { ...rule, infer: (n) => rule.infer(n).map(breakFirst) };
    const caught = await Promise.all(samples.map((sample) => faults(broken, sample, "all sizes")));
    // A rule need not follow numbers; the rest it has to show somewhere.
    const optional =
      what === "a number that is off by one" || (what === "a size that is off by one" && SCALAR.has(name));
    if (!optional) expect(changed).toBeGreaterThan(0);
    if (changed > 0) expect(caught.some((found) => found.length > 0)).toBe(true);
  });
});
