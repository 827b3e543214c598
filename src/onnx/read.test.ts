import { describe, expect, it } from "vitest";
import { bytesSource, type Source } from "../files/source.ts";
import type { DType } from "../ir/dtype.ts";
import { codeOf } from "../ir/dtype.ts";
import { readData, viewOf } from "../ir/tensor.ts";
import { load, readModel, readTensorProto, toBytes } from "./index.ts";
import type { Raw } from "./schema.ts";
import { blob, bytesOf, fixed32, floats2, joined, modelFile, packed, RELU, varint, weight } from "./wire.samples.ts";

const again = async (file: Uint8Array) => load(await toBytes(await load(file)));

/** A model with one weight whose data stands in a field of its own. */
const withTensor = (dtype: DType, dims: number[], field: Uint8Array): Uint8Array =>
  modelFile({ ...RELU, weights: [{ name: "w", dims, dtype: codeOf(dtype), unknown: [field] }] });

const bytesOfWeight = async (file: Uint8Array) => [...(await (await load(file)).graph.weights.get("w")!.read())];

describe("A tensor's numbers come as little-endian bytes, whatever field they stand in", () => {
  const cases: [DType, number[], Uint8Array, number[]][] = [
    ["float32", [2], blob(4, bytesOf(Float32Array.of(1, -2))), [0, 0, 128, 63, 0, 0, 0, 192]],
    ["float32", [2], fixed32(4, 1, -2), [0, 0, 128, 63, 0, 0, 0, 192]],
    ["complex64", [1], fixed32(4, 1, -2), [0, 0, 128, 63, 0, 0, 0, 192]],
    ["float64", [1], blob(10, bytesOf(Float64Array.of(1))), [0, 0, 0, 0, 0, 0, 240, 63]],
    ["int32", [2], packed(5, [1, -2]), [1, 0, 0, 0, 254, 255, 255, 255]],
    ["int32", [2], joined([varint(5, 1), varint(5, -2)]), [1, 0, 0, 0, 254, 255, 255, 255]],
    ["float16", [2], packed(5, [0x3c00, 0xc000]), [0, 60, 0, 192]],
    ["bfloat16", [1], packed(5, [0x3f80]), [128, 63]],
    ["int8", [2], packed(5, [-1, 7]), [255, 7]],
    ["uint8", [2], packed(5, [255, 7]), [255, 7]],
    ["bool", [2], packed(5, [1, 0]), [1, 0]],
    ["float8e4m3fn", [2], packed(5, [0x38, 0xb8]), [0x38, 0xb8]],
    ["int4", [3], packed(5, [0x21, 0x0f]), [0x21, 0x0f]],
    ["uint2", [5], packed(5, [0xe4, 0x01]), [0xe4, 0x01]],
    ["float4e2m1", [2], packed(5, [0x7a]), [0x7a]],
    ["int64", [2], packed(7, [-(2n ** 63n), 5]), [0, 0, 0, 0, 0, 0, 0, 128, 5, 0, 0, 0, 0, 0, 0, 0]],
    ["uint64", [1], packed(11, [-1]), [255, 255, 255, 255, 255, 255, 255, 255]],
    ["uint32", [1], packed(11, [0xffffffff]), [255, 255, 255, 255]],
  ];
  it.each(cases)("%s %j", async (dtype, dims, field, expected) => {
    const file = withTensor(dtype, dims, field);
    expect(await bytesOfWeight(file)).toEqual(expected);
    expect(await bytesOfWeight(await toBytes(await load(file)))).toEqual(expected);
  });

  it("also where there are too many to hold them", async () => {
    const values = Array.from({ length: 5000 }, (_, i) => (i - 2500) * 2 ** 30);
    const weights: Raw<"Tensor">[] = [
      { name: "ints", dims: [5000], dtype: 7, unknown: [packed(7, values)] },
      { name: "floats", dims: [5000], dtype: 1, unknown: [blob(4, bytesOf(Float32Array.from(values)))] },
    ];
    const { graph } = await load(modelFile({ ...RELU, weights }));
    const ints = graph.weights.get("ints")!;
    expect(ints.bytes).toBeUndefined();
    expect([...(await readData(ints)).data].map(Number)).toEqual(values);
    expect([...viewOf("int64", await ints.read({ offset: 8, length: 8 }))].map(Number)).toEqual([values[1]]);
    expect((await readData(graph.weights.get("floats")!)).data).toEqual(Float32Array.from(values));
  });

  it("strings keep their bytes", async () => {
    const strings = ["", "é", "a\u0000b"].map((s) => new TextEncoder().encode(s));
    const file = modelFile({ ...RELU, weights: [{ name: "w", dims: [3], dtype: 8, stringData: strings }] });
    expect((await again(file)).graph.weights.get("w")?.strings).toEqual(strings);
  });

  it("a tensor file is read by itself", async () => {
    const tensor = joined([packed(1, [2]), varint(2, 1), fixed32(4, 3, 4)]);
    expect(await readTensorProto(tensor)).toEqual({ dtype: "float32", shape: [2], data: Float32Array.of(3, 4) });
  });
});

