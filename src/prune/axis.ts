/**
 * The algebra under pruning: an axis is a concatenation of products of dimension variables. Operators unify axes; what
 * cannot be followed is frozen with a reason. One function, {@link keep}, then says which positions of any axis stay.
 */

/** One axis of one value, row-major, outermost first. A product of nothing is an axis of size 1. */
export type Axis = Var | Cat | Prod;

export interface Cat {
  readonly cat: readonly Axis[];
}

export interface Prod {
  readonly prod: readonly Axis[];
}

/** A dimension variable. `means` is set at most once: another variable, or what this one consists of. */
export interface Var {
  readonly size: number;
  means?: Axis;
  /** Why its positions must stay; a frozen variable means nothing else. */
  frozen?: string;
  /** What depends on how many positions there are: it changes by more than the terms a cut takes away. */
  counted?: Set<string>;
}

/** A product in normal form: variables without a meaning and of size above 1; a concatenation only behind the first. */
export type Term = readonly (Var | Cat)[];

export const variable = (size: number, frozen?: string): Var => (frozen === undefined ? { size } : { size, frozen });

export const ONE: Axis = { prod: [] };

const isVar = (axis: Axis): axis is Var => "size" in axis;

export const sizeOf = (axis: Axis): number =>
  isVar(axis)
    ? axis.size
    : "cat" in axis
      ? axis.cat.reduce((sum, part) => sum + sizeOf(part), 0)
      : axis.prod.reduce((product, part) => product * sizeOf(part), 1);

const asAxis = (term: Term): Axis => (term.length === 1 ? (term[0] as Axis) : { prod: term });

/**
 * The normal form of an axis: a list (concatenation) of products. (a+b)·c = a·c + b·c is written out; c·(a+b) is not,
 * since its positions interleave.
 */
export function terms(axis: Axis): Term[] {
  if ("cat" in axis) return axis.cat.flatMap(terms);
  if ("prod" in axis) return product(axis.prod, 0);
  if (axis.means !== undefined) return terms(axis.means);
  return axis.size === 0 ? [] : [axis.size === 1 ? [] : [axis]];
}

function product(factors: readonly Axis[], from: number): Term[] {
  const first = factors[from];
  if (first === undefined) return [[]];
  const outer = terms(first);
  if (from + 1 === factors.length) return outer;
  const inner = factors.slice(from + 1).flatMap((factor): Term => {
    const parts = terms(factor);
    return parts.length === 1 ? (parts[0] as Term) : [{ cat: parts.map(asAxis) }];
  });
  return outer.flatMap((term) => (term.length === 0 ? product(factors, from + 1) : [[...term, ...inner]]));
}

/** Every variable that an axis consists of in the end, size 1 left out. */
export function* leaves(axis: Axis): Generator<Var> {
  if ("cat" in axis) for (const part of axis.cat) yield* leaves(part);
  else if ("prod" in axis) for (const part of axis.prod) yield* leaves(part);
  else if (axis.means !== undefined) yield* leaves(axis.means);
  else if (axis.size > 1) yield axis;
}

/** Why no position of an axis can go; undefined where some can. */
export function frozenReason(axis: Axis): string | undefined {
  let reason: string | undefined;
  for (const leaf of leaves(axis)) {
    if (leaf.frozen === undefined) return undefined;
    reason ??= leaf.frozen;
  }
  return reason ?? "its size is 1";
}

/** Keeps every position of an axis, for a reason. */
export function freeze(axis: Axis, reason: string): void {
  for (const leaf of leaves(axis)) leaf.frozen ??= reason;
}

/** Notes that something depends on the number of positions. */
export function count(axis: Axis, reason: string): void {
  for (const leaf of leaves(axis)) {
    leaf.counted ??= new Set();
    leaf.counted.add(reason);
  }
}

/** Makes two axes one: what is cut from either is cut from both, at the same positions. */
export function unify(a: Axis, b: Axis): void {
  if (a === b) return;
  const [p, q] = [sizeOf(a), sizeOf(b)];
  if (p !== q) freezeBoth(a, b, `the sizes differ (${p} ≠ ${q})`);
  else if (!settled(a, b)) {
    const [v, w] = [alone(a), alone(b)];
    if (v !== undefined) bind(v, b);
    else if (w !== undefined) bind(w, a);
    else walk([a], [b]);
  }
}

