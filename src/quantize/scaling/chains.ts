import { intAttr } from "../../ir/attrs.ts";
import type { Graph, Model } from "../../ir/graph.ts";
import { usesOf } from "../../ir/walk.ts";
import { ruleOf } from "../../ops/index.ts";
import type { Contraction, Plan } from "../plan.ts";

/**
 * Channels from the contraction that makes them, through depthwise ones, to the contraction that sums over them: nothing else sees them,
 * so they can be moved, copied and left out where the last makes it good.
 */
export interface Chain {
  readonly channels: number;
  /** The maker, then the depthwise ones: each has its channels along `channel.weight`, and a bias or room for one. */
  readonly makers: readonly Contraction[];
  /** What each of the makers' outputs is when it is read, behind its clamps. */
  readonly values: readonly string[];
  readonly last: Contraction;
  /** The axis of `last`'s weight along which it sums over the channels. */
  readonly axis: number;
}

/** The chains of a model, in order; layers that were left out of a plan may be in them. */
export function chainsOf(model: Model, plan: Plan): Chain[] {
  const all = [...plan.contractions, ...plan.excluded];
  const owned = model.graph.nodes.flatMap((node) => all.filter((c) => c.node === node && isOwned(model.graph, c)));
  const byInput = new Map(owned.map((contraction) => [contraction.input, contraction]));
  return owned.flatMap((maker) => {
    const channels = channelsIn(model.graph, maker);
    if (intAttr(maker.node, "group", 1) > 1) return [];
    const [makers, values] = [[maker], [] as string[]];
    for (;;) {
      const value = readValue(model.graph, makers.at(-1)!);
      const next = value === undefined ? undefined : byInput.get(value);
      if (value === undefined || next === undefined) return [];
      values.push(value);
      const group = intAttr(next.node, "group", 1);
      if (next.depthwise && group === channels && channelsIn(model.graph, next) === channels) makers.push(next);
      else {
        const axis = summedAxis(model.graph, next, channels);
        return axis === undefined || group !== 1 ? [] : [{ channels, makers, values, last: next, axis }];
      }
    }
  });
}

/** Whether a contraction has its weight and its bias to itself. */
function isOwned(graph: Graph, { weight, bias, channel }: Contraction): boolean {
  const { readers } = usesOf(graph);
  const alone = (name: string) => readers.get(name)?.length === 1;
  if (channel === undefined || bias === undefined || !alone(weight)) return false;
  const [size, ...more] = graph.weights.get(bias.name)?.shape ?? [];
  const channels = graph.weights.get(weight)?.shape[channel.weight];
  return bias.name === "" || (alone(bias.name) && size === channels && more.length === 0);
}

const channelsIn = ({ weights }: Graph, { weight, channel }: Contraction): number =>
  weights.get(weight)!.shape[channel!.weight]!;

/** What is read of a contraction's output, by one node alone: itself, or what clamps make of it. */
function readValue(graph: Graph, { node }: Contraction): string | undefined {
  const { readers, outputs } = usesOf(graph);
  let value = node.outputs[0] ?? "";
  for (;;) {
    const reading = readers.get(value) ?? [];
    if (reading.length !== 1 || outputs.has(value)) return undefined;
    const [next] = reading;
    if (ruleOf(next!)?.quant?.kind !== "clamp" || next!.inputs[0] !== value) return value;
    value = next!.outputs[0] ?? "";
  }
}

/** Of the two first axes of a weight that which is no output channel's. */
function summedAxis({ weights }: Graph, { weight, channel }: Contraction, channels: number): number | undefined {
  const { shape } = weights.get(weight)!;
  const axis = 1 - channel!.weight;
  return shape.length >= 2 && (axis === 0 || axis === 1) && shape[axis] === channels ? axis : undefined;
}
