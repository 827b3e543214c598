import { describe, expect, it } from "vitest";
import { bytesSource } from "../../src/files/source.ts";
import { type Dim, UNKNOWN } from "../../src/ir/dim.ts";
import type { Model, ValueInfo } from "../../src/ir/graph.ts";
import { type TensorData, tensorOf } from "../../src/ir/tensor.ts";
import { readModel } from "../../src/onnx/index.ts";
import { ruleOf } from "../../src/ops/index.ts";
import { inferModel } from "../../src/ops/infer.ts";
import { type NodeTest, nodeTests } from "../conformance.ts";
import { real, WITHOUT_REAL } from "../real.ts";
import { bound, wrong } from "./facts.ts";

const tests: NodeTest[] = [];
for await (const test of nodeTests()) tests.push(test);

const opsetOf = (model: Model, domain: string): number => model.opsets.get(domain) ?? 1;

/** Whether every node has a rule for the form it is written in. */
const ruled = (model: Model): boolean =>
  model.graph.nodes.every((node) => opsetOf(model, node.domain) >= (ruleOf(node)?.since ?? Infinity));

/** How a test's inputs are told to `infer`. */
interface Telling {
  /** Whether this input counts as a constant. */
  readonly constant: (data: TensorData) => boolean;
  /** Declares its sizes. */
  readonly size: (size: number, axis: number, input: string) => Dim;
}

/** The model with its inputs declared like that, and nothing declared of what it computes. */
function stripped(model: Model, inputs: readonly (TensorData | undefined)[], { constant, size }: Telling): Model {
  const { graph } = model;
  const weights = new Map(graph.weights);
  const left = graph.inputs.flatMap((info, i): ValueInfo[] => {
    const data = inputs[i];
    if (data === undefined) return [info];
    const { dtype, shape } = data;
    if (constant(data) && !Array.isArray(data.data)) {
      const { buffer, byteOffset, byteLength } = data.data as Uint8Array;
      weights.set(info.name, tensorOf(dtype, shape, new Uint8Array(buffer, byteOffset, byteLength)));
      return [];
    }
    return [
      { name: info.name, type: { kind: "tensor", dtype, shape: shape.map((s, axis) => size(s, axis, info.name)) } },
    ];
  });
  const outputs = graph.outputs.map(({ name }) => ({ name }));
  return { ...model, graph: { ...graph, inputs: left, outputs, weights, valueInfo: new Map() } };
}

interface Outcome {
  readonly faults: string[];
  /** How many tests have a fact for every output. */
  covered: number;
  /** Operators of tests where a size of an output stays unknown, all of them being tensors. */
  readonly open: Set<string>;
}

async function judge(telling: Telling, sizes: ReadonlyMap<string, number> = new Map()): Promise<Outcome> {
  const out: Outcome = { faults: [], covered: 0, open: new Set() };
  for (const test of tests) {
    const model = await readModel(bytesSource(test.model, test.name));
    if (!ruled(model)) continue;
    try {
      const facts = inferModel(stripped(model, test.inputs, telling));
      const found = model.graph.outputs.map(({ name }) => facts.get(name)).map((f) => f && bound(f, sizes));
      for (const [i, fact] of found.entries()) {
        const expected = test.outputs[i];
        if (fact === undefined || expected === undefined) continue;
        const { dtype, shape } = expected;
        out.faults.push(...wrong(fact, { dtype, shape }).map((what) => `${test.name}: ${what}`));
      }
      if (found.every((fact) => fact !== undefined)) out.covered++;
      const tensors = test.outputs.every((output) => output !== undefined) && !ON_HALVES.test(test.name);
      if (tensors && found.some((fact) => fact?.shape?.includes(UNKNOWN) ?? true))
        for (const { op } of model.graph.nodes) out.open.add(op);
    } catch (error) {
      out.faults.push(`${test.name}: ${(error as Error).message}`);
    }
  }
  return out;
}

const asIs = (size: number): Dim => size;
const small = (data: TensorData): boolean => data.data.length <= 64;

/** Operators the sizes of whose outputs depend on large or random data. */
const OPEN = new Set(["Compress", "NonMaxSuppression", "NonZero", "Unique"]);

/** Tests whose sizes follow from halves, the numbers of which are not followed. */
const ON_HALVES = /^test_range_b?float16/;

const absent = real("conformance") === undefined;

describe.skipIf(absent)(absent ? WITHOUT_REAL : "ONNX's node tests", () => {
  it("come out in the types and shapes inferred from the shapes of their inputs", async () => {
    const { faults, covered } = await judge({ constant: () => false, size: asIs });
    expect(faults).toEqual([]);
    expect(covered).toBeGreaterThan(1400);
  });

  it("come out in the types and shapes inferred when small inputs are constants, no size left open", async () => {
    const { faults, open } = await judge({ constant: small, size: asIs });
    expect(faults).toEqual([]);
    expect([...open].filter((op) => !OPEN.has(op))).toEqual([]);
  });

  it("come out in the types and shapes inferred when sizes have names", async () => {
    const sizes = new Map<string, number>();
    const size = (known: number, axis: number, input: string): Dim => {
      if (known < 2) return known;
      const name = `${input.replace(/\W/g, "_")}_${axis}_${known}`;
      sizes.set(name, known);
      return name;
    };
    const { faults } = await judge({ constant: (data) => small(data) && data.dtype !== "float32", size }, sizes);
    expect(faults).toEqual([]);
  });
});
