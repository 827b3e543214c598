import { MinnowError } from "../errors.ts";
import { byteSize } from "../ir/dtype.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { type Tensor, tensorOf } from "../ir/tensor.ts";
import { random, shuffle } from "../numeric/random.ts";
import { cut } from "./apply.ts";
import { type Axis, keep, type Masks } from "./axis.ts";
import { derive } from "./derive.ts";
import { type Group, groupsOf } from "./groups.ts";
import type { Plan } from "./types.ts";

/** A whole model whose indices come and go: those that are away keep the weights they had last. */
export interface Bank {
  readonly whole: Model;
  /** For each group of the whole model, in order: which indices are in use, 1 each. */
  readonly active: readonly Uint8Array[];
}

/** A bank with everything in use. The model must be prepared. */
export const bankOf = (whole: Model): Bank => ({
  whole,
  active: groupsOf(derive(whole)).groups.map(({ size }) => new Uint8Array(size).fill(1)),
});

/** The bank with the weights that what is in use has by now, and with less of it in use: `plan` is of the model in use. */
export async function withdrawn(bank: Bank, plan: Plan): Promise<Bank> {
  const { model: small } = plan.derivation;
  const d = derive(bank.whole);
  const found = groupsOf(d).groups;
  const places = new Map(keysOf(found).map((key, i) => [key, i]));
  const masks = masksOf(found, bank.active);
  const e = edit(bank.whole.graph);
  const written = new Map<Tensor, Tensor>();
  for (const [name, tensor] of bank.whole.graph.weights) {
    const now = small.graph.weights.get(name) ?? written.get(tensor);
    if (now === undefined) continue;
    written.set(tensor, now);
    const keeps = (d.axes.get(name) ?? []).map((axis: Axis) => keep(axis, masks));
    e.setWeight(name, await scattered(tensor, now, keeps));
  }
  const active = bank.active.map((mask) => mask.slice());
  const groups = groupsOf(plan.derivation).groups;
  const keys = keysOf(groups);
  for (const [i, group] of groups.entries()) {
    const mask = plan.masks.get(group.variable);
    if (mask === undefined) continue;
    const own = active[places.get(keys[i] as string) ?? -1];
    const used = own === undefined ? [] : [...own.keys()].filter((i) => own[i] === 1);
    if (own === undefined || used.length !== group.size)
      throw new MinnowError(`The group ${group.name} is not one of the model's before it was cut.`, {
        code: "prune/regrow",
        mend: "Take another schedule for this model: linear:4, for example.",
      });
    for (const [index, at] of used.entries()) own[at] = mask[index] as number;
  }
  return { whole: { ...bank.whole, graph: e.done() }, active };
}

/** Draws a share of the indices that are away back into use; which, depends on the seed alone. */
export function regrown({ whole, active }: Bank, share: number, seed: number): Bank {
  const next = random(seed);
  return {
    whole,
    active: active.map((mask) => {
      const own = mask.slice();
      const gone = [...own.keys()].filter((i) => own[i] === 0);
      for (const index of shuffle(gone, next).slice(0, Math.round(share * gone.length))) own[index] = 1;
      return own;
    }),
  };
}

/** The model of what is in use. */
export async function inUse({ whole, active }: Bank): Promise<Model> {
  const d = derive(whole);
  return cut(d, masksOf(groupsOf(d).groups, active));
}

const masksOf = (groups: readonly Group[], active: readonly Uint8Array[]): Masks =>
  new Map(
    groups.flatMap(({ variable }, i) => {
      const mask = active[i] as Uint8Array;
      return mask.includes(0) ? [[variable, mask] as const] : [];
    }),
  );

/** What groups are found by in a model of which less is left: where they run, and which of those that run there. */
function keysOf(groups: readonly Group[]): string[] {
  const seen = new Map<string, number>();
  return groups.map(({ members }) => {
    const where = members.map(({ weight, axis }) => `${weight}:${axis}`).join();
    const count = seen.get(where) ?? 0;
    seen.set(where, count + 1);
    return `${where}#${count}`;
  });
}

/** A tensor with other numbers at the positions that stay along all its axes. */
async function scattered(into: Tensor, from: Tensor, keeps: readonly (Uint8Array | undefined)[]): Promise<Tensor> {
  if (keeps.every((mask) => mask === undefined)) return from;
  const { dtype, shape } = into;
  const width = byteSize(dtype, 1);
  const [to, values] = [Uint8Array.from(await into.read()), await from.read()];
  let at = 0;
  for (let i = 0; i * width < to.length; i++) {
    let [rest, stays] = [i, true];
    for (let axis = shape.length - 1; axis >= 0 && stays; axis--) {
      const size = shape[axis] as number;
      stays = keeps[axis]?.[rest % size] !== 0;
      rest = Math.floor(rest / size);
    }
    if (!stays) continue;
    to.set(values.subarray(at, at + width), i * width);
    at += width;
  }
  return tensorOf(dtype, shape, to);
}
