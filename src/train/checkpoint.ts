import { openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { readSafetensors, saveSafetensors } from "../files/safetensors.ts";
import { type TensorData, viewOf } from "../ir/tensor.ts";

/** Where a training stands: enough to go on as if it had never stopped. */
export interface Checkpoint {
  /** Weights, optimizer state, running statistics and averages, by the training step's names. */
  readonly tensors: ReadonlyMap<string, TensorData>;
  /** What is no tensor; plain data. */
  readonly progress: Readonly<Record<string, unknown>>;
}

const KEY = "minnow.training";
const VERSION = 1;

/** Writes a checkpoint as safetensors, atomically; `progress` is its metadata, as JSON. */
export async function saveCheckpoint(path: string, { tensors, progress }: Checkpoint): Promise<void> {
  const held = [...tensors].map(([name, { dtype, shape, data }]) => {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    return [name, { dtype, shape, read: async () => new Uint8Array(buffer, byteOffset, byteLength) }] as const;
  });
  await saveSafetensors(new Map(held), path, { [KEY]: JSON.stringify({ version: VERSION, ...progress }) });
}

/** Reads what {@link saveCheckpoint} wrote. A MinnowError (`train/checkpoint`) for other safetensors files. */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const source = await openPath(path);
  try {
    const { tensors, metadata } = await readSafetensors(source);
    const { version, ...progress } = JSON.parse(metadata.get(KEY) ?? "{}") as Record<string, unknown>;
    if (version !== VERSION)
      throw new MinnowError("It holds tensors, but no state of a training.", {
        code: "train/checkpoint",
        at: path,
        mend: "Give the file that a training left behind; its name ends in .checkpoint.safetensors.",
      });
    const read = new Map<string, TensorData>();
    for (const [name, { dtype, shape, read: bytes }] of tensors)
      read.set(name, { dtype, shape, data: viewOf(dtype, await bytes()) });
    return { tensors: read, progress };
  } finally {
    await source.close?.();
  }
}
