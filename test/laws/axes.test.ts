import { describe, expect, it } from "vitest";
import type { TensorData, TypedArray } from "../../src/ir/tensor.ts";
import { keyOf, type OpRule } from "../../src/ops/define.ts";
import { OPS } from "../../src/ops/index.ts";
import { applied } from "../../src/ops/infer.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession, type Session } from "../../src/runtime/index.ts";
import { feedsOf, modelOf, outputName } from "../../src/testing/single.ts";
import { TOLD } from "./facts.ts";
import { samplesOf, titleOf } from "./samples.ts";

/** The map a rule gives for a sample: operands on either side, or the reason why there is none. */
function mapOf(rule: OpRule, sample: Sample): { left: string[]; right: string[] } | { reason: string } | undefined {
  const { model, facts } = TOLD["all sizes"](sample);
  const node = model.graph.nodes[0];
  if (node === undefined || rule.axes === undefined) return undefined;
  const n = applied(node, model.opsets, facts);
  const said = rule.axes({ ...n, results: rule.infer(n) });
  if (typeof said !== "string" && "frozen" in said) return { reason: said.frozen };
  const [left = "", right = ""] = (typeof said === "string" ? said : said.map).split("->");
  const operands = (side: string) => side.split(",").map((s) => s.trim());
  return { left: operands(left), right: operands(right) };
}

/** Which letter each axis of an operand has, where it is a plain one; axes of `...` are counted from their right. */
function keysOf(operand: string, rank: number): (string | undefined)[] {
  const tokens = operand.match(/[!~^]?(?:\.\.\.|[A-Za-z]|\d+|\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\])/g) ?? [];
  const spread = rank - tokens.length + 1;
  const keys = tokens.flatMap((token): (string | undefined)[] => {
    if (token.endsWith("..."))
      return Array.from({ length: spread }, (_, i) => (token === "..." ? `.${spread - i}` : undefined));
    return [/^[A-Za-z]$/.test(token) ? token : undefined];
  });
  return keys.length === rank ? keys : [];
}

/** The indices along an axis of an output at which two runs differ. */
function movedAlong(a: TensorData, b: TensorData, axis: number): Set<number> {
  const inner = a.shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const moved = new Set<number>();
  for (let i = 0; i < a.data.length; i++)
    if (!Object.is(a.data[i], b.data[i])) moved.add(Math.floor(i / inner) % (a.shape[axis] ?? 1));
  return moved;
}

/** A copy with one slice of it taken from another. */
function withSlice(into: TensorData, from: TensorData, axis: number, index: number): TensorData {
  const inner = into.shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const data = (into.data as TypedArray).slice() as TypedArray;
  for (let i = 0; i < data.length; i++)
    if (Math.floor(i / inner) % (into.shape[axis] ?? 1) === index) data[i] = from.data[i] as never;
  return { ...into, data };
}

/** Whether an operand has a letter twice: a recurrence reads it all at every step. */
const recurs = (letter: string, operands: readonly string[]): boolean =>
  operands.some((operand) => /^[a-z]$/i.test(letter) && operand.split(letter).length > 2);

interface Move {
  readonly at: string;
  readonly index: number;
  readonly moved: ReadonlySet<number>;
}

/** For every axis that the map follows from an input to an output: where the output moves when one slice of the input does. */
async function moves(
  sample: Sample,
  left: readonly string[],
  right: readonly string[],
  session: Session,
): Promise<Move[]> {
  const [one, other] = [feedsOf(sample, 1), feedsOf(sample, 2)];
  const before = await session.run(one);
  const out: Move[] = [];
  for (const [i, operand] of left.entries()) {
    const [input, fresh] = [one[`x${i}`], other[`x${i}`]];
    if (input === undefined || fresh === undefined || Array.isArray(input.data) || sample.inputs[i]?.values) continue;
    for (const [axis, key] of keysOf(operand, input.shape.length).entries()) {
      const index = (input.shape[axis] ?? 1) - 1;
      if (key === undefined || index < 1 || recurs(key, left)) continue;
      const after = await session.run({ ...one, [`x${i}`]: withSlice(input, fresh, axis, index) });
      for (const [o, result] of right.entries()) {
        const [a, b] = [before[outputName(o)], after[outputName(o)]];
        if (a === undefined || b === undefined) continue;
        const to = keysOf(result, a.shape.length).indexOf(key);
        if (to >= 0)
          out.push({ at: `input ${i} axis ${axis}, output ${o} axis ${to}`, index, moved: movedAlong(a, b, to) });
      }
    }
  }
  return out;
}

/** Operators whose outputs no drawn number moves. */
const STILL = new Set(["IsNaN"]);

const followed = OPS.filter((rule) => rule.axes !== undefined && rule.deterministic !== false);

describe.each(followed.map((rule) => [keyOf(rule.name, rule.domain), rule] as const))(
  "The axes of %s",
  (name, rule) => {
    const samples = samplesOf(rule);

    it("have an operand for each input and output, or a reason", () => {
      for (const sample of samples) {
        const map = mapOf(rule, sample);
        if (map === undefined) continue;
        if ("reason" in map) expect(map.reason.length).toBeGreaterThan(5);
        else {
          if (sample.inputs.length > 0) expect(map.left.length, titleOf(sample)).toBe(sample.inputs.length);
          expect(map.right.length, titleOf(sample)).toBe(sample.outputs ?? 1);
        }
      }
    });

    it("carry a change of one index to that index alone, and would not to another", async () => {
      const all: Move[] = [];
      for (const sample of samples) {
        const map = mapOf(rule, sample);
        if (map === undefined || "reason" in map) continue;
        const session = await openSession(modelOf(sample), { optimization: "disabled" });
        const found = await moves(sample, map.left, map.right, session);
        await session.close();
        for (const { at, index, moved } of found)
          expect(
            [...moved].filter((i) => i !== index),
            `${titleOf(sample)}: ${at}`,
          ).toEqual([]);
        all.push(...found);
      }
      // Held against a map that is off by one, some sample has to disagree: it moved at all.
      if (all.length > 0 && !STILL.has(name)) expect(all.some(({ moved }) => moved.size > 0)).toBe(true);
    });
  },
);
