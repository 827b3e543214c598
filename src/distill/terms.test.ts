import { describe, expect, it } from "vitest";
import golden from "../../test/golden/distillation.json" with { type: "json" };
import { int } from "../ir/attrs.ts";
import { edit } from "../ir/edit.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession } from "../runtime/index.ts";
import { backward } from "../train/differentiate.ts";
import { attentionTransfer, hiddenCosine, hints } from "./features.ts";
import { attentionDivergence, attentionSquared, hiddenSquared, layerMap, valueRelation } from "./layers.ts";
import { decoupled, scoresCosine, scoresSquared, softTargets } from "./logits.ts";
import { contrastive, relational } from "./relations.ts";
import type { Term } from "./terms.ts";

interface Case {
  readonly student: readonly number[];
  readonly studentShape: readonly number[];
  readonly teacher: readonly number[];
  readonly teacherShape: readonly number[];
  readonly loss: number;
  readonly gradient: readonly number[];
  readonly labels?: readonly number[];
}

const pairs = [{ student: "s", teacher: "t" }];
const TERMS: Readonly<Record<keyof typeof golden, Term>> = {
  softTargets: softTargets({ temperature: 3 }),
  decoupled: decoupled(),
  decoupledUnlabelled: decoupled(),
  scoresSquared: scoresSquared(),
  scoresCosine: scoresCosine(),
  hints: hints({ pairs }),
  hintsPooled: hints({ pairs }),
  attentionTransfer: attentionTransfer({ pairs }),
  hiddenCosine: hiddenCosine({ pairs }),
  relational: relational(),
  contrastive: contrastive(),
  attentionSquared: attentionSquared({ pairs }),
  attentionHeads: attentionSquared({ pairs }),
  hiddenSquared: hiddenSquared({ pairs }),
  attentionDivergence: attentionDivergence({ pairs }),
  valueRelation: valueRelation({ pairs }),
};

/** A term and its gradient by the student's numbers, run. */
async function evaluate(term: Term, { student, studentShape, teacher, teacherShape, labels }: Case) {
  const info = (name: string, shape: readonly number[]): ValueInfo => ({
    name,
    type: { kind: "tensor", dtype: "float32", shape },
  });
  const inputs = [info("s", studentShape), info("t", teacherShape)];
  const opsets = new Map([["", 18]]);
  const graph = { name: "term", inputs, outputs: [], weights: new Map(), nodes: [], valueInfo: new Map() };
  const model: Model = { graph, opsets, irVersion: 8, functions: [] };
  const e = edit(graph);
  const facts = new Map(inferModel(model));
  const g = new Emitter(e, facts, opsets);
  const rows = labels && g.constant("int64", [labels.length], labels);
  const loss = term.build(g, {
    scores: () => ({ student: "s", taught: "t" }),
    labels: () => rows ?? g.op("ArgMax", ["t"], { axis: int(1), keepdims: int(0) }),
    pairs: term.pairs === undefined ? [] : pairs,
  });
  const gradient = backward(g, facts, loss, ["s"]).get("s") as string;
  e.setOutputs([{ name: loss }, { name: gradient }]);
  const session = await openSession({ ...model, graph: e.done() });
  const feed = (data: readonly number[], shape: readonly number[]): TensorData => ({
    dtype: "float32",
    shape,
    data: Float32Array.from(data),
  });
  const results = await session.run({ s: feed(student, studentShape), t: feed(teacher, teacherShape) });
  await session.close();
  return { loss: results[loss]?.data[0] as number, gradient: Array.from(results[gradient]?.data as Float32Array) };
}

describe("every term", () => {
  for (const [name, term] of Object.entries(TERMS))
    it(`${name} has PyTorch's value and gradient`, async () => {
      const expected = golden[name as keyof typeof golden] as Case;
      const { loss, gradient } = await evaluate(term, expected);
      expect(Math.abs(loss - expected.loss)).toBeLessThan(2e-5 * Math.max(1, Math.abs(expected.loss)));
      const most = Math.max(...expected.gradient.map(Math.abs));
      for (const [i, value] of gradient.entries())
        expect(Math.abs(value - (expected.gradient[i] as number)), `number ${i}`).toBeLessThan(1e-4 * most);
    });

  it("is least, and flat, where the student equals its teacher", async () => {
    for (const [name, term] of Object.entries(TERMS)) {
      if (name === "contrastive" || name === "hintsPooled" || name === "attentionHeads") continue;
      const given = golden[name as keyof typeof golden] as Case;
      const equal = { ...given, teacher: given.student, teacherShape: given.studentShape };
      const { loss, gradient } = await evaluate(term, equal);
      expect(Math.abs(loss), name).toBeLessThan(1e-5);
      // Of probabilities the gradient is flat only among those that sum to 1.
      if (name !== "attentionDivergence") expect(Math.max(...gradient.map(Math.abs)), name).toBeLessThan(1e-5);
    }
  });

  it("refuses values that cannot be compared", async () => {
    const given = { ...(golden.hints as Case), teacher: Array(3 * 4 * 9).fill(1), teacherShape: [3, 4, 3, 3] };
    await expect(evaluate(hints({ pairs }), given)).rejects.toThrow(
      "A value of the student is [3,4,4,4], and the teacher's [3,4,3,3].",
    );
  });
});

describe("layerMap", () => {
  it("pairs every n-th layer, the last ones, or those that are named", () => {
    const teacher = ["a", "b", "c", "d"];
    const taught = (map?: "uniform" | "last" | number[]) =>
      layerMap(["x", "y"], teacher, map).map((pair) => pair.teacher);
    expect([taught(), taught("last"), taught([0, 1])]).toEqual([
      ["b", "d"],
      ["c", "d"],
      ["a", "b"],
    ]);
    expect(() => layerMap(["x", "y"], ["a"], "last")).toThrow("Layer 0 of the student learns from layer -1");
    expect(() => layerMap(["x", "y"], teacher, [0])).toThrow("Layer 1 of the student learns from layer -1");
  });
});
