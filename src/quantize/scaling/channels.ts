import type { Dataset } from "../../data/dataset.ts";
import { int } from "../../ir/attrs.ts";
import { edit } from "../../ir/edit.ts";
import type { Model } from "../../ir/graph.ts";
import { int64s } from "../../ir/tensor.ts";
import { inferModel } from "../../ops/infer.ts";
import { openSession } from "../../runtime/index.ts";
import { calibrationBatches, numbersOf } from "../calibrate.ts";
import type { CalibrateOptions } from "../types.ts";
import type { ScalingGroup } from "./groups.ts";

/** What was seen of the channels of a group, by class. */
export interface ChannelStatistics {
  /** Largest magnitude in what the group's matrices read. */
  readonly most: Float64Array;
  /** Mean magnitude in it. */
  readonly mean: Float64Array;
  /** Largest number that a clamp on the way is given; 0 where there is none. */
  readonly peak: Float64Array;
}

/**
 * Runs the model over examples and sees how large the channels of every group get, inside the graph: no activation leaves
 * the runtime.
 */
export async function observeChannels(
  model: Model,
  groups: readonly ScalingGroup[],
  data: Dataset,
  options: CalibrateOptions,
): Promise<ChannelStatistics[]> {
  const e = edit(model.graph);
  const facts = inferModel(model);
  const watched = groups.flatMap((group, g) => {
    const read = new Set(group.weights.filter((w) => w.divided && w.matrix).map(({ node }) => node.inputs[0]));
    const clamped = new Set(group.bounds.map(({ value }) => value));
    return group.values
      .filter(({ name }) => read.has(name) || clamped.has(name))
      .map(({ name, axis, classes }, i) => {
        const rank = facts.get(name)?.shape?.length ?? 0;
        const others = Array.from({ length: rank }, (_, k) => k).filter((k) => k !== axis);
        const names = { most: `minnow.most.${g}.${i}`, mean: `minnow.mean.${g}.${i}` };
        const [size] = clamped.has(name) ? [name] : e.add({ op: "Abs", inputs: [name] });
        const axes = e.weight("minnow.axes", int64s(others));
        const attrs = { keepdims: int(0) };
        e.add({ op: "ReduceMax", inputs: [size!, axes], outputs: [names.most], attrs });
        e.add({ op: "ReduceMean", inputs: [size!, axes], outputs: [names.mean], attrs });
        return { group: g, name, classes, clamped: clamped.has(name), ...names };
      });
  });
  e.setOutputs(watched.flatMap(({ most, mean }) => [{ name: most }, { name: mean }]));
  const seen = groups.map(({ count }) => ({
    most: new Float64Array(count),
    mean: new Float64Array(count),
    peak: new Float64Array(count),
  }));
  const members = groups.map((_, g) => {
    const sizes = new Float64Array(groups[g]!.count);
    for (const { group, classes, clamped } of watched)
      if (group === g && !clamped) for (const c of classes) sizes[c]!++;
    return sizes;
  });
  const session = await openSession(
    { ...model, graph: e.done() },
    options.threads === undefined ? {} : { threads: options.threads },
  );
  try {
    const each = Math.max(
      ...numbersOf(
        model,
        watched.map(({ name }) => name),
      ),
    );
    let count = 0;
    for await (const { feeds, indices } of calibrationBatches(model, 4 * each, data, options)) {
      const results = await session.run(feeds);
      count += indices.length;
      for (const { group, classes, clamped, most, mean } of watched) {
        const [highs, means] = [results[most]!.data as Float32Array, results[mean]!.data as Float32Array];
        classes.forEach((c, i) => {
          const largest = clamped ? seen[group]!.peak : seen[group]!.most;
          largest[c] = Math.max(largest[c]!, highs[i]!);
          if (!clamped) seen[group]!.mean[c]! += (means[i]! * indices.length) / members[group]![c]!;
        });
      }
    }
    return seen.map(({ most, mean, peak }) => ({ most, peak, mean: mean.map((sum) => sum / Math.max(1, count)) }));
  } finally {
    await session.close();
  }
}
