import { createSink } from "#platform";
import { type Openable, sourceOf } from "../files/open.ts";
import type { Sink } from "../files/source.ts";
import type { Model } from "../ir/graph.ts";
import { readModel } from "./read.ts";
import { type WriteOptions, writeModel } from "./write.ts";

/**
 * Reads a model from a path (Node), a URL, a File or Blob, bytes, or any {@link Source}; large weights stay there until
 * they are read. See {@link readModel} for what can go wrong.
 *
 * @example
 * const model = await load("model.onnx");
 */
export const load = async (from: Openable): Promise<Model> => readModel(await sourceOf(from));

export interface SaveOptions {
  /** Puts the weights into `<file>_data` beside the model even where they would fit into it. */
  readonly externalData?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Writes a model to a path, and its weights to `<path>_data` if it takes more than 2 GB. Nothing is to be seen there
 * before all is written; an error leaves what was there. The model may be one that was loaded from the same path.
 */
export async function save(model: Model, to: string, options: SaveOptions = {}): Promise<void> {
  const sinks: Sink[] = [];
  const start = async (path: string): Promise<Sink> => {
    const sink = await createSink(path);
    sinks.unshift(sink);
    return sink;
  };
  const folder = to.slice(0, Math.max(to.lastIndexOf("/"), to.lastIndexOf("\\")) + 1);
  const write: WriteOptions = {
    external: {
      name: `${to.slice(folder.length)}_data`,
      sink: (name) => start(folder + name),
      when: options.externalData ? "always" : "needed",
    },
    ...(options.signal && { signal: options.signal }),
  };
  try {
    await writeModel(model, await start(to), write);
    for (const sink of sinks) await sink.commit();
  } catch (error) {
    for (const sink of sinks) await sink.abort();
    throw error;
  }
}