/** The variable that an axis is, where it is one and nothing is known of it. */
function alone(axis: Axis): Var | undefined {
  let at = axis;
  while (isVar(at) && at.means !== undefined) at = at.means;
  return isVar(at) ? at : undefined;
}

/** Unifies two stacks of axes, of one size together, term by term; the larger of two terms is split. */
function walk(left: Axis[], right: Axis[]): void {
  for (;;) {
    const [x, y] = [head(left), head(right)];
    if (x === undefined || y === undefined) return;
    const [m, n] = [sizeOf({ prod: x }), sizeOf({ prod: y })];
    if (m === n) match(x, y);
    else if (m > n) {
      divide(x, n, left);
      right.push(asAxis(y));
    } else {
      divide(y, m, right);
      left.push(asAxis(x));
    }
  }
}

/** Takes the first term off a stack of axes. */
function head(stack: Axis[]): Term | undefined {
  for (let axis = stack.pop(); axis !== undefined; axis = stack.pop()) {
    const [first, ...rest] = terms(axis);
    for (let i = rest.length - 1; i >= 0; i--) stack.push(asAxis(rest[i] as Term));
    if (first !== undefined) return first;
  }
  return undefined;
}

/** Splits a term and pushes its parts, the first on top. */
function divide(term: Term, at: number, stack: Axis[]): void {
  const [before, after] = splitTerm(term, at);
  for (const axis of [...before, ...after].reverse()) stack.push(axis);
}

/** Whether one of two axes is frozen as a whole; the other then is too. */
function settled(a: Axis, b: Axis): boolean {
  const [x, y] = [frozenReason(a), frozenReason(b)];
  if (x !== undefined && y === undefined) freeze(b, x);
  if (y !== undefined && x === undefined) freeze(a, y);
  return x !== undefined || y !== undefined;
}

function freezeBoth(a: Axis, b: Axis, reason: string): void {
  for (const axis of [a, b]) freeze(axis, reason);
}

/** Makes two products of one size one, from the outermost factor on. */
function match(x: Term, y: Term): void {
  const [[f, ...fs], [g, ...gs]] = [x, y];
  // The first factor of a term is a variable: a concatenation there would have been written out.
  if (f === undefined || g === undefined || !isVar(f) || !isVar(g)) return;
  if (fs.length === 0) bind(f, asAxis(y));
  else if (gs.length === 0) bind(g, asAxis(x));
  else if (!settled({ prod: x }, { prod: y })) matchFactors(x, y, f, g);
}

function matchFactors(x: Term, y: Term, f: Var, g: Var): void {
  const [fs, gs] = [x.slice(1), y.slice(1)];
  if (f.size === g.size) {
    unify(f, g);
    unify({ prod: fs }, { prod: gs });
  } else if (f.size % g.size === 0) {
    const [outer, inner] = factor(f, g.size);
    unify(outer, g);
    unify({ prod: [inner, ...fs] }, { prod: gs });
  } else if (g.size % f.size === 0) matchFactors(y, x, g, f);
  else {
    const shape = (term: Term) => `[${term.map(sizeOf)}]`;
    freezeBoth({ prod: x }, { prod: y }, `${shape(x)} and ${shape(y)} do not factor`);
  }
}

/** Says what a variable is; where it would lie inside itself, all of it is frozen. */
function bind(v: Var, meaning: Axis): void {
  const parts = [...leaves(meaning)];
  if (parts.length === 1 && parts[0] === v) return;
  if (settled(v, meaning)) return;
  if (parts.includes(v)) freezeBoth(v, meaning, "it would lie inside itself");
  else refine(v, meaning);
}

function refine(v: Var, meaning: Axis): void {
  v.means = meaning;
  for (const reason of v.counted ?? []) count(meaning, reason);
}

/** Parts of a variable, of these sizes. A frozen one stays whole: its parts are no one else's. */
function partsOf(v: Var, sizes: readonly number[], join: (parts: readonly Var[]) => Axis): readonly Var[] {
  const parts = sizes.map((size) => variable(size, v.frozen));
  if (v.frozen === undefined) refine(v, join(parts));
  return parts;
}

function factor(v: Var, outer: number): readonly [Var, Var] {
  return partsOf(v, [outer, v.size / outer], (prod) => ({ prod })) as readonly [Var, Var];
}

