import { MinnowError } from "../errors.ts";
import { isKnown } from "../ir/dim.ts";
import { BITS } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData, viewOf } from "../ir/tensor.ts";
import { fromHalf } from "../numeric/half.ts";
import { hashOf } from "../numeric/hash.ts";
import { toBytes } from "../onnx/index.ts";
import { openSession, type Session, type SessionOptions } from "../runtime/index.ts";
import type { Loss } from "./step.ts";
import { openCache, type TeacherCache } from "./teacher-cache.ts";
import type { Source } from "./teacher-graph.ts";

/** A value of the teacher that steps are fed with. */
export interface Answer {
  readonly feed: string;
  readonly value: string;
  readonly shape: readonly number[];
}

/** A teacher in a session of its own, which answers batches. */
export interface Answers {
  ask(answer: Answer, sources: ReadonlyMap<string, Source>): void;
  readonly supply: NonNullable<Loss["supply"]>;
  /** How many examples were computed and found, where answers are kept. */
  counts(): TeacherCache["counts"] | undefined;
  close(): Promise<void>;
}

export interface AnswersOptions extends SessionOptions {
  /** Whether answers are kept, and perhaps the file they are kept in. */
  readonly cache?: boolean | string | undefined;
}

export function openAnswers(model: Model, name: string, { cache: keep, ...running }: AnswersOptions): Answers {
  const asked = new Map<string, Omit<Answer, "shape">>();
  let reads: ReadonlyMap<string, Source> = new Map();
  let open: { session: Promise<Session>; count: number } | undefined;
  let cache: { kept: Promise<TeacherCache>; count: number } | undefined;
  let epoch: number | undefined;
  let counts: TeacherCache["counts"] | undefined;
  const closeSession = async () => {
    const last = open;
    open = undefined;
    await (await last?.session)?.close();
  };
  const close = async () => {
    await closeSession();
    await (await cache?.kept)?.save();
  };
  const kept = async (values: readonly string[]): Promise<TeacherCache> => {
    if (cache?.count !== values.length) {
      const path = typeof keep === "string" ? keep : undefined;
      cache = { kept: openCache(hashOf(await toBytes(model)), values, path), count: values.length };
    }
    return cache.kept;
  };
  const session = async (): Promise<Session> => {
    if (open !== undefined && open.count < asked.size) await closeSession();
    open ??= { session: openSession(withOutputs(model, asked), running), count: asked.size };
    return open.session;
  };
  return {
    ask({ feed, value }, sources) {
      asked.set(feed, { feed, value });
      reads = sources;
    },
    async supply({ feeds, epoch: now }) {
      if (asked.size === 0) return {};
      const given = Object.fromEntries([...reads].map(([input, { feed }]) => [input, feeds[feed] as TensorData]));
      const values = [...new Set([...asked.values()].map(({ value }) => value))];
      const compute = async (feeds: typeof given) => {
        const results = await inPieces(await session(), model, feeds, values);
        return Object.fromEntries(values.map((value) => [value, checked(results[value] as TensorData, name, value)]));
      };
      const memory = keep ? await kept(values) : undefined;
      counts = memory?.counts;
      if (now !== epoch) await memory?.save();
      epoch = now;
      const results =
        memory === undefined ? await compute(given) : await memory.answers(given, (rows) => compute(only(given, rows)));
      return Object.fromEntries([...asked.values()].map(({ feed, value }) => [feed, results[value] as TensorData]));
    },
    counts: () => counts,
    close,
  };
}

function withOutputs(model: Model, asked: ReadonlyMap<string, { readonly value: string }>): Model {
  const names = new Set([...asked.values()].map(({ value }) => value));
  const kept = model.graph.outputs.filter(({ name }) => names.delete(name));
  return { ...model, graph: { ...model.graph, outputs: [...kept, ...[...names].map((name) => ({ name }))] } };
}

/** Runs as many at a time as the model's inputs fix; the last piece is filled up with its first example. */
async function inPieces(
  session: Session,
  { graph }: Model,
  feeds: Readonly<Record<string, TensorData>>,
  values: readonly string[],
): Promise<Readonly<Record<string, TensorData>>> {
  const [name = "", first] = Object.entries(feeds)[0] ?? [];
  const type = graph.inputs.find((input) => input.name === name)?.type;
  const own = type?.kind === "tensor" ? type.shape?.[0] : undefined;
  const batch = first?.shape[0] ?? 1;
  if (own === undefined || !isKnown(own) || own === batch) return session.run(feeds, values);
  const parts: Record<string, TensorData>[] = [];
  for (let at = 0; at < batch; at += own) {
    const rows = Array.from({ length: own }, (_, i) => (at + i < batch ? at + i : at));
    parts.push(await session.run(only(feeds, rows), values));
  }
  return Object.fromEntries(
    values.map((value) => [
      value,
      joined(
        parts.map((part) => part[value] as TensorData),
        batch,
      ),
    ]),
  );
}

const only = (feeds: Readonly<Record<string, TensorData>>, rows: readonly number[]) =>
  Object.fromEntries(Object.entries(feeds).map(([key, feed]) => [key, rowsOf(feed, rows)]));

function rowsOf({ dtype, shape, data }: TensorData, rows: readonly number[]): TensorData {
  const each = elements(shape.slice(1));
  const out = viewOf(dtype, new Uint8Array((rows.length * each * BITS[dtype]) / 8)) as Float32Array;
  for (const [i, row] of rows.entries())
    out.set((data as Float32Array).subarray(row * each, (row + 1) * each), i * each);
  return { dtype, shape: [rows.length, ...shape.slice(1)], data: out };
}

function joined(parts: readonly TensorData[], batch: number): TensorData {
  const { dtype, shape } = parts[0] as TensorData;
  const each = elements(shape.slice(1));
  const out = viewOf(dtype, new Uint8Array((batch * each * BITS[dtype]) / 8)) as Float32Array;
  let at = 0;
  for (const { data } of parts) {
    const piece = (data as Float32Array).subarray(0, Math.min(data.length, batch * each - at));
    out.set(piece, at);
    at += piece.length;
  }
  return { dtype, shape: [batch, ...shape.slice(1)], data: out };
}

/** The numbers as float32; a MinnowError where one of them is none. */
function checked({ dtype, shape, data }: TensorData, name: string, value: string): TensorData {
  const floats =
    dtype === "float32"
      ? (data as Float32Array)
      : Float32Array.from(data as Float32Array, (v) => (dtype === "float16" ? fromHalf(v) : Number(v)));
  if (!floats.every(Number.isFinite)) {
    const row = Math.floor(floats.findIndex((v) => !Number.isFinite(v)) / elements(shape.slice(1)));
    throw new MinnowError(
      `The teacher "${name}" answers example ${row} of a batch with a number that is none: NaN or infinite.`,
      {
        code: "train/teacher-nan",
        at: `output "${value}"`,
        mend: "Check the teacher on this data with evaluate: its preprocessing, or a float16 that overflows.",
      },
    );
  }
  return { dtype: "float32", shape, data: floats };
}
