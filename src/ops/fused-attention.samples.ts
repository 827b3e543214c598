import { float, int } from "../ir/attrs.ts";
import type { Attr } from "../ir/graph.ts";
import type { Sample, SampleInput } from "./sample.ts";

const x = (...shape: number[]): SampleInput => ({ shape });
const whole = (shape: number[], ...values: number[]): SampleInput => ({ shape, dtype: "int32", values });
const none = undefined;

/** 4 queries and 5 keys in 3 heads: of 8 numbers, values of 6. */
const [q, k, v] = [x(2, 4, 24), x(2, 5, 24), x(2, 5, 18)];

const multiHead = (inputs: Sample["inputs"], attrs: Record<string, Attr> = {}, outputs = 1): Sample => ({
  op: "MultiHeadAttention",
  domain: "com.microsoft",
  inputs,
  attrs: { num_heads: int(3), ...attrs },
  outputs,
});

/** 6 heads of 16 for queries, 2 for keys and values; 5 tokens of which all count. */
const [gq, gk, lengths, total] = [x(2, 5, 96), x(2, 5, 32), whole([2], 4, 4), whole([], 5)];

const grouped = (inputs: Sample["inputs"], attrs: Record<string, Attr> = {}, outputs = 3): Sample => ({
  op: "GroupQueryAttention",
  domain: "com.microsoft",
  inputs,
  attrs: { num_heads: int(6), kv_num_heads: int(2), ...attrs },
  outputs,
});

export const samples: readonly Sample[] = [
  multiHead([q, k, v], {}, 3),
  multiHead([q, k, v, x(66)], { scale: float(0.5) }),
  multiHead([q, k, v, none, whole([2], 3, 4)], { mask_filter_value: float(-100) }),
  multiHead([q, k, v, none, whole([2, 5], 1, 1, 1, 0, 0, 1, 1, 1, 1, 1)], { unidirectional: int(1) }),
  multiHead([q, k, v, none, none, x(1, 3, 4, 5)], { scale: float(0.4) }),
  multiHead([q, k, x(2, 5, 24), none, none, none, x(2, 3, 2, 8), x(2, 3, 2, 8)], {}, 3),
  multiHead([q, x(2, 3, 5, 8), x(2, 3, 5, 8)]),
  multiHead(
    [x(2, 1, 24), x(2, 1, 24), x(2, 1, 24), none, none, none, x(2, 3, 6, 8), x(2, 3, 6, 8), whole([1], 2)],
    {},
    3,
  ),
  grouped([gq, gk, gk, none, none, lengths, total]),
  grouped([x(2, 5, 160), none, none, none, none, lengths, { ...total, constant: true }], {
    causal: int(0),
    scale: float(0.3),
    softcap: float(2),
  }),
  grouped([x(2, 1, 96), x(2, 1, 32), x(2, 1, 32), x(2, 2, 3, 16), x(2, 2, 3, 16), whole([2], 3, 3), whole([], 4)]),
  grouped(
    [
      x(2, 1, 96),
      x(2, 1, 32),
      x(2, 1, 32),
      x(2, 2, 3, 16),
      x(2, 2, 3, 16),
      whole([2], 3, 3),
      { ...whole([], 4), constant: true },
    ],
    { local_window_size: int(2), sliding_window_cache: int(1) },
  ),
  grouped([gq, gk, gk, none, none, lengths, total, x(8, 8), x(8, 8)], {
    do_rotary: int(1),
    rotary_interleaved: int(1),
    local_window_size: int(2),
    smooth_softmax: int(1),
    qk_norm_epsilon: float(0.001),
  }),
  grouped(
    [
      gq,
      gk,
      gk,
      none,
      none,
      lengths,
      total,
      x(8, 8),
      x(8, 8),
      { shape: [2, 5], dtype: "int64", values: [0, 1, 2, 3, 4, 0, 1, 2, 3, 4] },
      x(1, 6, 5, 5),
      x(6),
    ],
    { do_rotary: int(1), qk_output: int(1) },
    4,
  ),
];
