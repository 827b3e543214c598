import { edit } from "../../ir/edit.ts";
import type { Model } from "../../ir/graph.ts";
import { float32s } from "../../ir/tensor.ts";
import { finiteFloats } from "../weights.ts";
import type { GroupWeight, ScalingGroup } from "./groups.ts";

/** The weights of groups while factors are moved between them. */
export class WorkingWeights {
  readonly #model: Model;
  readonly #values = new Map<string, Float32Array>();

  private constructor(model: Model) {
    this.#model = model;
  }

  static async of(model: Model, groups: readonly ScalingGroup[]): Promise<WorkingWeights> {
    const working = new WorkingWeights(model);
    for (const { weight } of groups.flatMap((group) => group.weights))
      if (!working.#values.has(weight))
        working.#values.set(weight, (await finiteFloats(weight, model.graph.weights.get(weight)!)).slice());
    return working;
  }

  get(name: string): Float32Array {
    return this.#values.get(name)!;
  }

  /** The largest magnitude of every class over some weights of a group. */
  magnitudes({ count, weights }: ScalingGroup, of: (weight: GroupWeight) => boolean): Float64Array {
    const most = new Float64Array(count);
    for (const { weight, classes } of weights.filter(of)) {
      const values = this.get(weight);
      for (let i = 0; i < values.length; i++) {
        const magnitude = Math.abs(values[i]!);
        if (magnitude > most[classes[i]!]!) most[classes[i]!] = magnitude;
      }
    }
    return most;
  }

  /** Multiplies the channels of a group by factors: what makes them by each, what reads them by its inverse. */
  move({ weights }: ScalingGroup, factors: ArrayLike<number>): void {
    for (const { weight, classes, divided } of weights) {
      const values = this.get(weight);
      for (let i = 0; i < values.length; i++) {
        const factor = factors[classes[i]!]!;
        values[i] = divided ? values[i]! / factor : values[i]! * factor;
      }
    }
  }

  /** The model with the weights as they are now. */
  done(): Model {
    const e = edit(this.#model.graph);
    for (const [name, values] of this.#values)
      e.setWeight(name, float32s(this.#model.graph.weights.get(name)!.shape, values));
    return { ...this.#model, graph: e.done() };
  }
}
