import { describe, expect, it } from "vitest";
import { int, subgraph } from "../ir/attrs.ts";
import type { DType } from "../ir/dtype.ts";
import type { Attrs, Graph, Model, Node, ValueInfo } from "../ir/graph.ts";
import { type Tensor, tensorFrom } from "../ir/tensor.ts";
import { inferModel } from "./infer.ts";

const node = (op: string, inputs: string[], outputs: string[], attrs: Attrs = {}, domain = ""): Node => ({
  name: "",
  op,
  domain,
  inputs,
  outputs,
  attrs,
});
/** An operator nobody knows. */
const strange = (input: string, output: string): Node => node("Strange", [input], [output], {}, "my.own");

const tensor = (name: string, dtype: DType, ...shape: (number | string)[]): ValueInfo => ({
  name,
  type: { kind: "tensor", dtype, shape },
});

const graphOf = (
  inputs: readonly ValueInfo[],
  outputs: readonly string[],
  nodes: readonly Node[],
  weights: Readonly<Record<string, Tensor>> = {},
): Graph => ({
  name: "g",
  inputs,
  outputs: outputs.map((name) => ({ name })),
  weights: new Map(Object.entries(weights)),
  nodes,
  valueInfo: new Map(),
});

const factsOf = (graph: Graph) => {
  const opsets = new Map([
    ["", 21],
    ["my.own", 1],
  ]);
  const model: Model = { graph, opsets, irVersion: 10, functions: [] };
  return inferModel(model);
};

const x = tensor("x", "float32", 2, 3);

describe("What is known of a value", () => {
  it("is not what held before an operator nobody knows changed it, in a Loop", () => {
    const body = graphOf(
      [{ name: "i" }, { name: "go" }, { name: "v" }],
      ["on", "w", "s"],
      [node("Identity", ["go"], ["on"]), strange("v", "w"), node("Neg", ["v"], ["s"])],
    );
    const loop = node("Loop", ["m", "", "x"], ["last", "all"], { body: subgraph(body) });
    const facts = factsOf(graphOf([x], ["last", "all"], [loop], { m: tensorFrom("int64", [], [3]) }));
    expect(facts.get("last")?.shape).toBeUndefined();
    expect(facts.get("all")?.shape).toBeUndefined();
    expect(facts.get("v")).toBeUndefined();
  });

  it("is told in no time however deep Loops stand in Loops", () => {
    const nested = (depth: number): Node => {
      const inner = depth > 1 ? [nested(depth - 1)] : [];
      const [v, w, u] = [`v${depth}`, `w${depth}`, `u${depth}`];
      const nodes = [
        node("Identity", ["yes"], [`on${depth}`]),
        node("Concat", [v, "x"], [w], { axis: int(0) }),
        strange(u, `s${depth}`),
        ...inner,
      ];
      const body = graphOf(
        [`i${depth}`, `go${depth}`, v, u].map((name) => ({ name })),
        [`on${depth}`, w, `s${depth}`],
        nodes,
      );
      return node("Loop", ["m", "", "x", "x"], [`y${depth}`, `z${depth}`], { body: subgraph(body) });
    };
    const weights = { m: tensorFrom("int64", [], [3]), yes: tensorFrom("bool", [], [1]) };
    const start = performance.now();
    const facts = factsOf(graphOf([x], ["y30"], [nested(30)], weights));
    expect(performance.now() - start).toBeLessThan(2000);
    expect(facts.get("y30")?.shape).toEqual(["?", 3]);
  });

  it("is not what the other branch of an If says under the same name", () => {
    const known = graphOf([], ["t"], [node("Neg", ["x"], ["t"])]);
    const unknown = graphOf([], ["t"], [strange("x", "t")]);
    for (const [then, otherwise] of [
      [known, unknown],
      [unknown, known],
    ] as const) {
      const choice = node("If", ["c"], ["y"], { then_branch: subgraph(then), else_branch: subgraph(otherwise) });
      const facts = factsOf(graphOf([x, tensor("c", "bool")], ["y"], [choice]));
      expect(facts.get("y")).toBeUndefined();
    }
  });
});

describe("A declared size", () => {
  const sizesOf = (...shape: (number | string)[]) =>
    factsOf(graphOf([tensor("x", "float32", ...shape)], ["y"], [node("Neg", ["x"], ["y"])])).get("y")?.shape;

  it("keeps its name, a hyphen in it too", () => {
    expect(sizesOf("batch-size", "seq-len", "N")).toEqual(["batch-size", "seq-len", "N"]);
  });

  it("has a name of its own where the file gives none, or a negative number", () => {
    expect(sizesOf("?", "-1", 8)).toEqual(["x[0]", "x[1]", 8]);
  });
});
