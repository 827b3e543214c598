import type { Dataset } from "../../data/dataset.ts";
import { int } from "../../ir/attrs.ts";
import { edit, type GraphEdit } from "../../ir/edit.ts";
import type { Model, Node } from "../../ir/graph.ts";
import { float32s, int64s, type TensorData, tensorFrom } from "../../ir/tensor.ts";
import { titleOf, usesOf } from "../../ir/walk.ts";
import { withOutputs } from "../../measure/compare.ts";
import { inferModel } from "../../ops/infer.ts";
import type { Change } from "../../passes/index.ts";
import { openSession } from "../../runtime/index.ts";
import { type Affine, affineOf, type QuantType } from "../affine.ts";
import { calibrationBatches, numbersOf } from "../calibrate.ts";
import type { Contraction, Plan } from "../plan.ts";
import type { CalibrateOptions, Ranges } from "../types.ts";
import { finiteFloats, partsOf } from "../weights.ts";
import { type Chain, chainsOf } from "./chains.ts";

/** Channels that kernels compute together: fewer take as long (measured on x64 with AVX-512: see docs/quantization.md). */
const TOGETHER = 16;
/** Examples on which the noise of single channels is measured. */
const EXAMPLES = 16;

export interface SplitOptions extends CalibrateOptions {
  readonly data: Dataset;
  readonly activationType?: QuantType;
  /** Channels become a multiple of this; default 16. */
  readonly multiple?: number;
}

/**
 * Copies the channels whose rounding costs most, into channels that are 0 on all examples and up to a multiple of 16, which
 * takes no longer: n copies are rounded with offsets of 1/n of a step and averaged by what reads them, so that one channel has n times as
 * many levels. In float the model computes the same, but for channels that only other examples bring to life. What a channel
 * costs is the noise at the model's outputs when it alone is rounded.
 * Source: Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier Channel Splitting",
 * arXiv 1901.09504; here whole channels between layers, by what they cost.
 */
export async function splitChannels(
  model: Model,
  plan: Plan,
  ranges: Ranges,
  options: SplitOptions,
): Promise<{ model: Model; changes: Change[] }> {
  const chains = chainsOf(model, plan);
  const alive = await aliveIn(model, chains, options);
  const changes: Change[] = [];
  let now = model;
  for (const [i, chain] of chains.entries()) {
    const live = alive[i]!;
    const { multiple = TOGETHER } = options;
    const room = Math.ceil(chain.channels / multiple) * multiple;
    const count = live.filter(Boolean).length;
    const steps = chain.values.map((name) => stepOf(name, plan, ranges, options.activationType));
    if (count === 0 || count === room || steps.every((step) => step === undefined)) continue;
    const noise = await noiseOf(model, chain, live, steps, options);
    const copies = shared(noise, live, room);
    now = await copied(
      now,
      chain,
      copies,
      steps.map((step) => step?.scale ?? 0),
    );
    const what = "Copied the channels that rounding costs most into channels that were free.";
    changes.push({ what, at: titleOf(chain.makers[0]!.node) });
  }
  return { model: now, changes };
}

/** How a value is rounded, if it is. */
function stepOf(name: string, plan: Plan, ranges: Ranges, type: QuantType = "uint8"): Affine | undefined {
  const value = plan.values.get(name);
  if (value === undefined) return undefined;
  const { like, inside, range } = value;
  const seen = range === undefined ? ranges.get(like)! : { min: range[0], max: range[1] };
  return affineOf(seen, { type, inside });
}

/** Which channels of each chain are other than 0 on some example, in front of what reads them in the end. */
async function aliveIn(model: Model, chains: readonly Chain[], options: SplitOptions): Promise<boolean[][]> {
  const e = edit(model.graph);
  const names = chains.map((chain, i) => {
    const name = chain.values.at(-1)!;
    const [size] = e.add({ op: "Abs", inputs: [name] });
    const axes = e.weight("minnow.axes", int64s(othersOf(model, chain, chain.values.length - 1)));
    return e.add({
      op: "ReduceMax",
      inputs: [size!, axes],
      outputs: [`minnow.most.${i}`],
      attrs: { keepdims: int(0) },
    })[0]!;
  });
  const most = chains.map(({ channels }) => new Float64Array(channels));
  const watched = withOutputs({ ...model, graph: e.done() }, names);
  const session = await openSession(watched, options.threads === undefined ? {} : { threads: options.threads });
  try {
    const each = Math.max(
      1,
      ...numbersOf(
        model,
        chains.flatMap(({ values }) => values),
      ),
    );
    for await (const { feeds } of calibrationBatches(model, 4 * each, options.data, options)) {
      const results = await session.run(feeds, names);
      names.forEach((name, i) => {
        (results[name]!.data as Float32Array).forEach((value, c) => {
          most[i]![c] = Math.max(most[i]![c]!, value);
        });
      });
    }
  } finally {
    await session.close();
  }
  // NaN is no 0.
  return most.map((values) => Array.from(values, (value) => value !== 0));
}