describe("Large data stays in the file until it is asked for", () => {
  /** A source that counts what is read of it. */
  function counted(bytes: Uint8Array): Source & { count: number } {
    const source = { ...bytesSource(bytes), count: 0 };
    const { read } = source;
    source.read = (offset, length) => {
      source.count += length;
      return read(offset, length);
    };
    return source;
  }

  it("in weights, constants, subgraphs and functions alike", async () => {
    const constant: Raw<"Node"> = {
      op: "Constant",
      outputs: ["c"],
      attrs: [{ name: "value", type: 4, tensor: weight("", 300_000, 2) }],
    };
    const branch: Raw<"Graph"> = { nodes: [constant], weights: [weight("v", 300_000, 3)], outputs: [{ name: "c" }] };
    const nodes: Raw<"Node">[] = [
      { op: "Relu", inputs: ["x"], outputs: ["y"] },
      { op: "If", inputs: ["x"], outputs: ["z"], attrs: [{ name: "then_branch", type: 5, graph: branch }] },
    ];
    const f: Raw<"Function"> = { name: "f", domain: "d", outputs: ["c"], nodes: [constant] };
    const file = modelFile({ ...RELU, nodes, weights: [weight("w", 300_000)] }, { functions: [f] });
    const source = counted(file);
    const model = await readModel(source);
    expect(file.length).toBeGreaterThan(4_800_000);
    expect(source.count).toBeLessThan(600_000);
    const then = model.graph.nodes[1]?.attrs.then_branch;
    const inner = then?.type === "graph" ? then.value : undefined;
    const value = inner?.nodes[0]?.attrs.value;
    const tensor = value?.type === "tensor" ? value.value : undefined;
    expect(tensor?.bytes).toBeUndefined();
    expect(viewOf("float32", await tensor!.read({ offset: 4, length: 4 }))[0]).toBe(2);
    expect(viewOf("float32", await inner!.weights.get("v")!.read())[299_999]).toBe(3);
    expect(Buffer.compare(await toBytes(await again(file)), await toBytes(model))).toBe(0);
  });

  it("small tensors are at hand", async () => {
    const { graph } = await load(modelFile({ ...RELU, weights: [weight("w", 1024), weight("v", 1025)] }));
    expect(graph.weights.get("w")?.bytes?.length).toBe(4096);
    expect(graph.weights.get("v")?.bytes).toBeUndefined();
  });
});

describe("What the graph has no words for is kept and written back", () => {
  it("unknown fields of every message", async () => {
    const mark = (n: number) => [varint(100 + n, n), blob(200 + n, new Uint8Array(n))];
    const tensor: Raw<"Tensor"> = { ...weight("w", 1), unknown: mark(1) };
    const type: Raw<"Type"> = { tensor: { dtype: 1 }, unknown: mark(2) };
    const node: Raw<"Node"> = {
      ...RELU.nodes![0],
      attrs: [{ name: "a", type: 2, int: 1, unknown: mark(3) }],
      unknown: mark(4),
    };
    const inputs = [{ name: "x", type, unknown: mark(5) }];
    const sparse: Raw<"SparseTensor"> = {
      values: weight("s", 1),
      indices: { dims: [1], dtype: 7, rawData: new Uint8Array(8) },
      dims: [9],
      unknown: mark(6),
    };
    const graph: Raw<"Graph"> = {
      ...RELU,
      inputs,
      weights: [tensor],
      sparseWeights: [sparse],
      nodes: [node],
      unknown: mark(7),
    };
    const functions = [{ name: "f", domain: "d", unknown: mark(8) }];
    const file = modelFile(graph, { functions, unknown: mark(9) });
    expect(await toBytes(await load(file))).toEqual(file);
  });

  it("types and attributes of kinds it does not know", async () => {
    const opaque = blob(2, blob(7, blob(1, new TextEncoder().encode("domain"))));
    const odd = { name: "odd", type: 99, int: 3 };
    const graph = { ...RELU, inputs: [{ name: "x", unknown: [opaque] }], nodes: [{ ...RELU.nodes![0], attrs: [odd] }] };
    const file = modelFile(graph);
    const model = await load(file);
    expect(model.graph.inputs[0]?.type).toBeUndefined();
    expect(model.graph.nodes[0]?.attrs).toEqual({});
    expect(await toBytes(model)).toEqual(file);
  });

  it("denotations of types and of axes", async () => {
    const dims = [{ param: "N", denotation: "DATA_BATCH" }, { value: 3 }];
    const x = { name: "x", type: { tensor: { dtype: 1, shape: { dims } }, denotation: "IMAGE" } };
    const file = modelFile({ ...RELU, inputs: [x] });
    expect(await toBytes(await load(file))).toEqual(file);
  });

  it("descriptions and metadata wherever they stand", async () => {
    const more = { doc: "said", metadata: [{ key: "k", value: "v" }] };
    const { graph, metadata, functions } = await again(
      modelFile(
        {
          ...RELU,
          ...more,
          nodes: [{ ...RELU.nodes![0], ...more }],
          weights: [{ ...weight("w", 1), ...more }],
          inputs: [{ ...floats2("x"), ...more }],
        },
        { ...more, functions: [{ name: "f", domain: "d", ...more }] },
      ),
    );
    const expected = { doc: "said", metadata: new Map([["k", "v"]]) };
    expect(metadata).toEqual(expected.metadata);
    for (const holder of [graph, graph.nodes[0], graph.inputs[0], graph.weights.get("w"), functions[0]])
      expect(holder).toMatchObject(expected);
  });
});