/** The parts of a term before and after a position inside it. */
function splitTerm(term: Term, at: number): readonly [Axis[], Axis[]] {
  const [first, ...rest] = term as readonly [Var, ...(Var | Cat)[]];
  const inner: Prod = { prod: rest };
  const width = sizeOf(inner);
  const [whole, left] = [Math.floor(at / width), at % width];
  if (left === 0) {
    const [before, after] = partsOf(first, [whole, first.size - whole], (cat) => ({ cat }));
    return [[{ prod: [before as Var, inner] }], [{ prod: [after as Var, inner] }]];
  }
  // One index of the first factor is cut through: it stands alone, and what it runs over is split wherever it is.
  const sizes = [whole, 1, first.size - whole - 1];
  const [before, , after] = partsOf(first, sizes, (cat) => ({ cat }));
  const [start, end] = splitAxis(inner, left);
  return [
    [{ prod: [before as Var, inner] }, ...start],
    [...end, { prod: [after as Var, inner] }],
  ];
}

function splitAxis(axis: Axis, at: number): readonly [Axis[], Axis[]] {
  const [before, after]: [Axis[], Axis[]] = [[], []];
  let from = 0;
  for (const term of terms(axis)) {
    const size = sizeOf({ prod: term });
    if (from + size <= at) before.push(asAxis(term));
    else if (from >= at) after.push(asAxis(term));
    else {
      const [start, end] = splitTerm(term, at - from);
      before.push(...start);
      after.push(...end);
    }
    from += size;
  }
  return [before, after];
}

/** Which indices of variables stay, 1 each; those of variables that are not here stay. */
export type Masks = ReadonlyMap<Var, Uint8Array>;

/** Which positions of an axis stay, 1 each; undefined where all do. */
export function keep(axis: Axis, masks: Masks): Uint8Array | undefined {
  if (isVar(axis)) return axis.means === undefined ? masks.get(axis) : keep(axis.means, masks);
  const parts = "cat" in axis ? axis.cat : axis.prod;
  const kept = parts.map((part) => keep(part, masks));
  if (kept.every((mask) => mask === undefined)) return undefined;
  const full = kept.map((mask, i) => mask ?? new Uint8Array(sizeOf(parts[i] as Axis)).fill(1));
  return "cat" in axis ? joined(full) : full.reduce(crossed, Uint8Array.of(1));
}

function joined(masks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(masks.reduce((sum, mask) => sum + mask.length, 0));
  let at = 0;
  for (const mask of masks) {
    out.set(mask, at);
    at += mask.length;
  }
  return out;
}

function crossed(outer: Uint8Array, inner: Uint8Array): Uint8Array {
  const out = new Uint8Array(outer.length * inner.length);
  outer.forEach((stays, i) => {
    if (stays === 1) out.set(inner, i * inner.length);
  });
  return out;
}

/** The size of an axis once what goes is gone. */
export function sizeAfter(axis: Axis, masks: Masks): number {
  if ("cat" in axis) return axis.cat.reduce((sum, part) => sum + sizeAfter(part, masks), 0);
  if ("prod" in axis) return axis.prod.reduce((size, part) => size * sizeAfter(part, masks), 1);
  if (axis.means !== undefined) return sizeAfter(axis.means, masks);
  return masks.get(axis)?.reduce((a, b) => a + b, 0) ?? axis.size;
}

/** For every position of an axis the index of a variable that it belongs to, −1 where to none. */
export function indicesOf(axis: Axis, v: Var): Int32Array {
  if (axis === v) return Int32Array.from({ length: v.size }, (_, i) => i);
  if (isVar(axis)) return axis.means === undefined ? new Int32Array(axis.size).fill(-1) : indicesOf(axis.means, v);
  const parts = ("cat" in axis ? axis.cat : axis.prod).map((part) => indicesOf(part, v));
  if ("cat" in axis) return Int32Array.from(parts.flatMap((part) => [...part]));
  return parts.reduce((outer, inner) => {
    const both = new Int32Array(outer.length * inner.length);
    for (let i = 0; i < both.length; i++) {
      const own = outer[Math.floor(i / inner.length)] as number;
      both[i] = own >= 0 ? own : (inner[i % inner.length] as number);
    }
    return both;
  }, Int32Array.of(-1));
}