/** Every axis of a chain's value but that of the channels. */
function othersOf(model: Model, { makers }: Chain, i: number): number[] {
  const { node, channel } = makers[i]!;
  const rank = inferModel(model).get(node.outputs[0] ?? "")?.shape?.length ?? 0;
  return Array.from({ length: rank }, (_, axis) => axis).filter((axis) => axis !== rank + channel!.output);
}

/** What rounding each channel alone, in all values of the chain, does to the model's outputs, its mean error taken off. */
async function noiseOf(
  model: Model,
  chain: Chain,
  live: readonly boolean[],
  steps: readonly (Affine | undefined)[],
  { data, batch, threads, activationType = "uint8" }: SplitOptions,
): Promise<Float64Array> {
  const noise = new Float64Array(chain.channels);
  for (const [i, step] of steps.entries()) {
    if (step === undefined) continue;
    const { masked, mask, shape } = withRounding(model, chain, i, step, activationType);
    const session = await openSession(masked, threads === undefined ? {} : { threads });
    try {
      const each = numbersOf(model, chain.values)[0]!;
      for await (const { feeds } of calibrationBatches(model, each, data.take(EXAMPLES), { ...(batch && { batch }) })) {
        const run = (one: number) => {
          const values = new Float32Array(chain.channels);
          if (one >= 0) values[one] = 1;
          return session.run({ ...feeds, [mask]: { dtype: "float32", shape, data: values } });
        };
        const exact = await run(-1);
        for (const [c, lives] of live.entries()) if (lives) noise[c]! += distance(exact, await run(c));
      }
    } finally {
      await session.close();
    }
  }
  return noise;
}

function distance(a: Readonly<Record<string, TensorData>>, b: Readonly<Record<string, TensorData>>): number {
  let sum = 0;
  for (const [name, { data, dtype }] of Object.entries(a))
    if (dtype === "float32")
      (data as Float32Array).forEach((value, i) => {
        sum += (value - (b[name]!.data as Float32Array)[i]!) ** 2;
      });
  return sum;
}

/** The model with the channels of a value rounded that a mask, which is an input, picks. */
function withRounding(model: Model, chain: Chain, i: number, { scale, zeroPoint }: Affine, type: QuantType) {
  const e = edit(model.graph);
  const value = chain.values[i]!;
  const reader = (chain.makers[i + 1] ?? chain.last).node;
  const others = othersOf(model, chain, i);
  const shape = Array.from({ length: others.length + 1 }, (_, axis) => (others.includes(axis) ? 1 : chain.channels));
  const one = (op: string, ...inputs: string[]) => e.add({ op, inputs })[0]!;
  const parameters = [e.weight("s", float32s([], [scale])), e.weight("z", tensorFrom(type, [], [zeroPoint]))];
  const error = one("Sub", one("DequantizeLinear", one("QuantizeLinear", value, ...parameters), ...parameters), value);
  const mask = e.fresh("minnow.mask");
  const rest = one("Sub", error, one("ReduceMean", error, e.weight("minnow.axes", int64s(others))));
  const rounded = one("Add", value, one("Mul", rest, mask));
  e.change(reader, { inputs: reader.inputs.with(0, rounded) });
  e.setInputs([...model.graph.inputs, { name: mask, type: { kind: "tensor", dtype: "float32" } }]);
  return { masked: { ...model, graph: e.done() }, mask, shape };
}

/** How many copies of each channel fill the room with the least noise: that of n is 1/n² of what one has. */
function shared(noise: Float64Array, live: readonly boolean[], room: number): number[] {
  const copies: number[] = live.map((lives) => (lives ? 1 : 0));
  const gain = (c: number) => (copies[c] === 0 ? -1 : noise[c]! * (copies[c]! ** -2 - (copies[c]! + 1) ** -2));
  for (let left = room - copies.reduce((a, b) => a + b, 0); left > 0; left--) {
    const best = copies.reduce((most, _, c) => (gain(c) > gain(most) ? c : most), 0);
    copies[best]!++;
  }
  return copies;
}