describe("Reading a model", () => {
  it("tells an attribute without a type by the field that is set", async () => {
    const attrs: Raw<"Attribute">[] = [
      { name: "i", int: 0 },
      { name: "f", float: 0.5 },
      { name: "s", string: new Uint8Array([65]) },
      { name: "is", ints: [1, 2] },
      { name: "t", tensor: weight("", 1) },
    ];
    const { graph } = await again(modelFile({ ...RELU, nodes: [{ ...RELU.nodes![0], attrs }] }));
    const types = Object.entries(graph.nodes[0]!.attrs).map(([name, { type }]) => [name, type]);
    expect(types).toEqual([
      ["i", "int"],
      ["f", "float"],
      ["s", "string"],
      ["is", "ints"],
      ["t", "tensor"],
    ]);
  });

  it("takes lists packed and unpacked, integers of 64 bits, and any attribute's name", async () => {
    const unpacked = joined([varint(8, 1), varint(8, 2n ** 62n), varint(20, 7), blob(1, new Uint8Array([97]))]);
    const attrs: Raw<"Attribute">[] = [
      { unknown: [unpacked] },
      { name: "__proto__", type: 7, ints: [-1, -(2n ** 63n)] },
    ];
    const { graph } = await again(modelFile({ ...RELU, nodes: [{ ...RELU.nodes![0], attrs }] }));
    const read = Object.entries(graph.nodes[0]!.attrs);
    expect(read).toEqual([
      ["a", { type: "ints", value: [1, 2n ** 62n] }],
      ["__proto__", { type: "ints", value: [-1, -(2n ** 63n)] }],
    ]);
  });

  it("keeps an IR 3 model's weights among its inputs", async () => {
    const graph = { ...RELU, inputs: [floats2("x"), floats2("w")], weights: [weight("w", 2)] };
    const model = await again(modelFile(graph, { irVersion: 3 }));
    expect(model.irVersion).toBe(3);
    expect(model.graph.inputs.map((i) => i.name)).toEqual(["x", "w"]);
    expect([...model.graph.weights.keys()]).toEqual(["w"]);
  });

  it("keeps functions with the attributes they pass on", async () => {
    const f: Raw<"Function"> = {
      name: "Leaky",
      domain: "mine",
      inputs: ["a"],
      outputs: ["b"],
      attributes: ["alpha"],
      defaults: [{ name: "beta", type: 1, float: 0.5 }],
      nodes: [{ op: "LeakyRelu", inputs: ["a"], outputs: ["b"], attrs: [{ name: "alpha", type: 1, ref: "alpha" }] }],
      opsets: [{ version: 17 }],
    };
    const [read] = (await again(modelFile(RELU, { functions: [f] }))).functions;
    expect(read).toMatchObject({ name: "Leaky", domain: "mine", attributes: ["alpha"], opsets: new Map([["", 17]]) });
    expect(read?.defaults).toEqual({ beta: { type: "float", value: 0.5 } });
    expect(read?.nodes[0]?.attrs).toEqual({ alpha: { type: "ref", value: "alpha", of: 1 } });
  });

  it("knows sequences, optionals, maps and sparse tensors", async () => {
    const of: Raw<"Type"> = { tensor: { dtype: 1, shape: {} } };
    const types: Raw<"Type">[] = [
      { sequence: { of } },
      { optional: { of: { sequence: { of } } } },
      { map: { key: 7, of } },
      { sparse: { dtype: 1, shape: { dims: [{ param: "n" }, { value: -1 }, {}] } } },
    ];
    const { graph } = await again(modelFile({ ...RELU, valueInfo: types.map((type, i) => ({ name: `v${i}`, type })) }));
    const scalar = { kind: "tensor", dtype: "float32", shape: [] };
    expect([...graph.valueInfo.values()].map((v) => v.type)).toEqual([
      { kind: "sequence", of: scalar },
      { kind: "optional", of: { kind: "sequence", of: scalar } },
      { kind: "map", key: "int64", of: scalar },
      { kind: "sparse", dtype: "float32", shape: ["n", "?", "?"] },
    ]);
  });

  it("puts nodes in order and calls ai.onnx by its short name", async () => {
    const nodes = [
      { op: "Relu", inputs: ["m"], outputs: ["y"] },
      { op: "Neg", inputs: ["x"], outputs: ["m"], domain: "ai.onnx" },
    ];
    const { graph, opsets } = await load(
      modelFile({ ...RELU, nodes }, { opsets: [{ domain: "ai.onnx", version: 9 }] }),
    );
    expect(graph.nodes.map((n) => [n.op, n.domain])).toEqual([
      ["Neg", ""],
      ["Relu", ""],
    ]);
    expect(opsets).toEqual(new Map([["", 9]]));
  });
});
