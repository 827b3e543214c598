import { describe, expect, it } from "vitest";
import { real, WITHOUT_REAL } from "../../test/real.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { load } from "../onnx/index.ts";
import { openSession } from "../runtime/session.ts";
import { create } from "./index.ts";
import { loadWeights } from "./weights.ts";

describe("a CIFAR ResNet", () => {
  for (const name of ["resnet20", "resnet56"]) {
    const path = real(`models/cifar10/${name}_cifar10.onnx`);
    it.skipIf(path === undefined)(
      `${name} computes what one trained in PyTorch does, with its weights by their names${path ? "" : ` (${WITHOUT_REAL})`}`,
      async () => {
        const trained = await load(path!);
        const { model, missing, unexpected, mismatched } = await loadWeights(create(name), trained.graph.weights);
        expect([missing, mismatched, unexpected.filter((weight) => /^(conv|bn|layer|linear)/.test(weight))]).toEqual([
          [],
          [],
          [],
        ]);
        const feeds = randomFeeds(model, { batch: 4, seed: 1 });
        const run = async (of: typeof model): Promise<Float32Array> => {
          const session = await openSession(of);
          const outputs = await session.run(feeds);
          await session.close();
          return Object.values(outputs)[0]?.data as Float32Array;
        };
        const [own, peer] = [await run(model), await run(trained)];
        const largest = Math.max(...peer.map(Math.abs));
        expect(Math.max(...own.map((value, i) => Math.abs(value - peer[i]!)))).toBeLessThan(1e-4 * largest);
      },
    );
  }
});