/** The model with so many copies of each channel of a chain. Their offsets add up to 0, so that what padding does to them does too. */
async function copied(model: Model, chain: Chain, copies: readonly number[], steps: readonly number[]): Promise<Model> {
  const picks = copies.flatMap((n, channel) =>
    Array.from({ length: n }, (_, k) => ({ channel, share: (k - (n - 1) / 2) / n, weight: 1 / n })),
  );
  const e = edit(model.graph);
  for (const [i, maker] of chain.makers.entries()) {
    const { weight, channel, node } = maker;
    const tensor = model.graph.weights.get(weight)!;
    const values = await finiteFloats(weight, tensor);
    const { shape, out, sums } = picked(
      values,
      tensor.shape,
      channel!.weight,
      picks.map(({ channel: c }) => ({ channel: c, weight: 1 })),
    );
    e.setWeight(weight, float32s(shape, out));
    const old = await biasOf(model, maker, chain.channels);
    const bias = picks.map(({ channel: c, share }, at) => {
      const given = i === 0 ? 0 : steps[i - 1]! * share * sums[at]!;
      return old[c]! + steps[i]! * share - given;
    });
    setBias(e, model, maker, bias);
    if (i > 0) {
      const own = nodeIn(model, node);
      e.change(own, { attrs: { ...(e.current(own) ?? own).attrs, group: int(picks.length) } });
    }
  }
  const { last, axis } = chain;
  const tensor = model.graph.weights.get(last.weight)!;
  const values = await finiteFloats(last.weight, tensor);
  const { shape, out } = picked(values, tensor.shape, axis, picks);
  e.setWeight(last.weight, float32s(shape, out));
  const bias = await biasOf(model, last, tensor.shape[last.channel!.weight]!);
  const [ofOutput, ofPick] = [partsOf(shape, last.channel!.weight), partsOf(shape, axis)];
  out.forEach((value, at) => {
    bias[ofOutput.channelOf(at)]! -= value * steps.at(-1)! * picks[ofPick.channelOf(at)]!.share;
  });
  setBias(e, model, last, bias);
  return { ...model, graph: { ...e.done(), valueInfo: new Map() } };
}

/** The node as earlier splits left it. */
const nodeIn = ({ graph }: Model, { outputs }: Node): Node => usesOf(graph).writer.get(outputs[0] ?? "")!;

/** Slices of a weight along an axis, each times a number, and the sum of each. */
function picked(
  values: Float32Array,
  shape: readonly number[],
  axis: number,
  picks: readonly { readonly channel: number; readonly weight: number }[],
) {
  const to = shape.with(axis, picks.length);
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const out = new Float32Array(to.reduce((a, b) => a * b, 1));
  const sums = new Float64Array(picks.length);
  for (let at = 0; at < out.length; at++) {
    const p = Math.floor(at / inner) % picks.length;
    const { channel, weight } = picks[p]!;
    const from = (Math.floor(at / inner / picks.length) * shape[axis]! + channel) * inner + (at % inner);
    out[at] = values[from]! * weight;
    sums[p]! += out[at]!;
  }
  return { shape: to, out, sums };
}

async function biasOf(model: Model, { node, bias }: Contraction, channels: number): Promise<Float64Array> {
  const name = nodeIn(model, node).inputs[bias!.index] ?? "";
  const old = model.graph.weights.get(name);
  return old === undefined ? new Float64Array(channels) : Float64Array.from(await finiteFloats(name, old));
}

function setBias(e: GraphEdit, model: Model, { node, bias }: Contraction, values: ArrayLike<number>): void {
  const tensor = float32s([values.length], Array.from(values));
  const own = nodeIn(model, node);
  const name = own.inputs[bias!.index] ?? "";
  if (name !== "") e.setWeight(name, tensor);
  else {
    const inputs = [...(e.current(own) ?? own).inputs];
    while (inputs.length < bias!.index) inputs.push("");
    inputs[bias!.index] = e.weight(`${node.outputs[0]}.bias`, tensor);
    e.change(own, { inputs });
  }
}
