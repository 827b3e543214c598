import { describe, expect, it } from "vitest";
import { codeOf } from "../ir/dtype.ts";
import { int, type Model } from "../ir/index.ts";
import { toBytes } from "../onnx/index.ts";
import { openSession } from "./index.ts";

/** Four numbers, cast to a type. */
const casting = (to: "int4" | "uint4" | "int8", typed: boolean): Model => ({
  graph: {
    name: "cast",
    inputs: [{ name: "x", type: { kind: "tensor", dtype: "float32", shape: [4] } }],
    outputs: [{ name: "y", ...(typed && { type: { kind: "tensor", dtype: to, shape: [4] } }) }],
    weights: new Map(),
    nodes: [{ name: "", op: "Cast", domain: "", inputs: ["x"], outputs: ["y"], attrs: { to: int(codeOf(to)) } }],
    valueInfo: new Map(),
  },
  opsets: new Map([["", 21]]),
  irVersion: 10,
  functions: [],
});

describe("A session in Node", () => {
  it("refuses 4-bit outputs, declared or inferred, instead of ending the process", async () => {
    for (const dtype of ["int4", "uint4"] as const)
      for (const typed of [true, false]) {
        const refusal = { code: "runtime/output-type", at: 'output "y"' };
        await expect(openSession(casting(dtype, typed))).rejects.toMatchObject(refusal);
        await expect(openSession(await toBytes(casting(dtype, typed)))).rejects.toMatchObject(refusal);
      }
  });

  it("takes 8-bit outputs, and leaves it to the runtime to refuse what is no model", async () => {
    const session = await openSession(casting("int8", false));
    const x = { dtype: "float32" as const, shape: [4], data: Float32Array.of(1, -2, 3, -4) };
    const { y } = await session.run({ x });
    expect([...(y!.data as Int8Array)]).toEqual([1, -2, 3, -4]);
    await session.close();
    await expect(openSession(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({ code: "runtime/load" });
  });
});
