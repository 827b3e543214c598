import { describe, expect, it } from "vitest";
import { subgraph } from "./attrs.ts";
import { edit, inOrder } from "./edit.ts";
import type { Graph, Node } from "./graph.ts";
import { float32s, int64s } from "./tensor.ts";
import { verifyGraph } from "./verify.ts";

const node = (name: string, inputs: string[], outputs: string[], more: Partial<Node> = {}): Node => ({
  name,
  op: "Relu",
  domain: "",
  inputs,
  outputs,
  attrs: {},
  ...more,
});

const graphOf = (nodes: Node[], outputs: string[], inputs = ["x"]): Graph => ({
  name: "g",
  inputs: inputs.map((name) => ({ name })),
  outputs: outputs.map((name) => ({ name })),
  weights: new Map([["w", float32s([1], [1])]]),
  nodes,
  valueInfo: new Map(),
});

/** x → a → b → y */
const chain = () => graphOf([node("1", ["x"], ["a"]), node("2", ["a"], ["b"]), node("3", ["b"], ["y"])], ["y"]);

const arrows = (graph: Graph): string[] => graph.nodes.map((n) => `${n.inputs}>${n.outputs}`);

describe("an edit", () => {
  it("gives the very same graph when nothing was edited", () => {
    const graph = chain();
    const e = edit(graph);
    e.fresh("a");
    expect(e.done()).toBe(graph);
  });

  it("leaves the graph it began with as it was, and shares untouched nodes", () => {
    const graph = chain();
    const before = structuredClone(arrows(graph));
    const e = edit(graph);
    e.change(graph.nodes[1]!, { op: "Abs" });
    const after = e.done();
    expect(arrows(graph)).toEqual(before);
    expect(graph.nodes[1]?.op).toBe("Relu");
    expect(after.nodes[0]).toBe(graph.nodes[0]);
    expect(after.nodes[1]?.op).toBe("Abs");
  });

  it("makes names that nothing has, inside other graphs neither", () => {
    const inner = graphOf([node("i", ["a"], ["a_1"])], ["a_1"], []);
    const graph = graphOf([node("1", ["x"], ["a"]), node("2", [], ["y"], { attrs: { body: subgraph(inner) } })], ["y"]);
    const e = edit(graph);
    expect(["a", "a", "new", "new"].map((base) => e.fresh(base))).toEqual(["a_2", "a_3", "new", "new_1"]);
  });

  it("adds fresh names to the names it is given, so that edits of several graphs agree", () => {
    const names = new Set(["a"]);
    expect([edit(chain(), names).fresh("a"), edit(chain(), names).fresh("a")]).toEqual(["a_1", "a_2"]);
  });

  it("keeps changes that came before when a node is changed again through an old handle", () => {
    const graph = chain();
    const e = edit(graph);
    e.change(graph.nodes[0]!, { op: "Abs" });
    e.change(graph.nodes[0]!, { name: "first" });
    expect(e.done().nodes[0]).toMatchObject({ op: "Abs", name: "first" });
  });

  it("puts nodes in topological order, wherever they were added", () => {
    const graph = chain();
    const e = edit(graph);
    const [z] = e.add({ op: "Neg", inputs: ["a"] });
    e.change(graph.nodes[1]!, { inputs: [z!] });
    const after = e.done();
    verifyGraph(after, new Set());
    expect(arrows(after)).toEqual(["x>a", `a>${z}`, `${z}>b`, "b>y"]);
  });

  it("refuses a cycle, naming a node of it", () => {
    const nodes = [node("1", ["b"], ["a"]), node("2", ["a"], ["b"])];
    expect(() => inOrder(nodes)).toThrow(/Relu "1"/);
  });

  it("refuses a node that is not in the graph", () => {
    const e = edit(chain());
    expect(() => e.remove(node("other", [], []))).toThrow(/not in the graph/);
  });

  it("puts constants in the place of a node under the name it wrote", () => {
    const graph = chain();
    const e = edit(graph);
    e.harden(graph.nodes[1]!, [int64s([3])]);
    const after = e.done();
    expect(arrows(after)).toEqual(["x>a", "b>y"]);
    expect(after.weights.get("b")?.shape).toEqual([1]);
  });

  it("replaces a node by several that write the same name", () => {
    const graph = chain();
    const e = edit(graph);
    e.replace(
      graph.nodes[1]!,
      { op: "Neg", inputs: ["a"], outputs: ["t"] },
      { op: "Neg", inputs: ["t"], outputs: ["b"] },
    );
    expect(arrows(e.done())).toEqual(["x>a", "a>t", "t>b", "b>y"]);
  });
});

describe("reroute", () => {
  it("sends all who read a value to another, those inside other graphs too", () => {
    const inner = graphOf([node("i", ["a"], ["o"])], ["o"], []);
    const branch = node("2", ["a"], ["y"], { attrs: { body: subgraph(inner) } });
    const e = edit(graphOf([node("1", ["x"], ["a"]), branch], ["y"]));
    const [z] = e.add({ op: "Neg", inputs: ["a"] });
    expect(e.reroute("a", z!)).toBe(true);
    const after = e.done();
    verifyGraph(after, new Set());
    const last = after.nodes.at(-1)!;
    expect(last.inputs).toEqual([z]);
    expect(last.attrs).toMatchObject({ body: { value: { nodes: [{ inputs: [z] }] } } });
  });

  it("keeps the name of a graph output: what computes the new value takes it", () => {
    const e = edit(chain());
    const [z] = e.add({ op: "Neg", inputs: ["y"] });
    expect(e.reroute("y", z!)).toBe(true);
    const after = e.done();
    verifyGraph(after, new Set());
    expect(after.outputs).toEqual([{ name: "y" }]);
    expect(after.nodes.at(-1)).toMatchObject({ op: "Neg", inputs: ["y_1"], outputs: ["y"] });
  });

  it("changes nothing where a graph output would become an input, a weight or another output", () => {
    const graph = graphOf([node("1", ["x"], ["y"]), node("2", ["x"], ["z"])], ["y", "z"]);
    const e = edit(graph);
    expect([e.reroute("y", "x"), e.reroute("y", "w"), e.reroute("y", "z")]).toEqual([false, false, false]);
    expect(e.done()).toBe(graph);
  });
});

describe("bypass", () => {
  it("takes a node out and gives its input to all who read it, added nodes included", () => {
    const graph = chain();
    const e = edit(graph);
    e.replace(graph.nodes[2]!, { op: "Neg", inputs: ["b"], outputs: ["y"] });
    expect(e.bypass(graph.nodes[1]!, "a")).toBe(true);
    expect(arrows(e.done())).toEqual(["x>a", "a>y"]);
  });

  it("lets what computes the input write a graph output", () => {
    const graph = chain();
    const e = edit(graph);
    expect(e.bypass(graph.nodes[2]!, "b")).toBe(true);
    expect(arrows(e.done())).toEqual(["x>a", "a>y"]);
  });

  it("takes a whole row out, one by one", () => {
    const graph = chain();
    const e = edit(graph);
    for (const n of graph.nodes.slice(1)) expect(e.bypass(n, e.current(n)!.inputs[0]!)).toBe(true);
    expect(arrows(e.done())).toEqual(["x>y"]);
  });

  it("keeps a node between an input or a weight and a graph output", () => {
    const graph = graphOf([node("1", ["x"], ["y"]), node("2", ["w"], ["z"])], ["y", "z"]);
    const e = edit(graph);
    expect([e.bypass(graph.nodes[0]!, "x"), e.bypass(graph.nodes[1]!, "w")]).toEqual([false, false]);
    expect(e.done()).toBe(graph);
  });
});
