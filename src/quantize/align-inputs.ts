import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { float32s } from "../ir/tensor.ts";
import { titleOf, usesOf } from "../ir/walk.ts";
import type { Change } from "../passes/index.ts";
import type { Contraction, Plan } from "./plan.ts";
import type { Range, Ranges } from "./types.ts";
import { finiteFloats, partsOf } from "./weights.ts";

/** A model whose inputs are moved onto levels, with the ranges that go with it. */
export interface Aligned {
  readonly model: Model;
  readonly ranges: Ranges;
  readonly changes: readonly Change[];
}

/**
 * Moves inputs onto the levels they are rounded to. Zero must be a level; pixels that were brought to −1 … 1 lie halfway
 * between levels then, and every one of them is rounded by half a step. Adding the missing part of a step to the input, and
 * taking what that adds off the biases of what reads it, makes 8-bit pixels exact. Only where a range is not on levels
 * already, and convolutions or products with a bias read the input alone.
 */
export async function alignInputs(model: Model, plan: Plan, ranges: Ranges): Promise<Aligned> {
  const e = edit(model.graph);
  const moved = new Map(ranges);
  const changes: Change[] = [];
  for (const { name } of model.graph.inputs) {
    const [range, readers] = [ranges.get(name), readersOf(model, plan, name)];
    const shift = range && plan.values.has(name) ? shiftOf(range) : 0;
    if (range === undefined || readers === undefined || shift === 0) continue;
    const [onLevels] = e.add({ op: "Add", inputs: [name, e.weight("half", float32s([], [shift]))] });
    moved.set(onLevels!, { min: range.min + shift, max: range.max + shift });
    for (const reader of readers) {
      const bias = await movedBias(model, reader, shift);
      const inputs = reader.node.inputs.map((of) => (of === name ? onLevels! : of));
      inputs[reader.bias!.index] = e.weight(`${reader.node.outputs[0]}.bias`, bias);
      e.change(reader.node, { inputs });
    }
    changes.push({ what: "Moved an input onto the levels it is rounded to.", at: titleOf(readers[0]!.node) });
  }
  return changes.length === 0
    ? { model, ranges, changes }
    : { model: { ...model, graph: e.done() }, ranges: moved, changes };
}

/** The part of a step by which the lowest number of a range misses the levels that zero is one of. */
function shiftOf({ min, max }: Range): number {
  const step = (max - min) / 255;
  if (!(step > 0) || min >= 0 || max <= 0) return 0;
  const at = -min / step;
  const missing = (Math.round(at) - at) * step;
  return Math.abs(missing) < step / 64 ? 0 : -missing;
}

/** The contractions that read an input, if nothing else does and all can take a bias. */
function readersOf(model: Model, { contractions }: Plan, name: string): readonly Contraction[] | undefined {
  const readers = usesOf(model.graph).readers.get(name) ?? [];
  const found = readers.map((node) => contractions.find((c) => c.node === node && c.input === name));
  const fit = (c: Contraction | undefined): c is Contraction =>
    c?.bias !== undefined &&
    c.channel !== undefined &&
    c.node.inputs.filter((of) => of === name).length === 1 &&
    (c.bias.name === "" || model.graph.weights.get(c.bias.name)?.shape.length === 1);
  return found.length > 0 && found.every(fit) ? found : undefined;
}

/** The bias less what a shift of every input adds to each channel. */
async function movedBias({ graph }: Model, { weight: name, bias, channel }: Contraction, shift: number) {
  const weight = graph.weights.get(name)!;
  const values = await finiteFloats(name, weight);
  const { channels, channelOf } = partsOf(weight.shape, channel!.weight);
  const old = graph.weights.get(bias!.name);
  const out = old === undefined ? new Float64Array(channels) : Float64Array.from(await finiteFloats(bias!.name, old));
  values.forEach((value, i) => {
    out[channelOf(i)]! -= shift * value;
  });
  return float32s([channels], out);
}
