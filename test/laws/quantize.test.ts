import { describe, expect, it } from "vitest";
import { arrays, type Dataset } from "../../src/data/index.ts";
import { MinnowError } from "../../src/errors.ts";
import { float32s, int, ints, type Model, type Node, type Tensor, verify } from "../../src/ir/index.ts";
import { compare } from "../../src/measure/index.ts";
import { normal, random } from "../../src/numeric/random.ts";
import { load, toBytes } from "../../src/onnx/index.ts";
import type { Pass } from "../../src/passes/index.ts";
import * as quantize from "../../src/quantize/index.ts";

const next = random(21);
const drawn = (...shape: number[]): Tensor =>
  float32s(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0.15 * normal(next)),
  );
const node = (op: string, inputs: string[], output: string, attrs: Node["attrs"] = {}): Node => ({
  ...{ name: `n_${output}`, op, domain: "", inputs, outputs: [output], attrs },
});
const value = (name: string, ...shape: (number | string)[]) =>
  ({ name, type: { kind: "tensor", dtype: "float32", shape } }) as const;

/** Products and a convolution; the row length is symbolic where `open`. */
function net(weights: Record<string, Tensor> = {}, nodes: Node[] = [], open = false): Model {
  const own = { w: drawn(32, 64), v: drawn(64, 64), b: drawn(64), k: drawn(1, 1, 3, 3), u: drawn(64, 32) };
  return {
    graph: {
      name: "net",
      inputs: [open ? value("x", "N", "L", 32) : value("x", "N", 4, 32)],
      outputs: [{ name: "y" }],
      weights: new Map(Object.entries({ ...own, one: ones(1), ...weights })),
      nodes: [
        node("MatMul", ["x", "w"], "p"),
        node("Relu", ["p"], "q"),
        node("MatMul", ["q", "v"], "r"),
        node("Add", ["r", "b"], "s"),
        node("Tanh", ["s"], "t"),
        ...(nodes.length > 0 ? nodes : [node("MatMul", ["t", "u"], "y")]),
      ],
      valueInfo: new Map(),
    },
    opsets: new Map([["", 21]]),
    irVersion: 10,
    functions: [],
  };
}
const ones = (count: number) => float32s([count], new Float32Array(count).fill(1));

const data = (make: () => number = () => normal(next), count = 6): Dataset =>
  arrays({
    x: { dtype: "float32", shape: [count, 4, 32], data: Float32Array.from({ length: count * 128 }, make) },
  });
const examples = data();

/** Every way to quantize, and the least signal to noise it keeps on a net like this one. */
const WAYS: Readonly<Record<string, readonly [make: (data: Dataset) => Pass, least: number]>> = {
  static: [(data) => quantize.quantizeStatic({ data }), 20],
  "static, GPTQ, channels split": [(data) => quantize.quantizeStatic({ data, gptq: true, splitChannels: true }), 20],
  "static, bias corrected": [(data) => quantize.quantizeStatic({ data, method: "mse", biasCorrection: true }), 20],
  dynamic: [() => quantize.quantizeDynamic(), 25],
  q8: [() => quantize.quantizeWeights({ bits: 8 }), 25],
  q4: [() => quantize.quantizeWeights({ bits: 4 }), 8],
  "q4, GPTQ": [(data) => quantize.quantizeWeights({ bits: 4, gptq: true, data }), 8],
  "q4 as QDQ": [() => quantize.quantizeWeights({ bits: 4, quantFormat: "QDQ" }), 8],
  nf4: [() => quantize.quantizeWeights({ levels: "nf4" }), 8],
  fp16: [() => quantize.convertFloat16(), 40],
  q4f16: [() => quantize.quantizeMode("q4f16"), 8],
  "int8 storage": [() => quantize.storeWeights({ to: "int8" }), 30],
  "int4 storage": [() => quantize.storeWeights({ to: "int4" }), 8],
  "codebook storage": [() => quantize.storeWeights({ to: "codebook" }), 8],
  mixed: [(data) => quantize.quantizeMixed({ plan: { n_p: "int8", n_r: "q4", n_y: "int4-storage" }, data }), 8],
};

/** The least SQNR of a result's outputs, after the laws every result keeps: it verifies, survives the file, loads and runs. */
async function checked(before: Model, after: Model, on: Dataset = examples): Promise<number> {
  verify(after);
  const read = await load(await toBytes(after));
  return Math.min(
    ...(await compare(before, read, on)).outputs.map(({ sqnr, broken }) => (broken > 0 ? -Infinity : sqnr)),
  );
}

const all = Object.entries(WAYS);
const whys = (error: unknown): string => {
  expect(error).toBeInstanceOf(MinnowError);
  expect((error as MinnowError).mend).toBeTruthy();
  return (error as MinnowError).code;
};

