import { openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { readSafetensors, saveSafetensors } from "../files/safetensors.ts";
import { elements, type TensorData, viewOf } from "../ir/tensor.ts";
import { hashOf } from "../numeric/hash.ts";

/** What a teacher answered before, by the bits of what it was asked. */
export interface TeacherCache {
  /** The answers to a batch: those kept, and what `compute` says of the rows that are new. */
  answers(
    feeds: Readonly<Record<string, TensorData>>,
    compute: (rows: readonly number[]) => Promise<Readonly<Record<string, TensorData>>>,
  ): Promise<Readonly<Record<string, TensorData>>>;
  /** How many examples were computed, and how many were found. */
  readonly counts: { computed: number; found: number };
  save(): Promise<void>;
}

const KEY = "minnow.teacher";

/**
 * Keeps a teacher's answers in memory and, where `path` is given, in a safetensors file from one training to the next. An answer
 * is kept under the bits of the example as the teacher saw it: other data, preprocessing or augmentation never find a wrong one,
 * and the same augmentation seed finds them all. A file of another teacher, or of other values, is written anew.
 */
export async function openCache(teacher: string, values: readonly string[], path?: string): Promise<TeacherCache> {
  const rows = new Map<string, readonly Float32Array[]>();
  const shapes = new Map<string, readonly number[]>();
  const counts = { computed: 0, found: 0 };
  const identity = JSON.stringify({ teacher, values });
  let saved = 0;
  if (path !== undefined) {
    await restore(path, identity, values, rows, shapes);
    saved = rows.size;
  }
  return {
    counts,
    async answers(feeds, compute) {
      const keys = keysOf(Object.values(feeds));
      const fresh = [...keys.keys()].filter((i) => !rows.has(keys[i] as string));
      if (fresh.length > 0) {
        const results = await compute(fresh);
        for (const value of values) shapes.set(value, (results[value] as TensorData).shape.slice(1));
        for (const [at, i] of fresh.entries())
          rows.set(
            keys[i] as string,
            values.map((value) => rowOf(results[value] as TensorData, at)),
          );
      }
      counts.computed += fresh.length;
      counts.found += keys.length - fresh.length;
      return Object.fromEntries(
        values.map((value, k) => {
          const shape = [keys.length, ...(shapes.get(value) as readonly number[])];
          const data = new Float32Array(elements(shape));
          for (const [i, key] of keys.entries())
            data.set(rows.get(key)?.[k] as Float32Array, (i * data.length) / keys.length);
          return [value, { dtype: "float32", shape, data }];
        }),
      );
    },
    async save() {
      if (path === undefined || rows.size === saved) return;
      saved = rows.size;
      const tensors = asTensors(values, rows, shapes);
      await saveSafetensors(tensors, path, { [KEY]: identity });
    },
  };
}

/** All answers, one tensor a value, and the keys of their rows. */
function asTensors(
  values: readonly string[],
  rows: ReadonlyMap<string, readonly Float32Array[]>,
  shapes: ReadonlyMap<string, readonly number[]>,
) {
  const keys = BigInt64Array.from([...rows.keys()], (key) => BigInt.asIntN(64, BigInt(`0x${key}`)));
  const answers = values.map((value, k) => {
    const shape = [rows.size, ...(shapes.get(value) as readonly number[])];
    const data = new Float32Array(elements(shape));
    let at = 0;
    for (const row of rows.values()) {
      data.set(row[k] as Float32Array, at);
      at += (row[k] as Float32Array).length;
    }
    return tensorOf(value, "float32", shape, data);
  });
  return new Map([tensorOf(KEY, "int64", [rows.size], keys), ...answers]);
}

function tensorOf(
  name: string,
  dtype: "int64" | "float32",
  shape: readonly number[],
  data: BigInt64Array | Float32Array,
) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return [name, { dtype, shape, read: async () => bytes }] as const;
}

async function restore(
  path: string,
  identity: string,
  values: readonly string[],
  rows: Map<string, readonly Float32Array[]>,
  shapes: Map<string, readonly number[]>,
): Promise<void> {
  const source = await openPath(path).catch((error: unknown) => {
    if (error instanceof MinnowError && error.code === "files/missing") return undefined;
    throw error;
  });
  if (source === undefined) return;
  try {
    const { tensors, metadata } = await readSafetensors(source);
    const keys = tensors.get(KEY);
    if (keys === undefined)
      throw new MinnowError("It holds tensors, but no answers of a teacher.", {
        code: "train/teacher-cache",
        at: path,
        mend: "Give another path for the teacher's answers.",
      });
    if (metadata.get(KEY) !== identity) return;
    const names = viewOf("int64", await keys.read()) as BigInt64Array;
    const held = await Promise.all(
      values.map(async (value) => {
        const tensor = tensors.get(value);
        shapes.set(value, tensor?.shape.slice(1) ?? []);
        return viewOf("float32", (await tensor?.read()) ?? new Uint8Array()) as Float32Array;
      }),
    );
    for (const [i, name] of names.entries()) {
      const key = BigInt.asUintN(64, name).toString(16).padStart(16, "0");
      rows.set(
        key,
        held.map((all) => all.subarray((i * all.length) / names.length, ((i + 1) * all.length) / names.length)),
      );
    }
  } finally {
    await source.close?.();
  }
}

/** A key for each row of a batch. */
function keysOf(feeds: readonly TensorData[]): string[] {
  const count = feeds[0]?.shape[0] ?? 0;
  return Array.from({ length: count }, (_, i) => feeds.map((feed) => hashOf(bytesOf(feed, i, count))).join("")).map(
    (key) => (key.length === 16 ? key : hashOf(new TextEncoder().encode(key))),
  );
}

function bytesOf({ data }: TensorData, row: number, count: number): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return new Uint8Array(buffer, byteOffset + (row * byteLength) / count, byteLength / count);
}

const rowOf = ({ data, shape }: TensorData, row: number): Float32Array => {
  const each = elements(shape.slice(1));
  return (data as Float32Array).slice(row * each, (row + 1) * each);
};
