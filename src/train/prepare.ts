import { MinnowError } from "../errors.ts";
import { bindDim, isKnown, namesIn } from "../ir/dim.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import {
  type Change,
  constantsToWeights,
  fixTargets,
  foldConstants,
  foldShapes,
  fuseGemm,
  removeDeadCode,
  removeIdentities,
  sequence,
  takeWeightsOffInputs,
  untieWeights,
  untilStable,
  upgrade,
} from "../passes/index.ts";

/** What is done to a model before it is trained: modern forms, constants folded; weights and normalizations stay as they are. */
const ready = () =>
  sequence(
    [
      upgrade(),
      takeWeightsOffInputs(),
      untilStable(
        [
          constantsToWeights(),
          untieWeights(),
          foldShapes({ keepWeights: true }),
          fixTargets(),
          removeIdentities({ keepWeights: true }),
          removeDeadCode(),
          foldConstants({ keepWeights: true }),
          fuseGemm(),
        ],
        "ready",
      ),
    ],
    "readyToTrain",
  );

/**
 * The model in the form it is trained in, with the same inputs, outputs and predictions. Trained weights go back into it
 * by name.
 */
export async function readyToTrain(
  model: Model,
): Promise<{ readonly model: Model; readonly changes: readonly Change[] }> {
  return ready().run(model);
}

/**
 * The model with every symbolic size of its inputs a number: `batch` for the first axis of each input, `sizes` by name for
 * others. Throws `train/open-size` where one is left over.
 */
export async function bindSizes(
  model: Model,
  batch: number,
  sizes: ReadonlyMap<string, number> = new Map(),
): Promise<Model> {
  const known = new Map(sizes);
  for (const { type } of model.graph.inputs) {
    const first = type?.kind === "tensor" ? type.shape?.[0] : undefined;
    if (first !== undefined && !isKnown(first))
      for (const name of namesIn(first)) if (!known.has(name)) known.set(name, batch);
  }
  const inputs = model.graph.inputs.map((info) => bound(info, batch, known));
  const outputs = model.graph.outputs.map(({ name }): ValueInfo => ({ name }));
  const fixed: Model = { ...model, graph: { ...model.graph, inputs, outputs, valueInfo: new Map() } };
  return (await untilStable([foldShapes({ keepWeights: true }), removeDeadCode()], "bound").run(fixed)).model;
}

function bound(info: ValueInfo, batch: number, sizes: ReadonlyMap<string, number>): ValueInfo {
  if (info.type?.kind !== "tensor" || info.type.shape === undefined) return info;
  const shape = info.type.shape.map((dim, axis) => (axis === 0 && dim === "?" ? batch : bindDim(dim, sizes)));
  const open = shape.findIndex((dim) => !isKnown(dim));
  if (open < 0) return { ...info, type: { ...info.type, shape } };
  throw new MinnowError(`Axis ${open} of the input "${info.name}", "${shape[open]}", has no size.`, {
    code: "train/open-size",
    mend: "Training takes examples of one size: give the size of this axis.",
  });
}
