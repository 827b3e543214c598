import type { Dataset } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import { edit } from "../ir/edit.ts";
import type { Model, Node } from "../ir/graph.ts";
import { elements, type TensorData } from "../ir/tensor.ts";
import { usesOf } from "../ir/walk.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";
import { openSession, type Runtime, type Session } from "../runtime/index.ts";
import { type Difference, type DifferenceSum, differenceSum } from "./difference.ts";
import { feedBatches } from "./evaluate.ts";

export interface CompareOptions {
  /** Compare inner values as well; default false. Both models then run without fusing across them. */
  readonly layers?: boolean;
  readonly runtime?: Runtime;
  readonly threads?: number;
  readonly batch?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface OutputDifference extends Difference {
  readonly name: string;
}

/** A layer's output in both models, and how much of its error was born in it. */
export interface LayerDifference extends OutputDifference {
  readonly op: string;
  /** Name of the node that computes it in the reference. */
  readonly node: string;
  /** The worst SQNR among what it reads; Infinity where that is the same in both. */
  readonly sqnrIn: number;
  /** dB lost between what it reads and what it gives; above 0 the error is born here. */
  readonly born: number;
}

export interface Comparison {
  readonly samples: number;
  readonly outputs: readonly OutputDifference[];
  /** Inner values that both models have under one name, the worst birthplace first. */
  readonly layers: readonly LayerDifference[];
  /** Share of rows of the first output whose largest entry is the same; NaN for outputs that are no scores. */
  readonly agreement: number;
}

/**
 * Runs two models on the same examples and says how far apart their outputs are, and with `layers` where the error is
 * born: the debugger of a bad quantization. Layers are matched by the names of the values they compute.
 */
export async function compare(
  reference: Model,
  candidate: Model,
  data: Dataset,
  options: CompareOptions = {},
): Promise<Comparison> {
  sameSignature(reference, candidate);
  const inner = options.layers === true ? sharedValues(reference, candidate) : [];
  const outputs = reference.graph.outputs.map((o) => o.name);
  const open = (model: Model) =>
    openSession(withOutputs(model, inner), {
      ...(options.runtime && { runtime: options.runtime }),
      ...(options.threads && { threads: options.threads }),
    });
  const sessions: Session[] = [];
  try {
    sessions.push(await open(reference), await open(candidate));
    const sums = new Map([...outputs, ...inner].map((name) => [name, differenceSum()]));
    let [rows, agreed, samples] = [0, 0, 0];
    for await (const { feeds, indices, skipped } of feedBatches(reference, data, options)) {
      const [a, b] = [await sessions[0]!.run(feeds), await sessions[1]!.run(feeds)];
      for (const [name, sum] of sums) addTo(sum, a[name], b[name], name);
      const votes = sameAnswers(a[outputs[0] ?? ""], b[outputs[0] ?? ""]);
      [rows, agreed] = [rows + votes.rows, agreed + votes.same];
      samples += indices.length;
      options.onProgress?.(samples + skipped.length, data.size);
    }
    const results = new Map([...sums].map(([name, sum]) => [name, sum.result()]));
    return {
      samples,
      outputs: outputs.map((name) => ({ name, ...results.get(name)! })),
      layers: birthplaces(reference, inner, results),
      agreement: rows === 0 ? Number.NaN : agreed / rows,
    };
  } finally {
    for (const session of sessions) await session.close();
  }
}

function sameSignature(a: Model, b: Model): void {
  for (const side of ["inputs", "outputs"] as const) {
    const names = (m: Model) => m.graph[side].filter((v) => !m.graph.weights.has(v.name)).map((v) => v.name);
    const missing = names(a).filter((name) => !names(b).includes(name));
    if (missing.length > 0)
      throw new MinnowError(
        `The second model has no ${side.slice(0, -1)} "${missing[0]}"; it has ${names(b).join(", ")}.`,
        {
          code: "measure/signature",
          mend: "Compare models with the same inputs and outputs.",
        },
      );
  }
}

/**
 * Float values that nodes of both models compute under one name, graph outputs left out. What goes into a clamp and nowhere
 * else is judged behind it: a quantized model cuts it off before.
 */
function sharedValues(a: Model, b: Model): string[] {
  const facts = inferModel(a);
  const other = usesOf(b.graph).writer;
  const { outputs, writer, readers } = usesOf(a.graph);
  const isClamped = (name: string): boolean => readers.get(name)?.every(isClamp) === true && readers.has(name);
  return [...writer.keys()].filter(
    (name) => other.has(name) && !outputs.has(name) && facts.get(name)?.dtype === "float32" && !isClamped(name),
  );
}

const isClamp = (node: Node): boolean => ruleOf(node)?.quant?.kind === "clamp";

/** The model with inner values as outputs too. */
export function withOutputs(model: Model, names: readonly string[]): Model {
  if (names.length === 0) return model;
  const e = edit(model.graph);
  e.setOutputs([...model.graph.outputs, ...names.map((name) => ({ name }))]);
  return { ...model, graph: e.done() };
}

function addTo(sum: DifferenceSum, a: TensorData | undefined, b: TensorData | undefined, name: string): void {
  if (a === undefined || b === undefined) return;
  if (elements(a.shape) !== elements(b.shape))
    throw new MinnowError(`It is [${a.shape}] in the one model and [${b.shape}] in the other.`, {
      code: "measure/shape",
      at: `value "${name}"`,
      mend: "Compare a model with one made from it.",
    });
  sum.add(a, b);
}

/** Rows `[N, …]` whose largest entry stands at the same place. */
function sameAnswers(a: TensorData | undefined, b: TensorData | undefined): { rows: number; same: number } {
  const rows = a?.shape[0] ?? 0;
  if (a === undefined || b === undefined || a.shape.length < 2 || !a.dtype.startsWith("float"))
    return { rows: 0, same: 0 };
  const width = a.data.length / rows;
  let same = 0;
  for (let i = 0; i < rows; i++)
    if (argmax(a.data as ArrayLike<number>, i * width, width) === argmax(b.data as ArrayLike<number>, i * width, width))
      same++;
  return { rows: width > 1 ? rows : 0, same };
}

function argmax(values: ArrayLike<number>, start: number, width: number): number {
  let best = 0;
  for (let i = 1; i < width; i++) if (values[start + i]! > values[start + best]!) best = i;
  return best;
}

function birthplaces(
  model: Model,
  inner: readonly string[],
  results: ReadonlyMap<string, Difference>,
): LayerDifference[] {
  const { writer } = usesOf(model.graph);
  const known = new Set(inner);
  const inputSqnr = (name: string, seen: Set<string>): number => {
    const direct = known.has(name) ? results.get(name) : undefined;
    if (direct !== undefined) return direct.sqnr;
    const node = writer.get(name);
    if (node === undefined || seen.has(name)) return Infinity;
    seen.add(name);
    return Math.min(Infinity, ...node.inputs.map((input) => inputSqnr(input, seen)));
  };
  const values = [...inner, ...model.graph.outputs.map((o) => o.name).filter((name) => writer.has(name))];
  return values
    .flatMap((name) => {
      const last = writer.get(name);
      // A clamp goes with what it clamps.
      const clamped = last !== undefined && isClamp(last) ? writer.get(last.inputs[0] ?? "") : undefined;
      const node = clamped !== undefined && !known.has(last?.inputs[0] ?? "") ? clamped : last;
      const difference = results.get(name);
      if (node === undefined || difference === undefined) return [];
      const sqnrIn = Math.min(Infinity, ...node.inputs.map((input) => inputSqnr(input, new Set([name]))));
      return [{ name, node: node.name, op: node.op, ...difference, sqnrIn, born: bornIn(sqnrIn, difference.sqnr) }];
    })
    .sort((a, b) => b.born - a.born);
}

/** Noise-to-signal added between input and output, as the dB an exact input would have cost: capped at 60 dB. */
function bornIn(before: number, after: number): number {
  const noise = (db: number) => 10 ** (-Math.min(db, 60) / 10);
  return 10 * Math.log10(noise(after) / noise(before));
}
