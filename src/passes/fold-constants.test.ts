import { describe, expect, it } from "vitest";
import { subgraph } from "../ir/attrs.ts";
import type { Graph, Model, Node, ValueInfo } from "../ir/graph.ts";
import { float32s, int64s } from "../ir/tensor.ts";
import { toBytes } from "../onnx/index.ts";
import { optimize } from "./optimize.ts";

const node = (op: string, inputs: string[], output: string, attrs: Node["attrs"] = {}): Node => ({
  ...{ name: output, op, domain: "", inputs, outputs: [output], attrs },
});

const value = (name: string, dtype: "float32" | "bool", shape: (number | string)[]): ValueInfo => ({
  name,
  type: { kind: "tensor", dtype, shape },
});

const graph = (name: string, nodes: Node[], output: ValueInfo, rest: Partial<Graph> = {}): Graph => ({
  ...{ name, inputs: [], outputs: [output], weights: new Map(), nodes, valueInfo: new Map() },
  ...rest,
});

describe("folding constants", () => {
  it("copies no weight of the graph around a branch into it", async () => {
    const numbers = Float32Array.from({ length: 256 * 256 }, (_, i) => Math.sin(i));
    const branch = (name: string) =>
      graph(
        name,
        [node("Unsqueeze", ["w", "axes"], `${name}.u`), node("Mul", [`${name}.u`, "x"], `${name}.y`)],
        value(`${name}.y`, "float32", [1, 256, 256]),
      );
    const model: Model = {
      graph: graph(
        "outer",
        [node("If", ["cond"], "y", { then_branch: subgraph(branch("then")), else_branch: subgraph(branch("else")) })],
        value("y", "float32", [1, 256, 256]),
        {
          inputs: [value("cond", "bool", []), value("x", "float32", [1, 256, 256])],
          weights: new Map([
            ["w", float32s([256, 256], numbers)],
            ["axes", int64s([0])],
          ]),
        },
      ),
      opsets: new Map([["", 18]]),
      irVersion: 8,
      functions: [],
    };
    const before = (await toBytes(model)).byteLength;
    const { model: after } = await optimize().run(model);
    expect((await toBytes(after)).byteLength).toBeLessThanOrEqual(before);
  });
});
