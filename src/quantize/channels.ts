import type { Model, Node } from "../ir/graph.ts";
import { axesOf, channelAxis, channelTerm, lettersOf } from "../ops/axes.ts";
import { applied, inferModel } from "../ops/infer.ts";

/** Where the output channels of a contraction lie. */
export interface Channels {
  /** Axis of the weight. */
  readonly weight: number;
  /** Axis of the output, from the end: −1 is the last. */
  readonly output: number;
}

/**
 * Where the output channels lie, by the axes of the node's operator; undefined where it has no such axis, or the weight
 * has more axes of its own (a batch of matrices), so that one scale for each channel would not do.
 */
export function channelsOf(model: Model, node: Node, weight: number, rank: number): Channels | undefined {
  const facts = inferModel(model);
  const results = node.outputs.map((name) => facts.get(name));
  const axes = axesOf({ ...applied(node, model.opsets, facts), results });
  if ("frozen" in axes) return undefined;
  const { pattern } = axes;
  const terms = pattern.inputs[weight] ?? [];
  const [at, axis] = [channelTerm(pattern, weight), channelAxis(pattern, weight, rank)];
  if (at === undefined || axis === undefined) return undefined;
  if (terms.some((term) => term.kind === "rest") && rank >= terms.length) return undefined;
  const letters = lettersOf(terms[at]!);
  const output = pattern.outputs[0] ?? [];
  const place = output.findIndex((term) => lettersOf(term).some((letter) => letters.includes(letter)));
  return place < 0 ? undefined : { weight: axis, output: place - output.length };
}
