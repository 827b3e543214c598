import type { DType } from "../ir/dtype.ts";
import { inOrder } from "../ir/edit.ts";
import type { Node } from "../ir/graph.ts";
import { elements } from "../ir/tensor.ts";
import { type AxisTerm, axesOf } from "../ops/axes.ts";
import type { Emitter } from "../ops/emit.ts";
import { type Training, trainingFormOf } from "../ops/training.ts";

/** A fed value that is random: 1 / (1 − ratio) with probability 1 − ratio, else 0. */
export interface Mask {
  readonly input: string;
  readonly shape: readonly number[];
  readonly ratio: number;
}

/** A running statistic and what it becomes. */
export interface Statistic {
  readonly name: string;
  readonly next: string;
}

/**
 * Puts every operator that trains otherwise than it infers into its training form. Values that a form gives as [C, N, L]
 * stay so through everything elementwise, and are turned back where somebody else reads them.
 * Where none of a node's weights is trained it keeps its inference form: a frozen normalization keeps its statistics.
 */
export function trainingForms(
  g: Emitter,
  trained: ReadonlySet<string>,
  declare: (name: string, dtype: DType, shape: readonly number[]) => string,
): { readonly statistics: readonly Statistic[]; readonly masks: readonly Mask[] } {
  /** What each statistic has become: one that several nodes share moves on with each of them. */
  const statistics = new Map<string, string>();
  const masks: Mask[] = [];
  /** Values by name, as [C, N, L]. */
  const turned = new Map<string, string>();
  const channelsFirst = (value: string): string => {
    const known = turned.get(value);
    if (known !== undefined) return known;
    const [batch, channels, ...sizes] = g.shape(value) as [number, number, ...number[]];
    const made = g.transpose(g.reshape(value, [batch, channels, elements(sizes)]), [1, 0, 2]);
    turned.set(value, made);
    return made;
  };
  const replace = (node: Node, output: string, isTurned: boolean) => {
    const name = node.outputs[0] as string;
    const back = isTurned ? g.reshape(g.transpose(output, [1, 0, 2]), g.shape(name)) : output;
    if (g.edit.isOutput(name)) g.edit.replace(node, { op: "Identity", inputs: [back], outputs: [name] });
    else g.edit.bypass(node, back);
    if (isTurned) for (const known of [name, back]) turned.set(known, output);
  };
  for (const node of inOrder([...g.edit.nodes()])) {
    const current = g.edit.current(node) ?? node;
    const form = trainingFormOf(current);
    const weights = current.inputs.filter((name) => g.edit.constant(name) !== undefined || trained.has(name));
    const frozen = weights.some((name) => g.rank(name) > 0) && !weights.some((name) => trained.has(name));
    g.near = `training/${current.name || current.op}`;
    const context: Training = {
      g,
      node: current,
      running: (name) => statistics.get(name) ?? name,
      statistic: (name, next) => statistics.set(name, next),
      mask: (shape, ratio) => {
        const input = declare(`train.mask.${masks.length}`, "float32", shape);
        masks.push({ input, shape, ratio });
        return input;
      },
      channelsFirst,
      isChannelsFirst: (value) => turned.has(value),
    };
    const made = frozen ? undefined : form?.(context);
    if (made !== undefined) replace(current, made.output, made.channelsFirst === true);
    else {
      const inputs = turnedInputs(g, current, turned);
      if (inputs !== undefined) replace(current, g.op(current.op, inputs, current.attrs, current.domain), true);
    }
  }
  g.near = "";
  return { statistics: [...statistics].map(([name, next]) => ({ name, next })), masks };
}

/** The operands of a node that works element by element, as [C, N, L]; undefined where it does not, or one cannot be had so. */
function turnedInputs(g: Emitter, node: Node, turned: ReadonlyMap<string, string>): string[] | undefined {
  if (node.outputs.length !== 1 || !node.inputs.some((name) => turned.has(name))) return undefined;
  const axes = axesOf(g.mapped(node));
  if ("frozen" in axes || !isRest(axes.pattern.outputs[0])) return undefined;
  const rank = g.rank(node.outputs[0] as string);
  const inputs = node.inputs.map((name, i) => {
    const terms = axes.pattern.inputs[i];
    if (name === "" || terms?.length === 0) return name;
    if (!isRest(terms)) return undefined;
    return g.size(name) === 1 && g.rank(name) <= 1 ? name : g.rank(name) === rank ? turned.get(name) : undefined;
  });
  return inputs.every((name) => name !== undefined) ? inputs : undefined;
}

/** `...`, with no mark: axes may be merged and swapped. */
const isRest = (terms: readonly AxisTerm[] | undefined): boolean =>
  terms?.length === 1 && terms[0]?.kind === "rest" && terms[0].mark === undefined;
