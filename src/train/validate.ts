import { batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { edit } from "../ir/edit.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import { evaluate } from "../measure/evaluate.ts";
import type { MetricName } from "../measure/metrics.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession, type Runtime, type Session } from "../runtime/index.ts";
import { bindTraining, feedsOf } from "./feeding.ts";
import { bindSizes } from "./prepare.ts";
import type { Loss, TrainStep } from "./step.ts";

export interface ValidateOptions {
  readonly loss: Loss;
  readonly batch: number;
  readonly sizes?: ReadonlyMap<string, number> | undefined;
  readonly metrics?: readonly MetricName[] | undefined;
  readonly runtime?: Runtime | undefined;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How good a model is on data it does not learn from: metrics of a classifier where labels are known, else the mean loss. */
export async function validate(
  model: Model,
  data: Dataset,
  options: ValidateOptions,
): Promise<Readonly<Record<string, number>>> {
  const { metrics, runtime, threads, signal } = options;
  const running = { ...(runtime && { runtime }), ...(threads && { threads }), ...(signal && { signal }) };
  if (data.labels === undefined) return { loss: await meanLoss(model, data, options) };
  const judged = await evaluate(model, data, { ...running, ...(metrics && { metrics }) });
  return judged.metrics as Record<string, number>;
}

/** The loss over a dataset, in inference mode: the mean over its batches by their sizes. */
export async function meanLoss(model: Model, data: Dataset, options: ValidateOptions): Promise<number> {
  const sessions = new Map<number, { session: Session; asked: Judge }>();
  const open = async (size: number) => {
    const asked = await judgeOf(model, options.loss, size, options.sizes);
    const { runtime, threads } = options;
    const session = await openSession(asked.model, { ...(runtime && { runtime }), ...(threads && { threads }) });
    return { session, asked };
  };
  const whole = Math.min(options.batch, data.size);
  sessions.set(whole, await open(whole));
  const { asked } = sessions.get(whole) as { asked: Judge };
  const bound = await bindTraining(data, asked.own, asked.feeds);
  let [sum, count] = [0, 0];
  try {
    for await (const { feeds, labels, indices } of batches(bound, whole, { signal: options.signal })) {
      const size = indices.length;
      const at = sessions.get(size) ?? (await open(size));
      sessions.set(size, at);
      const given = await feedsOf(at.asked.feeds, { feeds, labels, indices: [...indices] }, { loss: options.loss });
      const { [at.asked.loss]: value } = await at.session.run(given, [at.asked.loss]);
      sum += size * Number(value?.data[0]);
      count += size;
    }
    return sum / count;
  } finally {
    for (const { session } of sessions.values()) await session.close();
  }
}

interface Judge {
  readonly model: Model;
  /** The graph before the loss, with the inputs that the examples are for. */
  readonly own: Model["graph"];
  readonly loss: string;
  readonly feeds: TrainStep["feeds"];
}

/** A model that computes its loss. */
async function judgeOf(model: Model, loss: Loss, batch: number, sizes?: ReadonlyMap<string, number>): Promise<Judge> {
  const bound = await bindSizes(model, batch, sizes);
  const facts = new Map<string, Fact>(inferModel(bound));
  const e = edit(bound.graph);
  const g = new Emitter(e, facts, bound.opsets);
  const inputs: ValueInfo[] = [...bound.graph.inputs];
  const outputs = Object.fromEntries(bound.graph.outputs.map(({ name }) => [name, name]));
  const value = loss.build(g, {
    inputs: bound.graph.inputs.map(({ name }) => name),
    outputs,
    input(name, dtype, shape) {
      if (inputs.some((input) => input.name === name)) return name;
      inputs.push({ name, type: { kind: "tensor", dtype, shape } });
      facts.set(name, { dtype, shape });
      return name;
    },
  });
  e.setInputs(inputs);
  e.setOutputs([...bound.graph.outputs, { name: value }]);
  const own = new Set(bound.graph.inputs.map(({ name }) => name));
  const feeds = inputs.map(({ name }) => ({
    name,
    dtype: g.dtype(name),
    shape: g.shape(name),
    ...(!own.has(name) && { asked: name }),
  }));
  return { own: bound.graph, model: { ...bound, graph: e.done() }, loss: value, feeds };
}
