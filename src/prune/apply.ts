import { MinnowError } from "../errors.ts";
import { int, intAttr } from "../ir/attrs.ts";
import { isKnown } from "../ir/dim.ts";
import { edit, type GraphEdit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { int64s, type Tensor, tensorFrom } from "../ir/tensor.ts";
import { removeDeadCode } from "../passes/index.ts";
import { type Axis, keep, type Masks, sizeAfter, sizeOf } from "./axis.ts";
import type { Derivation, Flow } from "./derive.ts";
import { gathered, type Keeps } from "./gather.ts";
import { attrsAfter, COUNTED_ANEW, type Held, heldAfter, heldBefore, heldOf } from "./held.ts";

/**
 * Cuts indices out of groups: every weight keeps the positions that stay along all its axes, and the numbers that nodes
 * hold follow. Nothing else changes; weights that were shared stay shared. Large weights are cut when someone reads them.
 * Throws a MinnowError `prune/empty` where a mask leaves nothing of a group.
 *
 * @example
 * const d = derive((await prepared(model)).model);
 * const [group] = groupsOf(d).groups;
 * const small = await cut(d, new Map([[group.variable, Uint8Array.from({ length: group.size }, (_, i) => i % 2)]]));
 */
export async function cut(d: Derivation, masks: Masks): Promise<Model> {
  for (const mask of masks.values())
    if (!mask.includes(1))
      throw new MinnowError("A mask leaves nothing of a group.", {
        code: "prune/empty",
        mend: "At least one index must stay in each group.",
      });
  const { graph } = d.model;
  const e = edit(graph);
  await cutWeights(d, masks, e);
  for (const flow of d.flows) new Holder(d, masks, e, flow).renew();
  mergeCopies(d.model, e);
  const valueInfo = new Map([...graph.valueInfo].filter(([name]) => !isCut(d.axes.get(name), masks)));
  const { model } = await removeDeadCode().run({ ...d.model, graph: { ...e.done(), valueInfo } });
  return model;
}

const keepsOf = (axes: readonly Axis[] | undefined, masks: Masks): Keeps =>
  (axes ?? []).map((axis) => keep(axis, masks));

const isCut = (axes: readonly Axis[] | undefined, masks: Masks): boolean =>
  (axes ?? []).some((axis) => sizeAfter(axis, masks) !== sizeOf(axis));

async function cutWeights(d: Derivation, masks: Masks, e: GraphEdit): Promise<void> {
  const done = new Map<Tensor, Map<string, Tensor>>();
  for (const [name, tensor] of d.model.graph.weights) {
    const axes = d.axes.get(name);
    if (!isCut(axes, masks)) continue;
    const keeps = keepsOf(axes, masks);
    const key = keeps.map((mask) => mask?.join("") ?? "").join("|");
    const same = done.get(tensor) ?? new Map<string, Tensor>();
    done.set(tensor, same);
    const made = same.get(key) ?? (await gathered(tensor, keeps));
    same.set(key, made);
    e.setWeight(name, made);
  }
}

/** Makes one of the copies of a constant that were cut alike. */
function mergeCopies({ graph }: Model, e: GraphEdit): void {
  const first = new Map<Tensor, string>();
  for (const name of graph.weights.keys()) {
    const tensor = e.constant(name);
    if (tensor === undefined || e.isOutput(name)) continue;
    const kept = first.get(tensor);
    if (kept === undefined) first.set(tensor, name);
    else if (e.reroute(name, kept)) e.removeWeight(name);
  }
}

/** Makes the numbers anew that one node holds. */
class Holder {
  readonly #d: Derivation;
  readonly #masks: Masks;
  readonly #edit: GraphEdit;
  readonly #flow: Flow;

  constructor(d: Derivation, masks: Masks, e: GraphEdit, flow: Flow) {
    this.#d = d;
    this.#masks = masks;
    this.#edit = e;
    this.#flow = flow;
  }

  renew(): void {
    const { node, rule, letters } = this.#flow;
    const attrs = attrsAfter(this.#d, this.#flow, this.#masks);
    if (attrs !== node.attrs) this.#edit.change(this.#node, { attrs });
    for (const [at, said] of Object.entries(rule.holds ?? {})) {
      if (!/^\d+$/.test(at)) continue;
      if (said === COUNTED_ANEW) this.#indices(Number(at));
      else this.#input(Number(at), heldOf(this.#d, node, letters, said), said);
    }
  }

  #isSame = (held: Held): boolean => heldBefore(held) === heldAfter(held, this.#masks);

  get #node(): Node {
    return this.#edit.current(this.#flow.node) as Node;
  }

  /** Numbers in an input: a constant of the node's own, or where some depend on a symbolic size, joined with those. */
  #input(index: number, held: readonly Held[], said: string | readonly string[]): void {
    if (held.every(this.#isSame)) return;
    const name = this.#node.inputs[index] ?? "";
    const fact = this.#d.facts.get(name);
    const old = fact?.value ?? [];
    const output = typeof said === "string" ? /^@(\d+)$/.exec(said)?.[1] : undefined;
    const shape = output === undefined ? undefined : this.#d.facts.get(this.#node.outputs[Number(output)] ?? "")?.shape;
    // A target may leave out leading axes.
    const offset = held.length - old.length;
    const entries = old.map((was, i) => {
      const own = held[i + offset] as Held;
      const stays = !isKnown(shape?.[i + offset] ?? was) || this.#isSame(own);
      return stays ? was : heldAfter(own, this.#masks);
    });
    if (entries.every(isKnown)) {
      const { dtype = "int64", shape: form = [entries.length] } = fact ?? {};
      this.#read(index, this.#edit.weight(name, tensorFrom(dtype, form as number[], entries)));
      return;
    }
    const parts = entries.map((entry, i) =>
      isKnown(entry)
        ? this.#edit.weight(name, int64s([entry]))
        : (this.#edit.add({ op: "Gather", inputs: [name, this.#edit.weight(name, int64s([i]))] })[0] as string),
    );
    this.#read(index, this.#edit.add({ op: "Concat", inputs: parts, attrs: { axis: int(0) } })[0] as string);
  }

  /** Indices into an axis that was cut: those of what stays, counted without what went. */
  #indices(index: number): void {
    const { node } = this.#flow;
    const [from, to] = [this.#d.axes.get(node.inputs[0] ?? ""), this.#d.axes.get(node.outputs[0] ?? "")];
    const axis = (intAttr(node, "axis", 0) + (from?.length ?? 0)) % Math.max(1, from?.length ?? 1);
    const [stays, read] = [from?.[axis], to?.[axis]].map((own) => own && keep(own, this.#masks));
    const name = node.inputs[index] ?? "";
    const { dtype = "int64", value, shape } = this.#d.facts.get(name) ?? {};
    if (value === undefined || (stays === undefined && read === undefined)) return;
    const size = sizeOf(from?.[axis] as Axis);
    const place = (at: number): number =>
      stays === undefined ? at : stays.subarray(0, at < 0 ? at + size : at).reduce((a, b) => a + b, 0);
    const single = shape?.length === 0;
    const kept = (value as readonly number[]).filter((_, i) => single || read?.[i] !== 0).map(place);
    this.#read(index, this.#edit.weight(name, tensorFrom(dtype, single ? [] : [kept.length], kept)));
  }

  #read(index: number, name: string): void {
    this.#edit.change(this.#node, { inputs: this.#node.inputs.map((old, i) => (i === index ? name : old)) });
  }
}
