import { edit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { float32s, int64s } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { axesOf, spread } from "../ops/axes.ts";
import { ruleOf } from "../ops/index.ts";
import { applied, inferModel } from "../ops/infer.ts";
import type { Change } from "../passes/index.ts";
import { averagesOf, examplesOf, type MeasureData, observing } from "./activations.ts";

/** A normalization with running statistics: where they stand, and the axes they are taken over. */
interface Normalized {
  readonly node: Node;
  readonly mean: number;
  readonly variance: number;
  readonly axes: readonly number[];
}

/**
 * Measures the running mean and variance of every normalization again, all in one pass: each batch is normalized by its
 * own, as in training, and what it was is averaged. A cut shifts both; this alone wins back much of what it cost.
 * Normalizations whose statistics are no weights of their own are left. Gives how many were measured.
 */
export async function reestimate(model: Model, options: MeasureData): Promise<{ model: Model; count: number }> {
  const found = normalizations(model);
  if (found.length === 0) return { model, count: 0 };
  const e = edit(model.graph);
  const names = found.flatMap(({ node, mean, variance, axes }) => {
    const over = (op: string, x: string, keepdims: boolean) => {
      const kept = e.add({ op, inputs: [x, e.weight("axes", int64s(axes))] })[0] as string;
      return keepdims ? kept : (e.add({ op: "Squeeze", inputs: [kept, e.weight("axes", int64s(axes))] })[0] as string);
    };
    const x = node.inputs[0] as string;
    const center = over("ReduceMean", x, true);
    const apart = e.add({ op: "Sub", inputs: [x, center] })[0] as string;
    const squares = over("ReduceMean", e.add({ op: "Mul", inputs: [apart, apart] })[0] as string, false);
    const flat = e.add({ op: "Squeeze", inputs: [center, e.weight("axes", int64s(axes))] })[0] as string;
    const inputs = node.inputs.map((name, i) => (i === mean ? flat : i === variance ? squares : name));
    e.change(node, { inputs });
    const moment = e.add({ op: "Mul", inputs: [flat, flat] })[0] as string;
    return [flat, moment, squares];
  });
  const averages = await averagesOf(observing(model, e, names), names, examplesOf(options.data), options);
  const next = edit(model.graph);
  for (const [i, { node, mean, variance }] of found.entries()) {
    const [center, moment, squares] = averages.slice(3 * i, 3 * i + 3) as [Float64Array, Float64Array, Float64Array];
    // The variance over all batches is that inside them, and that between their means.
    const total = squares.map((v, c) => v + Math.max(0, (moment[c] as number) - (center[c] as number) ** 2));
    next.setWeight(node.inputs[mean] as string, float32s([center.length], center));
    next.setWeight(node.inputs[variance] as string, float32s([total.length], total));
  }
  return { model: { ...model, graph: next.done() }, count: found.length };
}

/** The same behind a cut: where `reestimate` asks for it, or there is data and it says nothing. What it did is put down in `changes`. */
export async function reestimateBehind(
  model: Model,
  options: MeasureData & { readonly reestimate?: boolean },
  changes: Change[],
): Promise<Model> {
  if (!(options.reestimate ?? options.data !== undefined)) return model;
  const measured = await reestimate(model, options);
  if (measured.count > 0)
    changes.push({ what: `Measured the statistics of ${measured.count} normalizations again.`, at: "model" });
  return measured.model;
}

function normalizations(model: Model): Normalized[] {
  const facts = inferModel(model);
  const { readers } = usesOf(model.graph);
  const isOwn = (name: string | undefined): boolean =>
    name !== undefined && model.graph.weights.get(name)?.dtype === "float32" && readers.get(name)?.length === 1;
  return model.graph.nodes.flatMap((node): Normalized[] => {
    const [mean, variance] = ruleOf(node)?.statistics ?? [];
    if (mean === undefined || variance === undefined) return [];
    if (!isOwn(node.inputs[mean]) || !isOwn(node.inputs[variance])) return [];
    const said = axesOf({
      ...applied(node, model.opsets, facts),
      results: node.outputs.map((name) => facts.get(name)),
    });
    if ("frozen" in said) return [];
    const channel = said.pattern.inputs[mean]?.[0];
    const x = spread(said.pattern.inputs[0] ?? [], facts.get(node.inputs[0] ?? "")?.shape);
    const isChannel = ({ term }: (typeof x)[number]): boolean =>
      term.kind === "letter" && channel?.kind === "letter" && term.letter === channel.letter;
    const axes = x.flatMap((own, i) => (isChannel(own) ? [] : [i]));
    return axes.length === x.length ? [] : [{ node, mean, variance, axes }];
  });
}
