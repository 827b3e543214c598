import { describe, expect, it } from "vitest";
import golden from "../../test/golden/training.json" with { type: "json" };
import { Net } from "../architectures/index.ts";
import { edit } from "../ir/edit.ts";
import type { Model } from "../ir/graph.ts";
import { elements, float32s } from "../ir/tensor.ts";
import { crossEntropy } from "./losses.ts";
import { sgd } from "./optimizers.ts";
import { bindSizes } from "./prepare.ts";
import { trainingStep } from "./step.ts";
import { openStepper } from "./stepper.ts";

const RATES: Readonly<Record<string, number>> = {
  "conv.weight": 1.3,
  "bn.weight": 0.9,
  "bn.bias": 1.7,
  "fc.weight": 0.7,
  "fc.bias": 2.1,
};

const wave = (count: number, rate: number, scale = 0.4): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * rate) * scale);

/** The net of the golden numbers, its weights waves. */
function waves(): Model {
  const net = new Net();
  let x = net.input("image", ["N", 1, 6, 6]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv", out: 4, kernel: 3 }), { name: "bn" }));
  x = net.flatten(net.maxPool(x, { kernel: 2, stride: 2, padding: 0 }));
  const model = net.model({ scores: net.linear(x, { name: "fc", out: 3 }) }, "waves");
  const e = edit(model.graph);
  for (const [name, rate] of Object.entries(RATES)) {
    const shape = model.graph.weights.get(name)?.shape ?? [];
    e.setWeight(name, float32s(shape, wave(elements(shape), rate)));
  }
  return { ...model, graph: e.done() };
}

describe("a training step", () => {
  it.each([
    ["as it is fastest", false],
    ["in operators that every backend has", true],
  ])(
    "walks PyTorch's way %s: losses, weights and running statistics after four steps are its own",
    async (_, portable) => {
      const step = trainingStep(await bindSizes(waves(), 8), {
        loss: crossEntropy(),
        optimizer: sgd({ momentum: 0.9, nesterov: true }),
        batch: 8,
        portable,
        group: (_, shape) => ({ weightDecay: shape.length > 1 ? 0.01 : 0 }),
      });
      const stepper = await openStepper(step);
      const { losses, ...ends } = golden.net;
      for (let k = 0; k < 4; k++) {
        const labels = Array.from({ length: 8 }, (_, i) => BigInt((i % 2 === 1 ? 3 * i + k : i + k) % 3));
        const { loss } = await stepper.run(
          {
            image: { dtype: "float32", shape: [8, 1, 6, 6], data: wave(288, 0.37 + 0.11 * k, 1) },
            labels: { dtype: "int64", shape: [8], data: BigInt64Array.from(labels) },
          },
          { lr: 0.1, update: k + 1 },
        );
        expect(Math.abs(loss / (losses[k] as number) - 1)).toBeLessThan(1e-5);
      }
      const state = stepper.state();
      await stepper.close();
      for (const [name, theirs] of Object.entries(ends)) {
        const ours = Array.from(state.get(name)?.data ?? [], Number);
        expect(ours.length, name).toBe(theirs.length);
        const far = Math.hypot(...ours.map((v, i) => v - (theirs[i] as number))) / Math.hypot(...theirs);
        expect(far, name).toBeLessThan(1e-5);
      }
    },
  );
});
