import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Attr } from "../../src/ir/graph.ts";
import { keyOf } from "../../src/ops/define.ts";
import { OPS } from "../../src/ops/index.ts";
import { samplesOf } from "./samples.ts";

/** What ONNX says of an operator; written by scripts/schema.py. A name ends in `?` where it is optional, in `*` where it repeats. */
interface Schema {
  readonly since: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: readonly string[];
  readonly outputs: readonly [least: number, most: number];
}

const SCHEMAS: Readonly<Record<string, Schema>> = JSON.parse(
  readFileSync(new URL("./schema.json", import.meta.url), "utf8"),
);

const EIGHT_BITS = "it is about 8-bit floats, which ONNX Runtime's JavaScript cannot return";

/** What no sample can show, and why. */
const NO_ZERO = "ONNX Runtime refuses or aborts without it";

const BATCH_FIRST = "ONNX Runtime refuses it; ONNX's node tests stand for it";

const UNKNOWN_YET = "ONNX Runtime 1.30 does not know it yet";

const NOT_ON_CPU = "ONNX Runtime has it for graphics processors alone";

const UNSEEN: Readonly<Record<string, string>> = {
  "com.microsoft:QLinearAdd.A_zero_point": NO_ZERO,
  "com.microsoft:QLinearAdd.B_zero_point": NO_ZERO,
  "com.microsoft:QLinearAveragePool.x_zero_point": NO_ZERO,
  "com.microsoft:QLinearMul.A_zero_point": NO_ZERO,
  "com.microsoft:QLinearMul.B_zero_point": NO_ZERO,
  "com.microsoft:QLinearSigmoid.X_zero_point": NO_ZERO,
  "com.microsoft:QLinearSigmoid.Y_zero_point": NO_ZERO,
  "com.microsoft:QLinearLeakyRelu.X_zero_point": NO_ZERO,
  "com.microsoft:QLinearLeakyRelu.Y_zero_point": NO_ZERO,
  "com.microsoft:QLinearSoftmax.x_zero_point": NO_ZERO,
  "Attention.left_window_size": UNKNOWN_YET,
  "Attention.right_window_size": UNKNOWN_YET,
  "GRU.layout": BATCH_FIRST,
  "LSTM.layout": BATCH_FIRST,
  "RNN.layout": BATCH_FIRST,
  "Cast.saturate": EIGHT_BITS,
  "Cast.round_mode": EIGHT_BITS,
  "CastLike.saturate": EIGHT_BITS,
  "CastLike.round_mode": EIGHT_BITS,
  "Constant.sparse_value": "ONNX Runtime's JavaScript cannot return a sparse tensor",
  "GroupNormalization.stash_type": "ONNX Runtime knows only 1",
  "LayerNormalization.stash_type": "ONNX Runtime knows only 1",
  "RMSNormalization.stash_type": "ONNX Runtime knows only 1",
  "com.microsoft:GroupQueryAttention.k_quant_type": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.v_quant_type": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.kv_cache_bit_width": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.k_scale": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.v_scale": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.q_norm_weight": NOT_ON_CPU,
  "com.microsoft:GroupQueryAttention.k_norm_weight": NOT_ON_CPU,
  "com.microsoft:MultiHeadAttention.cache_indirection": NOT_ON_CPU,
  "com.microsoft:MultiHeadAttention.key": NOT_ON_CPU,
  "com.microsoft:MultiHeadAttention.value": NOT_ON_CPU,
  "com.microsoft:MultiHeadAttention.outputs": "the type of the last has to be declared",
  "com.microsoft:MatMulNBits.weight_prepacked": "the CPU has no packed form",
  "com.microsoft:MatMulNBits.g_idx": "the CPU kernel refuses it",
};

const plain = (attr: Attr): unknown => {
  if (attr.type === "string") return new TextDecoder().decode(attr.value);
  if (attr.type === "int") return Number(attr.value);
  if (attr.type === "ints") return attr.value.map(Number);
  if (attr.type === "strings") return attr.value.map((v) => new TextDecoder().decode(v));
  return attr.type === "float" || attr.type === "floats" ? attr.value : attr.type;
};

const same = (a: unknown, b: unknown): boolean =>
  typeof a === "number" && typeof b === "number"
    ? Math.fround(a) === Math.fround(b)
    : JSON.stringify(a) === JSON.stringify(b);

describe.each(OPS.map((rule) => [keyOf(rule.name, rule.domain), rule] as const))("The samples of %s", (name, rule) => {
  const samples = samplesOf(rule);
  const schema = SCHEMAS[name];

  it("have a schema to be held against", () =>
    expect(schema, "add it to scripts/schema.py and run that").toBeDefined());
  if (schema === undefined) return;

  it("give every attribute a value that is not its default", () => {
    const unseen = Object.entries(schema.attributes).filter(
      ([key, fallback]) =>
        UNSEEN[`${name}.${key}`] === undefined &&
        !samples.some(({ attrs }) => attrs?.[key] !== undefined && !same(plain(attrs[key]), fallback)),
    );
    expect(unseen.map(([key]) => key)).toEqual([]);
  });

  it("name no attribute that ONNX does not know", () => {
    const given = samples.flatMap(({ attrs }) => Object.keys(attrs ?? {}));
    expect(given.filter((key) => !(key in schema.attributes))).toEqual([]);
  });

  it("give every optional input, and leave it out", () => {
    const unseen = schema.inputs.filter((input, i) => {
      if (UNSEEN[`${name}.${input.replace(/[?*]$/, "")}`] !== undefined) return false;
      if (input.endsWith("?"))
        return !samples.some((s) => s.inputs[i] !== undefined) || !samples.some((s) => s.inputs[i] === undefined);
      return input.endsWith("*") && !samples.some((s) => s.inputs.length > i + 1);
    });
    expect(unseen).toEqual([]);
  });

  it("ask for every output", () => {
    const asked = Math.max(0, ...samples.map((s) => s.outputs ?? 1));
    const [least, most] = schema.outputs;
    const last = UNSEEN[`${name}.outputs`] === undefined ? most : most - 1;
    expect(asked).toBeGreaterThanOrEqual(most > 100 ? Math.max(least, 2) : last);
  });
});
