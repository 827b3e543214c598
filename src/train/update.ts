import type { DType } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s, type Tensor } from "../ir/tensor.ts";
import type { Emitter } from "../ops/emit.ts";
import type { Statistic } from "./forms.ts";
import { maskKey, movementKey } from "./masks.ts";
import type { StepOptions } from "./step.ts";

/**
 * Something that goes round: an output of one step is an input of the next. All of it goes flat, as [elements]: what meets a
 * learning rate is then one piece of memory, whatever its shape (a kernel [M, C, 1, 1] times a scalar took 30 times as long).
 */
export interface Carried {
  readonly kind: "weight" | "slot" | "statistic" | "average" | "sum" | "mask" | "movement";
  /** The weight it belongs to. */
  readonly of: string;
  /** Name under which it is kept: the weight's own, or `weight:slot`. */
  readonly key: string;
  /** The shape of the weight. */
  readonly shape: readonly number[];
  readonly input: string;
  /** Absent where the step leaves it as it is. */
  readonly output?: string;
  /** What it is at first; zeros where left out. */
  readonly initial?: Tensor;
}

/** The inputs every step is fed with besides the batch. */
export const LEARNING_RATE = "train.lr";
export const UPDATES = "train.step";

interface Site {
  readonly g: Emitter;
  readonly model: Model;
  declare(name: string, dtype: DType, shape: readonly number[]): string;
}

/** Appends what every weight, statistic and state becomes, and names what goes round. */
export function updates(
  site: Site,
  gradients: ReadonlyMap<string, string>,
  statistics: readonly Statistic[],
  options: StepOptions,
): { readonly carried: readonly Carried[]; readonly gradientNorm?: string } {
  const { g } = site;
  g.near = "update";
  const carried: Carried[] = statistics.map(({ name, next }) => {
    g.edit.removeWeight(name);
    return { ...entry(site, "statistic", name), output: g.reshape(next, [g.size(next)]) };
  });
  const gathers = options.accumulate?.phase === "gather";
  const [lr, step] = gathers
    ? ["", ""]
    : [site.declare(LEARNING_RATE, "float32", []), site.declare(UPDATES, "float32", [])];
  const flat = new Map([...gradients].map(([name, gradient]) => [name, g.reshape(gradient, [g.size(gradient)])]));
  const masks = new Map(
    (options.masks?.weights ?? []).filter((name) => flat.has(name)).map((name) => [name, maskOf(site, name)]),
  );
  const weights = new Map([...flat.keys()].map((name) => [name, entry(site, "weight", name, masks.get(name)?.input)]));
  carried.push(...masks.values());
  const summed = accumulated(site, flat, carried, options.accumulate);
  if (gathers) return { carried: [...carried, ...weights.values()] };
  if (options.masks?.movement)
    for (const name of masks.keys())
      carried.push(moved(site, weights.get(name) as Carried, summed.get(name) as string));
  const held = new Map([...summed].map(([name, slope]) => [name, masked(g, slope, masks.get(name))]));
  const { norm, scaled } = clipped(g, held, options.clipNorm);
  for (const [name, gradient] of scaled) {
    const weight = weights.get(name) as Carried;
    const mask = masks.get(name);
    const { lr: factor = 1, weightDecay = 0 } = options.group?.(name, weight.shape) ?? {};
    const slots = options.optimizer.slots.map((slot) => state(site, "slot", name, slot));
    const next = options.optimizer.update(g, {
      name,
      weight: weight.input,
      gradient,
      slots: slots.map((slot) => slot.input),
      lr: g.mul(lr, factor),
      step,
      weightDecay,
    });
    const output =
      mask === undefined ? next.weight : g.where(g.is("Greater", mask.input, 0), next.weight, weight.input);
    carried.push({ ...weight, output });
    slots.forEach((slot, i) => {
      carried.push({ ...slot, output: masked(g, next.slots[i] as string, mask) });
    });
    if (options.ema === undefined) continue;
    const average = { ...state(site, "average", name, "ema"), initial: weight.initial as Tensor };
    carried.push({ ...average, output: g.add(g.mul(average.input, options.ema), g.mul(output, 1 - options.ema)) });
  }
  g.near = "";
  return { carried, ...(norm && { gradientNorm: norm }) };
}

/** Declares the flat input of a weight or statistic, and gives its own name back, in its own shape, masked where it is. */
function entry({ g, model, declare }: Site, kind: Carried["kind"], of: string, mask?: string): Carried {
  const initial = model.graph.weights.get(of) as Tensor;
  const { shape } = initial;
  const input = declare(`${of}:flat`, "float32", [elements(shape)]);
  g.edit.add({ op: "Reshape", inputs: [mask ? g.mul(input, mask) : input, g.ints(shape)], outputs: [of] });
  return { kind, of, key: of, shape, input, initial };
}

/** Declares the flat input of something that is carried for a weight; zeros at first. */
function state({ model, declare }: Site, kind: Carried["kind"], of: string, slot: string): Carried {
  const { shape } = model.graph.weights.get(of) as Tensor;
  const key = `${of}:${slot}`;
  return { kind, of, key, shape, input: declare(key, "float32", [elements(shape)]) };
}

/** The mask of a weight, which a step leaves as it is. */
function maskOf({ model, declare }: Site, of: string): Carried {
  const { shape } = model.graph.weights.get(of) as Tensor;
  const initial = float32s(shape, new Float32Array(elements(shape)).fill(1));
  const key = maskKey(of);
  return { kind: "mask", of, key, shape, input: declare(key, "float32", [elements(shape)]), initial };
}

/** The movement of a weight after this update. */
function moved({ g, declare }: Site, { of, shape, input: weight }: Carried, gradient: string): Carried {
  const key = movementKey(of);
  const input = declare(key, "float32", [elements(shape)]);
  return { kind: "movement", of, key, shape, input, output: g.sub(input, g.mul(weight, gradient)) };
}

const masked = (g: Emitter, value: string, mask: Carried | undefined): string =>
  mask === undefined ? value : g.mul(value, mask.input);

/** Each gradient, divided by the number of parts, added to the sum that is carried for it. */
function accumulated(
  site: Site,
  gradients: ReadonlyMap<string, string>,
  carried: Carried[],
  accumulate: StepOptions["accumulate"],
): ReadonlyMap<string, string> {
  if (accumulate === undefined) return gradients;
  const { g } = site;
  return new Map(
    [...gradients].map(([name, gradient]) => {
      const sum = state(site, "sum", name, "sum");
      const total = g.add(sum.input, g.mul(gradient, 1 / accumulate.parts));
      carried.push(accumulate.phase === "gather" ? { ...sum, output: total } : sum);
      return [name, total];
    }),
  );
}

/** All gradients scaled so that their norm together is at most `limit`, and the norm there was, as PyTorch's clip_grad_norm_. */
function clipped(
  g: Emitter,
  gradients: ReadonlyMap<string, string>,
  limit: number | undefined,
): { readonly norm?: string; readonly scaled: ReadonlyMap<string, string> } {
  if (limit === undefined) return { scaled: gradients };
  const squares = [...gradients.values()].map((gradient) => g.reduce("ReduceSumSquare", gradient, [0], false));
  const norm = g.op("Sqrt", [g.op("Sum", squares)]);
  const scale = g.op("Min", [g.div(limit, g.add(norm, 1e-6)), 1]);
  return { norm, scaled: new Map([...gradients].map(([name, gradient]) => [name, g.mul(gradient, scale)])) };
}