describe("whatever is quantized", () => {
  it("stays near to float, and a second time comes back as it was or stays as near", async () => {
    for (const [name, [make, least]] of all) {
      const model = net();
      const once = await make(examples).run(model);
      expect(await checked(model, once.model), name).toBeGreaterThan(least);
      const twice = await make(examples).run(once.model);
      expect(twice.changes.length + once.changes.length, name).toBeGreaterThan(0);
      expect(await checked(model, twice.model), `${name} again`).toBeGreaterThan(least - 3);
    }
  });

  it("may be quantized already in another way, in part or whole: it still verifies, loads, and is no further off than both", async () => {
    const model = net();
    const firsts = ["static", "dynamic", "q4", "q4 as QDQ", "fp16", "int8 storage"].map(
      (name) => [name, WAYS[name]!] as const,
    );
    for (const [first, [before, leastBefore]] of firsts) {
      const { model: begun } = await before(examples).run(model);
      for (const [name, [make, least]] of all.filter(([name]) => name !== "mixed")) {
        const { model: made } = await make(examples).run(begun);
        expect(await checked(model, made), `${first}, then ${name}`).toBeGreaterThan(Math.min(least, leastBefore) - 4);
      }
    }
  });

  it("keeps a shared weight one, and one with a table it is tied to", async () => {
    const shared = [node("MatMul", ["t", "v"], "z"), node("MatMul", ["z", "u"], "y")];
    const tied = [node("Transpose", ["w"], "turned", { perm: ints([1, 0]) }), node("MatMul", ["t", "turned"], "y")];
    for (const [what, nodes] of [
      ["shared", shared],
      ["tied", tied],
    ] as const)
      for (const [name, [make, least]] of all.filter(([name]) => name !== "mixed")) {
        const model = net({}, [...nodes]);
        const { model: made } = await make(examples).run(model);
        expect(await checked(model, made), `${what}, ${name}`).toBeGreaterThan(least - 4);
        const large = [...made.graph.weights.values()].filter(({ shape }) => shape.reduce((a, b) => a * b, 1) >= 1024);
        const before = [...model.graph.weights.values()].filter(
          ({ shape }) => shape.reduce((a, b) => a * b, 1) >= 1024,
        );
        if (what === "shared") expect(large.length, name).toBeLessThanOrEqual(before.length);
      }
  });

  it("may have sizes that are open", async () => {
    for (const [name, [make, least]] of all) {
      const model = net({}, [], true);
      const { model: made } = await make(examples).run(model);
      expect(await checked(model, made), name).toBeGreaterThan(least);
      const longer = arrays({
        x: { dtype: "float32", shape: [2, 9, 32], data: Float32Array.from({ length: 576 }, () => normal(next)) },
      });
      expect(await checked(model, made, longer), name).toBeGreaterThan(least - 8);
    }
  });

  it("may have weights of zeros, or be calibrated on what is constant", async () => {
    for (const [name, [make]] of all) {
      const model = net({ v: float32s([64, 64], new Float32Array(4096)) });
      const { model: made } = await make(examples).run(model);
      expect(await checked(model, made), name).toBeGreaterThan(8);
      for (const constant of [0, 1]) {
        const same = data(() => constant);
        const { model: on } = await make(same).run(net());
        expect(await checked(net(), on, same), `${name} on ${constant}`).not.toBeNaN();
      }
    }
  });

  it("may be calibrated on what is far too large now and then, NaN or infinite: what it gives is finite", async () => {
    for (const [name, [make]] of all)
      for (const odd of [1e6, Number.NaN, Infinity]) {
        let count = 0;
        const strange = data(() => (count++ === 300 ? odd : normal(next)));
        const made = await make(strange)
          .run(net())
          .catch((error: unknown) => whys(error));
        if (typeof made === "string") expect(made, `${name} on ${odd}`).toMatch(/^(quantize|data)\//);
        else expect(await checked(net(), made.model), `${name} on ${odd}`).not.toBe(-Infinity);
      }
  });

  it("is refused by name where a weight holds NaN, before or while it is written", async () => {
    for (const [name, [make]] of all) {
      const values = new Float32Array(4096).fill(0.1);
      values[77] = Number.NaN;
      const model = net({ v: float32s([64, 64], values) });
      const code = await make(examples)
        .run(model)
        .then(({ model: made }) => toBytes(made))
        .then(
          () => "nothing",
          (error: unknown) => whys(error),
        );
      // Sixteen bits have NaN as well: what was broken stays as broken as it was.
      expect(code, name).toBe(name === "fp16" ? "nothing" : "quantize/broken-weight");
    }
  });

  it("without data says so at once where it is calibrated, and needs none elsewhere", () => {
    expect(() => quantize.quantizeStatic({})).toThrow(MinnowError);
    expect(() => quantize.quantizeWeights({ gptq: true })).toThrow(MinnowError);
    expect(() => quantize.storeWeights({ to: "int8", biasCorrection: true })).toThrow(MinnowError);
    expect(() => quantize.quantizationAware({} as never)).toThrow(MinnowError);
  });

  it("may have weights without elements", async () => {
    for (const [name, [make]] of all.filter(([name]) => name !== "mixed")) {
      const model = net({ none: float32s([64, 0], []) }, [
        node("MatMul", ["t", "none"], "empty"),
        node("Concat", ["t", "empty"], "both", { axis: int(-1) }),
        node("MatMul", ["both", "u"], "y"),
      ]);
      const { model: made } = await make(examples).run(model);
      expect(await checked(model, made), name).toBeGreaterThan(8);
    }
  });
});
