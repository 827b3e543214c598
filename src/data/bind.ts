import { MinnowError } from "../errors.ts";
import type { Graph, TensorType } from "../ir/graph.ts";
import { type Dataset, type Example, mapExamples } from "./dataset.ts";
import { imageInput } from "./preprocess.ts";

/** The inputs a caller must feed: those that are no weights, with their declared types. */
export function feedInputs(graph: Graph): { name: string; type: TensorType | undefined }[] {
  return graph.inputs
    .filter(({ name }) => !graph.weights.has(name))
    .map(({ name, type }) => ({ name, type: type?.kind === "tensor" ? type : undefined }));
}

/**
 * The dataset with its feeds under the names of the graph's inputs. Feeds that have those names already are taken as they
 * are, others are left out; a single feed goes to a single input, whatever either is called. An example whose type or
 * shape is not what the input declares (its axis 0, the batch, apart) is an error when it is read. Pictures are
 * preprocessed for the first input that takes pictures, where their options leave it open.
 */
export function bindInputs(data: Dataset, graph: Graph): Dataset {
  const inputs = feedInputs(graph);
  const pictures = inputs.find(({ type }) => imageInput(type?.shape) !== undefined);
  return mapExamples(data.prepare?.(undefined, pictures?.type?.shape) ?? data, (example) => {
    const feeds: Record<string, Example["feeds"][string]> = {};
    const [only, another] = Object.keys(example.feeds);
    for (const { name, type } of inputs) {
      const single = inputs.length === 1 && another === undefined ? only : undefined;
      const feed = example.feeds[name] ?? (single === undefined ? undefined : example.feeds[single]);
      if (feed === undefined)
        throw new MinnowError(`It has nothing for the model's input "${name}", only ${list(example)}.`, {
          code: "data/no-feed",
          at: example.name,
          mend: "Name the feeds of your data after the model's inputs.",
        });
      if (type !== undefined) checkType(name, type, feed, example.name);
      feeds[name] = feed;
    }
    return { ...example, feeds };
  });
}

const list = (example: Example): string =>
  Object.keys(example.feeds)
    .map((key) => `"${key}"`)
    .join(", ") || "nothing";

function checkType(name: string, type: TensorType, feed: Example["feeds"][string], at: string | undefined): void {
  const wanted = type.shape?.slice(1);
  const fits =
    wanted === undefined ||
    (wanted.length === feed.shape.length &&
      wanted.every((dim, axis) => typeof dim === "string" || dim === feed.shape[axis]));
  if (fits && type.dtype === feed.dtype) return;
  throw new MinnowError(
    `It is ${feed.dtype} [${feed.shape}], and the model's input "${name}" takes ${type.dtype}${wanted ? ` [${wanted}]` : ""} for one example.`,
    { code: "data/input-mismatch", at, mend: "Give the preprocessing the model was trained with, or other data." },
  );
}
