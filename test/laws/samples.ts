import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { OpRule } from "../../src/ops/define.ts";
import { keyOf } from "../../src/ops/define.ts";
import type { Sample } from "../../src/ops/sample.ts";

const folder = fileURLToPath(new URL("../../src/ops/", import.meta.url));
const families = readdirSync(folder).filter((name) => name.endsWith(".samples.ts"));
const loaded = (await Promise.all(families.map((name) => import(folder + name)))) as { samples: readonly Sample[] }[];

/** The samples of every family: all `src/ops/*.samples.ts`. */
export const SAMPLES: readonly Sample[] = loaded.flatMap((family) => family.samples);

/** The samples of a rule's operator. */
export const samplesOf = (rule: OpRule): readonly Sample[] =>
  SAMPLES.filter((s) => keyOf(s.op, s.domain) === keyOf(rule.name, rule.domain));

/** A sample as a test's title: `Clip float32[2,3], -, float32[] const {min}`. */
export function titleOf(sample: Sample): string {
  const inputs = sample.inputs.map((input) => {
    if (input === undefined) return "-";
    const values = input.values && input.values.length <= 4 ? `=${input.values}` : "";
    return `${input.constant ? "const " : ""}${input.dtype ?? "float32"}[${input.shape}]${values}`;
  });
  const attrs = Object.keys(sample.attrs ?? {});
  return `${keyOf(sample.op, sample.domain)}(${inputs.join(", ")})${attrs.length > 0 ? ` {${attrs.join(", ")}}` : ""}`;
}
