import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addDim,
  bindDim,
  ceilDiv,
  type Dim,
  divideExactly,
  floorDiv,
  isKnown,
  lowest,
  maxDim,
  minDim,
  mulDim,
  namesIn,
  normal,
  sameDim,
  subDim,
  UNKNOWN,
} from "./dim.ts";

/** A size and what it comes to, made by the same arithmetic. */
interface Made {
  readonly dim: Dim;
  readonly value: number;
}

const SIZES = new Map([
  ["N", 3],
  ["M", 1],
  ["h_1", 7],
  ["seq-len", 2],
]);

const leaf = fc.oneof(
  fc.integer({ min: -3, max: 9 }).map((n): Made => ({ dim: n, value: n })),
  fc.constantFrom(...SIZES).map(([name, value]): Made => ({ dim: name, value })),
);

const { made } = fc.letrec<{ made: Made }>((tie) => ({
  made: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc
      .tuple(
        fc.constantFrom("+", "-", "*", "max", "min", "floor"),
        tie("made"),
        tie("made"),
        fc.integer({ min: 1, max: 5 }),
      )
      .map(([op, a, b, divisor]): Made => {
        if (op === "+") return { dim: addDim(a.dim, b.dim), value: a.value + b.value };
        if (op === "-") return { dim: subDim(a.dim, b.dim), value: a.value - b.value };
        if (op === "*") return { dim: mulDim(a.dim, b.dim), value: a.value * b.value + 0 };
        if (op === "max") return { dim: maxDim(a.dim, b.dim), value: Math.max(a.value, b.value) };
        if (op === "min") return { dim: minDim(a.dim, b.dim), value: Math.min(a.value, b.value) };
        return { dim: floorDiv(a.dim, divisor), value: Math.floor(a.value / divisor) + 0 };
      }),
  ),
}));

const claim = (what: string, holds: (a: Made, b: Made) => void) =>
  it(what, () => fc.assert(fc.property(made, made, holds), { numRuns: 3000, seed: 1 }));

describe("a size", () => {
  claim("comes to the same number however it was built", ({ dim, value }) => {
    expect(bindDim(dim, SIZES)).toBe(value);
  });

  claim("has one normal form, which reads back as itself", ({ dim }) => {
    expect(normal(dim)).toBe(dim);
  });

  claim("is never below its lowest bound", ({ dim, value }) => {
    expect(lowest(dim)).toBeLessThanOrEqual(value);
  });

  claim("is the same as another only where their numbers are equal", (a, b) => {
    if (sameDim(a.dim, b.dim)) expect(a.value).toBe(b.value);
    expect(addDim(a.dim, b.dim)).toBe(addDim(b.dim, a.dim));
    expect(mulDim(a.dim, b.dim)).toBe(mulDim(b.dim, a.dim));
  });

  claim("divides exactly into what gives it back", (a, b) => {
    const quotient = divideExactly(a.dim, b.dim);
    if (quotient !== undefined) expect(mulDim(quotient, b.dim)).toBe(a.dim);
  });

  claim("is given back by dividing a product by the other factor", (a, b) => {
    if (b.dim !== 0) expect(divideExactly(mulDim(a.dim, b.dim), b.dim)).toBe(a.dim);
  });

  claim("divided by another rounds down, or up, as their numbers do", (a, b) => {
    if (b.value <= 0) return;
    expect(bindDim(floorDiv(a.dim, b.dim), SIZES)).toBe(Math.floor(a.value / b.value) + 0);
    expect(bindDim(ceilDiv(a.dim, b.dim), SIZES)).toBe(Math.ceil(a.value / b.value) + 0);
  });

  claim("adds and multiplies in any grouping", (a, b) => {
    expect(subDim(addDim(a.dim, b.dim), b.dim)).toBe(a.dim);
    expect(mulDim(a.dim, addDim(b.dim, "M"))).toBe(addDim(mulDim(a.dim, b.dim), mulDim(a.dim, "M")));
    expect(addDim(addDim(a.dim, b.dim), "N")).toBe(addDim(a.dim, addDim(b.dim, "N")));
  });

  claim("may be bound name by name", ({ dim, value }) => {
    const some = bindDim(dim, new Map([["N", 3]]));
    expect(normal(some)).toBe(some);
    expect(bindDim(some, SIZES)).toBe(value);
  });

  claim("is a number once all its names are given", ({ dim }) => {
    expect(isKnown(dim) || namesIn(dim).every((name) => SIZES.has(name))).toBe(true);
  });

  it("stays unknown through all arithmetic", () => {
    expect(addDim(UNKNOWN, 1)).toBe(UNKNOWN);
    expect(floorDiv(UNKNOWN, 2)).toBe(UNKNOWN);
    expect(sameDim(UNKNOWN, UNKNOWN)).toBe(false);
    expect(lowest(UNKNOWN)).toBe(-Infinity);
  });

  it("reads as a person would write it", () => {
    expect(mulDim(addDim("N", 1), 49)).toBe("N*49+49");
    expect(normal("2 * N + N")).toBe("N*3");
    expect(ceilDiv("N", 2)).toBe("floor((N+1)/(2))");
    expect(divideExactly("N*49", "N")).toBe(49);
    expect(maxDim("N", 1)).toBe("N");
  });

  it("may have a name with a hyphen; a minus stands apart", () => {
    expect(namesIn("batch-size")).toEqual(["batch-size"]);
    expect(subDim("N", "seq-len")).toBe("N - seq-len");
    expect(namesIn("N - M")).toEqual(["N", "M"]);
    expect(normal("N-1")).toBe("N-1");
  });
});
