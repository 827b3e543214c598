import { bindInputs, feedInputs } from "../data/bind.ts";
import { type Dataset, dataset, isSkipped } from "../data/dataset.ts";
import { imageInput } from "../data/preprocess.ts";
import { isKnown } from "../ir/dim.ts";
import type { Model } from "../ir/graph.ts";
import { type Pixels, pixelsOf } from "../train/augment.ts";

/** A teacher under the name that what it reads is called after. */
export interface Named {
  readonly name: string;
  readonly model: Model;
}

/** Whether an input of the teacher is none of the student's: another name beside others, another type or size. */
export function ownView(student: Model, teacher: Model): boolean {
  const [own, theirs] = [feedInputs(student.graph), feedInputs(teacher.graph)];
  return theirs.some(({ name, type }) => {
    const single = own.length === 1 && theirs.length === 1 ? own[0] : undefined;
    const like = (own.find((input) => input.name === name) ?? single)?.type;
    if (like === undefined || type === undefined) return like !== type;
    const sizes = type.shape?.every((dim, axis) => {
      const other = like.shape?.[axis];
      return axis === 0 || !isKnown(dim) || other === undefined || !isKnown(other) || dim === other;
    });
    return type.dtype !== like.dtype || type.shape?.length !== like.shape?.length || sizes === false;
  });
}

/** The examples as the student reads them, with what the teachers read under `<name>.<input>`. */
export function viewsFor(
  data: Dataset,
  student: Model,
  teachers: readonly Named[],
  from: Dataset,
): { readonly data: Dataset; readonly pixels: Pixels | undefined } {
  const own = bindInputs(data, student.graph);
  const theirs = teachers.map(({ name, model }) => ({ name, data: bindInputs(from, model.graph) }));
  const shape = feedInputs(student.graph).find(({ type }) => imageInput(type?.shape) !== undefined)?.type?.shape;
  const preprocess = (data.prepare?.(undefined, shape) ?? data).preprocess;
  return {
    pixels: preprocess && pixelsOf(preprocess()),
    data: dataset({
      size: data.size,
      classes: data.classes,
      labels: data.labels,
      async at(index) {
        const example = await own.at(index);
        if (isSkipped(example)) return example;
        const feeds = { ...example.feeds };
        for (const view of theirs) {
          const seen = await view.data.at(index);
          if (isSkipped(seen)) return seen;
          for (const [input, feed] of Object.entries(seen.feeds)) feeds[`${view.name}.${input}`] = feed;
        }
        return { ...example, feeds };
      },
    }),
  };
}
