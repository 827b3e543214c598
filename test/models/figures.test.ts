import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { costOf } from "../../src/measure/cost.ts";
import { load } from "../../src/onnx/index.ts";
import { upgrade } from "../../src/passes/index.ts";
import { real, WITHOUT_REAL } from "../real.ts";

/** Parameters and giga multiply-adds as torchvision's documentation gives them (of the forms these files have). */
const PUBLISHED: Readonly<Record<string, readonly [parameters: number, gmacs?: number]>> = {
  convnext_tiny: [28_583_944, 4.46],
  densenet121: [7_978_856, 2.83],
  efficientnet_b0: [5_288_548, 0.39],
  efficientnet_v2_s: [21_458_488],
  googlenet: [6_624_904, 1.5],
  inception_v3: [23_834_568, 5.71],
  mnasnet0_5: [2_218_512, 0.1],
  mnasnet1_0: [4_383_312, 0.31],
  mobilenet_v2: [3_504_872, 0.3],
  mobilenet_v3_large: [5_483_032, 0.22],
  mobilenet_v3_small: [2_542_856, 0.06],
  regnet_x_400mf: [5_495_976, 0.41],
  regnet_y_400mf: [4_344_144, 0.4],
  resnet18: [11_689_512, 1.81],
  resnet50: [25_557_032, 4.09],
  resnext50_32x4d: [25_028_904, 4.23],
  shufflenet_v2_x0_5: [1_366_792, 0.04],
  shufflenet_v2_x1_0: [2_278_604, 0.14],
  squeezenet1_1: [1_235_496, 0.35],
  swin_t: [28_288_354, 4.49],
  vit_b_16: [86_567_656, 17.56],
};

describe("published figures", () => {
  for (const [name, [parameters, gmacs]] of Object.entries(PUBLISHED)) {
    const path = real(`models/arch/${name}.onnx.gz`);
    it.skipIf(path === undefined)(
      `${name} has the parameters and the work that are published (${path ? "real file" : WITHOUT_REAL})`,
      async () => {
        const model = await load(gunzipSync(readFileSync(path as string)));
        const cost = costOf((await upgrade().run(model)).model);
        expect(cost.parameters).toBe(parameters);
        expect(cost.unknownOps).toEqual([]);
        if (gmacs === undefined) return;
        const near = Math.abs(cost.macs / 1e9 - gmacs);
        expect(near, `${cost.macs}`).toBeLessThanOrEqual(Math.max(0.01 * gmacs, 0.005));
      },
    );
  }
});
