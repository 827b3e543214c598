import { bindInputs } from "../data/bind.ts";
import { type Dataset, isSkipped } from "../data/dataset.ts";
import { MinnowError } from "../errors.ts";
import type { Graph } from "../ir/graph.ts";
import { elements, type TensorData } from "../ir/tensor.ts";
import { type Augment, mixedTargets, mixUp } from "./augment.ts";
import { LABELS, TARGETS } from "./losses.ts";
import type { LearningBatch } from "./order.ts";
import type { Feed, Loss } from "./step.ts";

/** What each batch of a step feeds. */
type Feeds = readonly Feed[];

/**
 * The dataset under the names a training step is fed by: the model's inputs, and besides them what the loss asks for, where
 * the examples themselves hold it under that name.
 */
export async function bindTraining(data: Dataset, graph: Graph, feeds: Feeds): Promise<Dataset> {
  const first = data.prepare === undefined ? await firstExample(data) : {};
  const own = new Set(graph.inputs.map(({ name }) => name));
  const more = feeds.flatMap(({ asked = "", dtype, shape }) =>
    Object.hasOwn(first, asked) && !own.has(asked) ? [{ name: asked, dtype, shape }] : [],
  );
  const inputs = more.map(({ name, dtype, shape }) => ({ name, type: { kind: "tensor" as const, dtype, shape } }));
  return bindInputs(data, { ...graph, inputs: [...graph.inputs, ...inputs] });
}

async function firstExample(data: Dataset): Promise<Readonly<Record<string, TensorData>>> {
  for (let i = 0; i < Math.min(data.size, 8); i++) {
    const example = await data.at(i);
    if (!isSkipped(example)) return example.feeds;
  }
  return {};
}

/** How batches are changed on their way into a step. */
export interface Change {
  /** The input that holds pictures. */
  readonly input: string;
  readonly augment: Augment;
  readonly mixup?: number;
  readonly seed: number;
}

/** A batch on its way: how its loss and its epoch have it changed and added to. */
interface Way {
  readonly loss: Pick<Loss, "supply">;
  readonly change?: Change | undefined;
  readonly epoch?: number;
}

/** What a step is fed with: the batch, augmented, with what the loss asks for: labels, targets, or what it supplies itself. */
export async function feedsOf(
  feeds: Feeds,
  batch: Pick<LearningBatch, "feeds" | "labels" | "indices">,
  { loss, change, epoch }: Way,
): Promise<Record<string, TensorData>> {
  let given: Readonly<Record<string, TensorData>> = batch.feeds;
  if (change !== undefined && epoch !== undefined) {
    const { shape, data } = given[change.input] as TensorData;
    const pictures = { data: data as Float32Array, shape, indices: batch.indices };
    change.augment(pictures, epoch);
    const shares = change.mixup && mixUp(pictures, { ...change, epoch, alpha: change.mixup });
    const targets = feeds.find(({ asked }) => asked === TARGETS);
    if (shares && targets !== undefined) {
      const mixed = mixedTargets(shares, labelsOf(batch), targets.shape[1] ?? 1);
      given = { ...given, [targets.name]: { dtype: "float32", shape: targets.shape, data: mixed } };
    }
  }
  if (loss.supply !== undefined) {
    const { indices } = batch;
    given = { ...given, ...(await loss.supply({ feeds: given, indices, ...(epoch !== undefined && { epoch }) })) };
  }
  const inputs = new Set(feeds.flatMap(({ name, asked }) => (asked === undefined ? [name] : [])));
  const find = ({ name, asked = name }: Feed) => given[name] ?? (inputs.has(asked) ? undefined : given[asked]);
  return Object.fromEntries(feeds.map((feed) => [feed.name, find(feed) ?? answers(feed, batch)]));
}

/** Labels, or targets made of them: a 1 at the class, or the label as a number where there is one output. */
function answers(
  { name: own, asked: name = own, shape }: Feed,
  batch: Pick<LearningBatch, "labels" | "indices">,
): TensorData {
  if (name !== LABELS && name !== TARGETS)
    throw new MinnowError(`The loss asks for "${name}", which the data does not have.`, {
      code: "train/no-feed",
      mend: `Let every example's feeds hold "${name}".`,
    });
  const labels = labelsOf(batch);
  const each = elements(shape) / labels.length;
  if (name === LABELS && each === 1) return { dtype: "int64", shape, data: BigInt64Array.from(labels, BigInt) };
  const [, classes = 1] = shape;
  if (name === LABELS || (each !== 1 && each !== classes))
    throw new MinnowError(`The loss asks for "${name}" [${shape}]; the data has one class for each example.`, {
      code: "train/no-feed",
      mend: `Let every example's feeds hold "${name}" [${shape.slice(1)}].`,
    });
  if (each === 1) return { dtype: "float32", shape, data: Float32Array.from(labels) };
  const data = new Float32Array(elements(shape));
  for (const [i, label] of labels.entries()) data[i * classes + label] = 1;
  return { dtype: "float32", shape, data };
}

function labelsOf({ labels }: Pick<LearningBatch, "labels">): Int32Array {
  if (labels !== undefined) return labels;
  throw new MinnowError("The data has no labels to learn from.", {
    code: "train/no-labels",
    mend: "Give one folder for each class, or arrays with y; or a loss that needs none.",
  });
}

/** A MinnowError where a label is beyond the classes the model tells apart. */
export function checkLabels(data: Dataset, classes: number | undefined): void {
  if (classes === undefined) return;
  const stranger = data.labels?.find((label) => label < 0 || label >= classes);
  if (stranger !== undefined)
    throw new MinnowError(`An example has the class ${stranger}; the model tells ${classes} classes apart.`, {
      code: "train/labels",
      at: data.classes?.[stranger],
      mend: "Check the class folders, --labels and --label-offset, or give the model a head for these classes.",
    });
}
