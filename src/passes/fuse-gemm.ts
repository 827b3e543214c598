import { isReal } from "./numbers.ts";
import type { Pass } from "./pass.ts";
import { rewriting } from "./rewrite.ts";

/** Makes Gemm of MatMul and Add where the matrices are two-dimensional and what is added is a bias. */
export const fuseGemm = (): Pass =>
  rewriting("fuseGemm", ({ edit, fact, note }) => {
    for (const node of edit.nodes()) {
      if (node.op !== "Add" || node.domain !== "") continue;
      for (const side of [0, 1]) {
        const x = node.inputs[side] ?? "";
        const product = edit.writerOf(x);
        const [a = "", b = ""] = product?.inputs ?? [];
        if (product?.op !== "MatMul" || product.domain !== "") continue;
        if (edit.readersOf(x).length !== 1 || edit.isOutput(x)) continue;
        const bias = fact(node.inputs[1 - side] ?? "");
        const columns = fact(b)?.shape?.[1];
        if (fact(a)?.shape?.length !== 2 || fact(b)?.shape?.length !== 2 || columns === undefined) continue;
        if (bias?.shape === undefined || !isReal(bias.dtype) || node.inputs[0] === node.inputs[1]) continue;
        const row = bias.shape.length <= 2 && bias.shape.slice(0, -1).every((size) => size === 1);
        if (!row || ![1, columns].includes(bias.shape.at(-1) ?? 1)) continue;
        edit.change(node, { op: "Gemm", inputs: [a, b, node.inputs[1 - side] ?? ""], attrs: {} });
        edit.remove(product);
        note("Made a Gemm of MatMul and Add.", node);
        break;
      }
    }
  });
