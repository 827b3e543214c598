import { describe, expect, it } from "vitest";
import type { TensorData } from "../../src/ir/tensor.ts";
import { keyOf } from "../../src/ops/define.ts";
import { factorOf, linked, type Place, placesOf } from "../../src/ops/factors.ts";
import { OPS } from "../../src/ops/index.ts";
import { applied } from "../../src/ops/infer.ts";
import type { Sample } from "../../src/ops/sample.ts";
import { openSession } from "../../src/runtime/index.ts";
import { feedsOf, modelOf, outputName } from "../../src/testing/single.ts";
import { TOLD } from "./facts.ts";
import { samplesOf, titleOf } from "./samples.ts";

const factors = (size: number): number[] => Array.from({ length: size }, (_, i) => [0.5, 3, 1, 2, 0.25][i % 5]!);

/** The tensor with every index of an axis multiplied by its factor. */
function multiplied({ data, ...rest }: TensorData, axis: number, by: readonly number[]): TensorData {
  const inner = rest.shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const values = data as Float32Array;
  return { ...rest, data: values.map((value, i) => value * by[Math.floor(i / inner) % by.length]!) };
}

/** What a sample's rule says of factors along an axis of its first fed input: which operands have them, and how much. */
function said(sample: Sample, axis: number, from: number) {
  const { model, facts } = TOLD["all sizes"](sample);
  const node = model.graph.nodes[0]!;
  const rule = OPS.find((r) => keyOf(r.name, r.domain) === keyOf(node.op, node.domain))!;
  const n = applied(node, model.opsets, facts);
  const mapped = { ...n, results: rule.infer(n) };
  const [kind, places] = [factorOf(mapped), placesOf(mapped)];
  const source = places?.inputs[from]?.[axis];
  if (kind === undefined || places === undefined || source === undefined || source.length < 2) return undefined;
  const by = factors(source.length);
  const along = (axes: readonly (readonly Place[] | undefined)[]) =>
    axes.flatMap((place, at) => {
      const pairs = place === undefined ? [] : linked(source, place);
      const complete = place !== undefined && new Set(pairs.map(([, q]) => q)).size === place.length;
      return complete ? [{ at, by: place.map((_, q) => by[pairs.find((pair) => pair[1] === q)![0]]!), pairs }] : [];
    });
  const outputs = places.outputs.map(along);
  // What several positions of the source make one position of has no factor of its own.
  const clear = (axes: ReturnType<typeof along>) => axes.length === 1 && axes[0]!.pairs.length === axes[0]!.by.length;
  if (!clear(outputs[0] ?? [])) return undefined;
  const inputs = places.inputs.map((axes, i) => (i === from ? [{ at: axis, by, pairs: [] }] : along(axes)));
  return { kind, inputs, output: outputs[0]![0]! };
}

let checked = 0;

describe("a factor along an axis passes as the rule says", () => {
  for (const rule of OPS)
    for (const sample of samplesOf(rule)) {
      const input = sample.inputs[0];
      const axes = input === undefined || input.constant || (input.dtype ?? "float32") !== "float32" ? [] : input.shape;
      const told = axes.flatMap((_, axis) => {
        const what = said(sample, axis, 0);
        return what === undefined ? [] : [what];
      });
      if (told.length > 0 && rule.deterministic !== false)
        it(titleOf(sample), async (context) => {
          const session = await openSession(modelOf(sample), { optimization: "disabled" }).catch(() => undefined);
          if (session === undefined) context.skip("ONNX Runtime has no kernel");
          try {
            const feeds = feedsOf(sample, 1);
            const plain = (await session!.run(feeds))[outputName(0)]!;
            for (const { kind, inputs, output } of told) {
              const every = inputs.every((at, i) => feeds[`x${i}`] === undefined || at.length === 1);
              if (kind === "all" && (!every || sample.inputs.some((x) => x?.constant))) continue;
              const scaled = { ...feeds };
              for (const [i, [at]] of inputs.entries())
                if (at !== undefined && (i === 0 || kind === "all"))
                  scaled[`x${i}`] = multiplied(feeds[`x${i}`]!, at.at, at.by);
              const got = (await session!.run(scaled))[outputName(0)]!.data as Float32Array;
              const wanted = multiplied(plain, output.at, output.by).data as Float32Array;
              for (let i = 0; i < wanted.length; i++)
                expect(Math.abs(got[i]! - wanted[i]!)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(wanted[i]!)));
              checked++;
            }
          } finally {
            await session!.close();
          }
        });
    }
  it("and what a rule calls a square is one", async () => {
    const scalar = { shape: [], constant: true, values: [2] };
    for (const sample of [{ op: "Pow", inputs: [{ shape: [2, 3] }, scalar] }] satisfies Sample[]) {
      const { model, facts } = TOLD["all sizes"](sample);
      const rule = OPS.find((r) => r.name === sample.op)!;
      expect(rule.square?.(applied(model.graph.nodes[0]!, model.opsets, facts))).toBe(true);
      const session = await openSession(modelOf(sample));
      const feeds = feedsOf(sample, 1);
      const y = (await session.run(feeds))[outputName(0)]!.data as Float32Array;
      for (const [i, value] of y.entries()) expect(value).toBeCloseTo(Number(feeds["x0"]!.data[i]) ** 2, 5);
      await session.close();
    }
  });
  it("of more than a hundred axes", () => expect(checked).toBeGreaterThan(100));
});
