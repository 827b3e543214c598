import { describe, expect, it } from "vitest";
import { type Random, random } from "../numeric/random.ts";
import {
  type Axis,
  freeze,
  keep,
  leaves,
  type Masks,
  ONE,
  sizeAfter,
  sizeOf,
  unify,
  type Var,
  variable,
} from "./axis.ts";

const below = (next: Random, n: number): number => Math.floor(next() * n);

/** A random axis of a size: its variables new ones, or those of `pool` that fit. */
function axisOf(size: number, next: Random, pool: Var[]): Axis {
  const kind = next();
  if (size > 3 && kind < 0.3) {
    const at = 1 + below(next, size - 1);
    return { cat: [axisOf(at, next, pool), axisOf(size - at, next, pool)] };
  }
  const divisors = Array.from({ length: size }, (_, i) => i + 1).filter((d) => size % d === 0);
  if (kind < 0.65) {
    const d = divisors[below(next, divisors.length)] as number;
    if (d > 1 && d < size) return { prod: [axisOf(d, next, pool), axisOf(size / d, next, pool)] };
  }
  if (size === 1) return ONE;
  const old = pool.filter((v) => v.size === size);
  if (old.length > 0 && kind > 0.9) return old[below(next, old.length)] as Var;
  const made = variable(size);
  pool.push(made);
  return made;
}

/** Seeded masks for every variable that may lose something. */
function masksFor(axes: readonly Axis[], next: Random): Masks {
  const free = new Set(axes.flatMap((axis) => [...leaves(axis)]).filter((leaf) => leaf.frozen === undefined));
  return new Map([...free].map((v) => [v, Uint8Array.from({ length: v.size }, () => (next() < 0.6 ? 1 : 0))]));
}

const text = (axis: Axis, masks: Masks): string => (keep(axis, masks) ?? new Uint8Array(sizeOf(axis)).fill(1)).join("");

describe("axes that are unified", () => {
  it("keep the same positions whatever is cut, in 20 000 random chains", () => {
    const next = random(11);
    let free = 0;
    for (let round = 0; round < 20_000; round++) {
      const pool: Var[] = [];
      const size = [4, 6, 8, 12, 16, 18, 24, 30, 36][below(next, 9)] as number;
      const axes = Array.from({ length: 2 + below(next, 4) }, () => axisOf(size, next, pool));
      if (next() < 0.2) freeze(pool[below(next, pool.length)] ?? ONE, "chance");
      for (let i = 1; i < axes.length; i++) unify(axes[below(next, i)] as Axis, axes[i] as Axis);
      const masks = masksFor(axes, next);
      if (masks.size > 0) free++;
      const kept = axes.map((axis) => text(axis, masks));
      expect(new Set(kept).size, `round ${round}: ${kept.join(" ")}`).toBe(1);
      for (const [i, axis] of axes.entries())
        expect(sizeAfter(axis, masks)).toBe([...(kept[i] as string)].filter((c) => c === "1").length);
    }
    expect(free).toBeGreaterThan(5_000);
  });

  it("share their variables: a channel shuffle of 4·8 against 8·4 leaves 4·2·4", () => {
    const [a, b, c, d] = [4, 8, 8, 4].map((size) => variable(size)) as [Var, Var, Var, Var];
    unify({ prod: [a, b] }, { prod: [c, d] });
    expect([...leaves({ prod: [a, b] })].map((v) => v.size)).toEqual([4, 2, 4]);
    expect([...leaves({ prod: [c, d] })].map((v) => v.size)).toEqual([4, 2, 4]);
  });

  it("freeze, with the sizes, where they do not factor", () => {
    const [a, b, c, d] = [8, 3, 3, 8].map((size) => variable(size)) as [Var, Var, Var, Var];
    unify({ prod: [a, b] }, { prod: [c, d] });
    expect(a.frozen).toBe("[8,3] and [3,8] do not factor");
    expect([b, c, d].every((v) => v.frozen === a.frozen)).toBe(true);
  });

  it("freeze where their sizes differ, since a rule must be wrong", () => {
    const [a, b] = [variable(4), variable(5)];
    unify(a, b);
    expect([a.frozen, b.frozen]).toEqual(["the sizes differ (4 ≠ 5)", "the sizes differ (4 ≠ 5)"]);
  });

  it("lose what is counted to every part they turn out to have", () => {
    const [a, b, c] = [variable(6), variable(2), variable(3)];
    a.counted = new Set(["a mean"]);
    unify(a, { prod: [b, c] });
    expect([b, c].map((v) => [...(v.counted ?? [])])).toEqual([["a mean"], ["a mean"]]);
  });

  it("leave a frozen axis whole: its parts are no one else's", () => {
    const whole = variable(12, "an input");
    const [a, b] = [variable(4), variable(8)];
    unify(whole, { cat: [a, b] });
    expect(whole.means).toBeUndefined();
    expect([a.frozen, b.frozen]).toEqual(["an input", "an input"]);
  });
});
