import { describe, expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import { bindDim, type Dim } from "../ir/dim.ts";
import { codeOf, type DType } from "../ir/dtype.ts";
import type { Attrs } from "../ir/graph.ts";
import type { Fact } from "./define.ts";
import { ruleOf } from "./index.ts";
import { applied } from "./infer.ts";

const fact = (dtype: DType, ...value: Dim[]): Fact => ({ dtype, shape: [value.length], value });
const sizes = (...value: Dim[]): Fact => fact("int64", ...value);

/** The numbers an operator gives on constants, or undefined where it does not say. */
function give(op: string, inputs: readonly Fact[], attrs: Attrs = {}): readonly Dim[] | undefined {
  const names = inputs.map((_, i) => `x${i}`);
  const facts = new Map(inputs.map((f, i) => [`x${i}`, f]));
  const node = { name: "", op, domain: "", inputs: names, outputs: ["y"], attrs };
  return ruleOf(node)?.infer(applied(node, new Map([["", 21]]), facts))[0]?.value;
}

const cast = (to: DType) => ({ to: int(codeOf(to)) });

describe("numbers followed through shape arithmetic", () => {
  it("stay polynomials in the sizes", () => {
    expect(give("Add", [sizes("N", 3), sizes(4)])).toEqual(["N+4", 7]);
    expect(give("Mul", [sizes("N", "M"), sizes(49, "N")])).toEqual(["N*49", "M*N"]);
    expect(give("Sub", [sizes("N"), sizes("N")])).toEqual([0]);
    expect(give("Div", [sizes("N*49"), sizes(49)])).toEqual(["N"]);
    expect(give("Neg", [sizes("N-1")])).toEqual(["-N+1"]);
    expect(give("ReduceProd", [sizes("N", 7, 7)])).toEqual(["N*49"]);
    expect(give("Sum", [sizes("N"), sizes("N"), sizes(1)])).toEqual(["N*2+1"]);
  });

  it("round down where a division leaves a rest", () => {
    const half = give("Div", [sizes("N"), sizes(2)])?.[0] ?? "";
    expect(bindDim(half, new Map([["N", 7]]))).toBe(3);
    expect(give("Div", [sizes(-7), sizes(2)])).toEqual([-3]);
    expect(give("Mod", [sizes(-7), sizes(2)])).toEqual([1]);
    expect(give("Mod", [sizes("N*4"), sizes(4)])).toEqual([0]);
  });

  it("go through floats and back: floor(float(N) · 0.5)", () => {
    const float = give("Cast", [sizes("N")], cast("float32")) ?? [];
    const scaled = give("Mul", [fact("float32", ...float), fact("float32", 0.5)]) ?? [];
    const floored = give("Floor", [fact("float32", ...scaled)]) ?? [];
    const back = give("Cast", [fact("float32", ...floored)], cast("int64"))?.[0] ?? "";
    expect(bindDim(back, new Map([["N", 7]]))).toBe(3);
    expect(bindDim(back, new Map([["N", 8]]))).toBe(4);
    const ceiled = give("Ceil", [fact("float32", ...scaled)])?.[0] ?? "";
    expect(bindDim(ceiled, new Map([["N", 7]]))).toBe(4);
  });

  it("say nothing where rounding could decide: float(N) · 0.1", () => {
    expect(give("Mul", [fact("float32", "N"), fact("float32", 0.1)])).toBeUndefined();
    expect(give("Add", [sizes(2 ** 60), sizes(1)])).toBeUndefined();
    expect(give("Add", [fact("uint8", 250), fact("uint8", 10)])).toBeUndefined();
    expect(give("Equal", [sizes(2 ** 63), sizes(2 ** 63)])).toBeUndefined();
  });
});

describe("comparisons of sizes", () => {
  it("know that a size is at least 1", () => {
    expect(give("Equal", [sizes("N"), sizes(-1)])).toEqual([0]);
    expect(give("Equal", [sizes("N"), sizes(0)])).toEqual([0]);
    expect(give("Greater", [sizes("N"), sizes(0)])).toEqual([1]);
    expect(give("Less", [sizes("N"), sizes(1)])).toEqual([0]);
    expect(give("GreaterOrEqual", [sizes("N*2"), sizes(2)])).toEqual([1]);
    expect(give("LessOrEqual", [sizes("N+M"), sizes(1)])).toEqual([0]);
    expect(give("Max", [sizes("N"), sizes(1)])).toEqual(["N"]);
    expect(give("Min", [sizes("N"), sizes("N+3")])).toEqual(["N"]);
    expect(give("Max", [sizes("N-5"), sizes(0)])).toEqual(["max(0,N-5)"]);
  });

  it("hold for every size or say nothing", () => {
    expect(give("Equal", [sizes("N"), sizes("N")])).toEqual([1]);
    expect(give("Equal", [sizes("N"), sizes("N+1")])).toEqual([0]);
    expect(give("Equal", [sizes("N"), sizes(1)])).toBeUndefined();
    expect(give("Equal", [sizes("N"), sizes("M")])).toBeUndefined();
    expect(give("Greater", [sizes("N"), sizes(1)])).toBeUndefined();
    expect(give("Greater", [sizes("N"), sizes("N")])).toEqual([0]);
  });

  it("choose in Where: an Expand target with −1 in it", () => {
    const target = sizes(-1, "N", 4);
    const isOpen = give("Equal", [target, sizes(-1)]) ?? [];
    expect(isOpen).toEqual([1, 0, 0]);
    expect(give("Where", [fact("bool", ...isOpen), sizes(1, 1, 1), target])).toEqual([1, "N", 4]);
  });
});
