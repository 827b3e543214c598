import { defineOp, type OpRule } from "./define.ts";
import { fact, required } from "./facts.ts";

/** Elementwise functions of one tensor that keep its type: same shape out as in. */
const elementwise = (name: string, since: number, quant?: OpRule["quant"]): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => [fact(required(n, 0).dtype, required(n, 0).shape)],
    axes: () => "... -> ...",
    ...(quant && { quant }),
  });

export const unary: readonly OpRule[] = [
  elementwise("Relu", 6, { kind: "clamp" }),
  elementwise("Sigmoid", 6, { kind: "range", range: [0, 1] }),
];
