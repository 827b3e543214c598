import { MinnowError } from "../errors.ts";
import { ints } from "../ir/attrs.ts";
import { type Dim, isKnown } from "../ir/dim.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s } from "../ir/tensor.ts";
import { normal, random } from "../numeric/random.ts";
import { inferModel } from "../ops/infer.ts";
import { removeDeadCode } from "../passes/index.ts";
import type { Pair } from "./terms.ts";

/** The model with more of its values as outputs, behind its own. */
export function withOutputs(model: Model, names: readonly string[], whose: string): Model {
  const { graph } = model;
  const there = new Set(graph.nodes.flatMap(({ outputs }) => outputs));
  const missing = names.find((name) => !there.has(name) && !graph.inputs.some((input) => input.name === name));
  if (missing !== undefined)
    throw new MinnowError(`The ${whose} has no value "${missing}".`, {
      code: "distill/value",
      mend: `Values are named as in the file; its last are ${[...there].slice(-3).join(", ")}.`,
    });
  const own = new Set(graph.outputs.map(({ name }) => name));
  const more = [...new Set(names)].filter((name) => !own.has(name)).map((name) => ({ name }));
  return more.length === 0 ? model : { ...model, graph: { ...graph, outputs: [...graph.outputs, ...more] } };
}

/** The model with the first `count` of its outputs alone, and without what only the others needed. */
export async function withoutOutputs(model: Model, count: number): Promise<Model> {
  if (model.graph.outputs.length === count) return model;
  const e = edit(model.graph);
  e.setOutputs(model.graph.outputs.slice(0, count));
  return (await removeDeadCode().run({ ...model, graph: e.done() })).model;
}

/**
 * The last values of each resolution that both nets have, the finest first: of those of size [N, C, H, W] with the same H·W the
 * last that is computed. Of the two sizes of a net's own input none is taken.
 */
export function stagePairs(student: Model, teacher: Model): readonly Pair[] {
  const [own, others] = [stagesOf(student), stagesOf(teacher)];
  const pairs = [...own].flatMap(([size, name]) => {
    const other = others.get(size);
    return other === undefined ? [] : [{ student: name, teacher: other }];
  });
  if (pairs.length > 0) return pairs;
  throw new MinnowError(
    `Student and teacher have no maps of one size: ${[...own.keys()].join(", ") || "none"} and ${[...others.keys()].join(", ") || "none"}.`,
    { code: "distill/stages", mend: "Say which values are compared (pairs), or leave the features out." },
  );
}

function stagesOf(model: Model): Map<string, string> {
  const facts = inferModel(model);
  const found = new Map<string, string>();
  for (const { outputs } of model.graph.nodes) {
    const [name = ""] = outputs;
    const fact = facts.get(name);
    const [, , h, w] = fact?.shape ?? [];
    if (fact?.dtype !== "float32" || fact.shape?.length !== 4 || !isKnown(h as Dim) || !isKnown(w as Dim)) continue;
    if ((h as number) * (w as number) > 1) found.set(`${h}×${w}`, name);
  }
  return found;
}

/** The axis of channels: 1 of maps, the last of everything else. */
const channelAxis = (rank: number): number => (rank === 4 ? 1 : rank - 1);

/**
 * The student with a learned map behind each value of the pairs whose channels are not as many as the teacher's; gives the pairs
 * with those in the place of the student's values. The first numbers are normal, of variance 1 / channels.
 */
export function withProjections(
  student: Model,
  teacher: Model,
  pairs: readonly Pair[],
  seed: number,
): { readonly model: Model; readonly pairs: readonly Pair[]; readonly weights: readonly string[] } {
  const [own, others] = [inferModel(student), inferModel(teacher)];
  const e = edit(student.graph);
  const outputs = [...student.graph.outputs];
  const weights: string[] = [];
  const next = random(seed);
  const made = pairs.map((pair) => {
    const [from, to] = [own.get(pair.student)?.shape, others.get(pair.teacher)?.shape];
    const axis = channelAxis(from?.length ?? 0);
    const [channels, wanted] = [from?.[axis], to?.[axis]];
    if (from?.length !== to?.length || typeof channels !== "number" || typeof wanted !== "number")
      throw new MinnowError(
        `"${pair.student}" of the student is [${from ?? "?"}], and "${pair.teacher}" of the teacher [${to ?? "?"}]; no linear map leads from one to the other.`,
        { code: "distill/shapes", mend: "Pair values with as many axes, and channels that are known." },
      );
    if (channels === wanted) return pair;
    const map = from?.length === 4;
    const numbers = Float32Array.from({ length: channels * wanted }, () => normal(next) / Math.sqrt(channels));
    const weight = e.weight(
      "distill.projection",
      float32s(map ? [wanted, channels, 1, 1] : [channels, wanted], numbers as unknown as number[]),
    );
    weights.push(weight);
    const [output = ""] = e.add({
      op: map ? "Conv" : "MatMul",
      inputs: [pair.student, weight],
      attrs: map ? { kernel_shape: ints([1, 1]) } : {},
      outputs: [e.fresh(`${pair.student}.projected`)],
    });
    outputs.push({ name: output });
    return { student: output, teacher: pair.teacher };
  });
  e.setOutputs(outputs);
  return { model: { ...student, graph: e.done() }, pairs: made, weights };
}
