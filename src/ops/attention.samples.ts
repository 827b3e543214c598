import { float, int } from "../ir/attrs.ts";
import type { Attr } from "../ir/graph.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x = (...shape: number[]): SampleInput => ({ shape });
const whole = (shape: number[], ...values: number[]): SampleInput => ({ shape, dtype: "int64", values });
const attention = (inputs: Sample["inputs"], attrs: Record<string, Attr> = {}, outputs = 1, opset = 24): Sample => ({
  op: "Attention",
  opset,
  inputs,
  attrs,
  outputs,
});

/** Cosines or sines of 6 positions for heads of 8 (or of `pairs` pairs). */
const table = (pairs = 4): SampleInput => x(6, pairs);
const positions = whole([2, 3], 0, 2, 4, 1, 3, 5);
const microsoft = { op: "RotaryEmbedding", domain: "com.microsoft" };

export const samples: readonly Sample[] = [
  attention([x(2, 3, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6)], { scale: float(0.3) }),
  attention([x(2, 6, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6)], { scale: float(0.3) }, 1, 23),
  attention([x(2, 4, 24), x(2, 5, 24), x(2, 5, 18)], {
    q_num_heads: int(3),
    kv_num_heads: int(3),
    is_causal: int(1),
    softcap: float(2),
    softmax_precision: int(1),
  }),
  attention([x(2, 4, 24), x(2, 5, 8), x(2, 5, 12)], { q_num_heads: int(6), kv_num_heads: int(2), scale: float(0.5) }),
  attention(
    [x(2, 3, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6), x(4, 7), x(2, 3, 2, 8), x(2, 3, 2, 6)],
    { qk_matmul_output_mode: int(1), scale: float(0.3) },
    4,
  ),
  attention([x(2, 3, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6), x(2, 1, 4, 5)]),
  attention([x(2, 3, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6), x(3, 4, 5)], { scale: float(0.4) }),
  attention([x(2, 3, 4, 8), x(2, 3, 5, 8), x(2, 3, 5, 6), x(4, 5), undefined, undefined, whole([2], 5, 3)]),
  attention(
    [x(2, 4, 24), x(2, 5, 12), x(2, 5, 8), x(2, 1, 4, 7), x(2, 2, 2, 6), x(2, 2, 2, 4)],
    { q_num_heads: int(4), kv_num_heads: int(2), softcap: float(1.5), qk_matmul_output_mode: int(2) },
    4,
  ),
  attention([x(2, 4, 3, 8), x(2, 2, 5, 8), x(2, 2, 5, 6)], { qk_matmul_output_mode: int(3), is_causal: int(1) }, 4),
  { op: "RotaryEmbedding", opset: 23, inputs: [x(2, 2, 3, 8), table(), table(), positions] },
  {
    op: "RotaryEmbedding",
    opset: 23,
    inputs: [x(2, 3, 16), x(2, 3, 2), x(2, 3, 2)],
    attrs: { num_heads: int(2), interleaved: int(1), rotary_embedding_dim: int(4) },
  },
  { ...microsoft, inputs: [x(2, 2, 3, 8), positions, table(), table()], attrs: { interleaved: int(1) } },
  { ...microsoft, inputs: [x(2, 3, 16), whole([1], 2), table(), table()], attrs: { scale: float(0.5) } },
  { ...microsoft, inputs: [x(2, 3, 16), positions, table(), table()], attrs: { is_packed_batching: int(1) } },
  {
    ...microsoft,
    inputs: [x(2, 3, 16), positions, table(2), table(2)],
    attrs: { num_heads: int(2), rotary_embedding_dim: int(4) },
  },
];
