import { feedInputs } from "../data/bind.ts";
import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import { type Dim, isKnown } from "../ir/dim.ts";
import { edit } from "../ir/edit.ts";
import type { Model, TensorType, ValueInfo } from "../ir/graph.ts";
import type { Fact } from "../ops/define.ts";
import { Emitter } from "../ops/emit.ts";
import { inferModel } from "../ops/infer.ts";
import { logitsOf } from "../ops/logits.ts";
import type { LossIo } from "./step.ts";

export interface ScoreOptions {
  /** Default: the first. */
  readonly output?: string | undefined;
  readonly squash: "Softmax" | "Sigmoid";
  readonly axis?: number;
}

/** A value of a teacher: as it is, or the scores behind it. */
export interface Asked {
  readonly of: string;
  readonly scores?: ScoreOptions;
}

/** What an input of the teacher reads: a value of the step's graph, and the feed it comes from. */
export interface Source {
  readonly value: string;
  readonly feed: string;
}

/** What each input of the teacher reads; the examples are asked for what the student has no input for. */
export function sourcesOf(g: Emitter, io: LossIo, { graph }: Model, name: string): ReadonlyMap<string, Source> {
  const inputs = feedInputs(graph);
  const single = inputs.length === 1 && io.inputs.length === 1 ? io.inputs[0] : undefined;
  const [batch = 1] = g.shape(io.inputs[0] ?? "");
  return new Map(
    inputs.map(({ name: input, type }) => {
      const same = io.inputs.includes(input) ? input : single;
      if (same !== undefined && fits(type, g.fact(same))) return [input, { value: same, feed: same }];
      const [first, ...rest] = type?.shape ?? [];
      if (type === undefined || first === undefined || !rest.every(isKnown)) throw unreadable(g, input, type, same);
      const feed = `${name}.${input}`;
      return [input, { value: io.input(feed, type.dtype, [batch, ...(rest as number[])]), feed }];
    }),
  );
}

/** Whether a value may be fed to an input: its batch is cut into pieces where the input's is another. */
const fits = (type: TensorType | undefined, { dtype, shape }: Fact): boolean =>
  type === undefined ||
  (type.dtype === dtype &&
    (type.shape === undefined ||
      (type.shape.length === shape?.length &&
        type.shape.every((dim, axis) => axis === 0 || !isKnown(dim) || dim === shape[axis]))));

function unreadable(g: Emitter, input: string, type: TensorType | undefined, like: string | undefined): MinnowError {
  const own = type === undefined ? "of a type that is not declared" : `${type.dtype} [${type.shape}]`;
  const there =
    like === undefined ? "the student has none of that name" : `the student's is ${g.dtype(like)} [${g.shape(like)}]`;
  return new MinnowError(`The teacher's input "${input}" is ${own}; ${there}.`, {
    code: "train/teacher-input",
    mend: "Give the teacher inputs of fixed sizes, and the examples what it reads under its inputs' names.",
  });
}

/** Why a teacher cannot become part of a step's graph; undefined where it can. `form` is it in the step's opset. */
export function misfit(g: Emitter, model: Model, form: Model | undefined): string | undefined {
  if (form === undefined) return `its operators cannot be had in opset ${g.opsets.get("")}, which the step is in`;
  const used = form.graph.nodes.find(({ domain }) => form.opsets.get(domain) !== g.opsets.get(domain));
  if (used !== undefined) return `its ${used.op} is of ${used.domain || "ai.onnx"} ${form.opsets.get(used.domain)}`;
  if (form.functions.length > 0) return "it has functions of its own";
  const inner = form.graph.nodes.find((node) => subgraphs(node).length > 0);
  if (inner !== undefined) return `its ${inner.op} holds a graph of its own`;
  if ((form.graph.sparseWeights?.size ?? 0) > 0) return "it has sparse weights";
  const batch = feedInputs(model.graph).map(({ type }) => type?.shape?.[0]);
  if (batch.some((size) => size !== undefined && isKnown(size))) return `it takes batches of ${batch[0]}`;
  return undefined;
}

/** Puts the nodes of a teacher into the step's graph; gives what each of its values is called there. */
export function inlined(
  g: Emitter,
  { graph }: Model,
  sources: ReadonlyMap<string, Source>,
  name: string,
): ReadonlyMap<string, string> {
  const names = new Map([...sources].map(([input, { value }]) => [input, value]));
  for (const [weight, tensor] of graph.weights) names.set(weight, g.weight(`${name}.${weight}`, tensor));
  const near = g.near;
  for (const node of graph.nodes) {
    g.near = `${name}/${node.name || node.op}`;
    const inputs = node.inputs.map((input) => (input === "" ? "" : (names.get(input) as string)));
    const made = g.ops(node.op, inputs, node.outputs.length, node.attrs, node.domain);
    for (const [i, output] of node.outputs.entries()) if (output !== "") names.set(output, made[i] as string);
  }
  g.near = near;
  return names;
}

/** Where in the teacher an asked value is found, and its shape for the batch of the step. */
export function located(
  g: Emitter,
  model: Model,
  sources: ReadonlyMap<string, Source>,
  asked: Asked,
): { readonly value: string; readonly shape: readonly Dim[] | undefined } {
  const fixed = withShapes(g, model, sources);
  const facts = new Map<string, Fact>(inferModel(fixed));
  const [batch = 1] = g.shape([...sources.values()][0]?.value ?? "");
  const shapeOf = (name: string) => facts.get(name)?.shape?.map((dim, axis) => (axis === 0 ? batch : dim));
  const written = fixed.graph.nodes.some(({ outputs }) => outputs.includes(asked.of));
  if (!written && !facts.has(asked.of)) throw unknownValue(model, asked.of);
  const shape = shapeOf(asked.of);
  if (asked.scores === undefined || !facts.get(asked.of)?.shape?.every(isKnown)) return { value: asked.of, shape };
  const e = edit(fixed.graph);
  const found = logitsOf(new Emitter(e, facts, model.opsets), asked.of, asked.scores.squash, asked.scores.axis);
  // Where the scores are reshaped, it is done to what comes back.
  const own = (name: string) => inferModel(fixed).has(name);
  return { value: own(found) ? found : (e.writerOf(found)?.inputs[0] as string), shape };
}

/** The teacher with its inputs as large as what they read, the batch apart where it has one of its own. */
function withShapes(g: Emitter, model: Model, sources: ReadonlyMap<string, Source>): Model {
  const inputs = model.graph.inputs.map((info): ValueInfo => {
    const source = sources.get(info.name);
    if (source === undefined) return info;
    const { dtype, shape = [] } = g.fact(source.value);
    const own = info.type?.kind === "tensor" ? info.type.shape?.[0] : undefined;
    const batch = own !== undefined && isKnown(own) ? own : shape[0];
    return { name: info.name, type: { kind: "tensor", dtype, shape: [batch as Dim, ...shape.slice(1)] } };
  });
  return { ...model, graph: { ...model.graph, inputs } };
}

export const unknownValue = (model: Model, name: string): MinnowError =>
  new MinnowError(`The teacher has no value "${name}".`, {
    code: "train/teacher-value",
    mend: `Its outputs are ${model.graph.outputs.map((output) => output.name).join(", ")}.`,
  });
