import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { type Dataset, dataset, preprocess } from "../../src/data/index.ts";
import type { Model } from "../../src/ir/index.ts";
import { evaluate } from "../../src/measure/index.ts";
import { load, toBytes } from "../../src/onnx/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { decodeImage } from "../../src/platform.node.ts";
import { quantizeStatic, sensitivity, storeWeights } from "../../src/quantize/index.ts";
import { real, WITHOUT_REAL } from "../real.ts";
import { untar } from "../tar.ts";

const NET = "models/imagenet/mobilenet_v1_0.25_224_fp32.onnx";
const PICTURES = "data/cifar10-test.tar.gz";
const skip = real(NET) === undefined || real(PICTURES) === undefined;

/** A net whose near-zero-sum depthwise kernels give rounded weights an offset: naive int8 keeps hardly any of its answers. */
describe.skipIf(skip)(`MobileNetV1 0.25, quantized (${WITHOUT_REAL} otherwise)`, () => {
  let base: Model;
  let learn: Dataset;
  let judged: Dataset;
  let answers: Int32Array;

  beforeAll(async () => {
    base = (await optimize().run(await load(await readFile(real(NET)!)))).model;
    const pictures = await somePictures();
    [learn, judged] = [pictures.take(80), pictures.skip(80).take(200)];
    answers = (await evaluate(base, judged)).judgement.predictions;
  });

  const agreement = async (model: Model): Promise<number> => {
    const { predictions } = (await evaluate(model, judged)).judgement;
    return predictions.filter((prediction, i) => prediction === answers[i]).length / predictions.length;
  };

  it("keeps most of its answers with corrected biases, and more with its worst layers in float", async () => {
    const plain = await agreement((await quantizeStatic({ data: learn }).run(base)).model);
    const corrected = await agreement((await quantizeStatic({ data: learn, biasCorrection: true }).run(base)).model);
    expect(plain).toBeLessThan(0.2);
    expect(corrected).toBeGreaterThan(0.6);
    const worst = (await sensitivity(base, learn.take(16))).slice(0, 5).map(({ node }) => node);
    const options = { data: learn, biasCorrection: true, nodesToExclude: worst };
    expect(await agreement((await quantizeStatic(options).run(base)).model)).toBeGreaterThan(corrected + 0.05);
  });

  it("stored in 8 bits and corrected keeps over nine tenths of its answers in 28 % of the bytes", async () => {
    const { model } = await storeWeights({ to: "int8", biasCorrection: true, data: learn }).run(base);
    expect(await agreement(model)).toBeGreaterThan(0.9);
    expect((await toBytes(model)).byteLength).toBeLessThanOrEqual(0.28 * (await toBytes(base)).byteLength);
  });
});

async function somePictures(): Promise<Dataset> {
  const files = [...untar(real(PICTURES)!)].filter(({ name }) => name.endsWith(".jpg"));
  const chosen = Array.from({ length: 280 }, (_, i) => files[(i * 3571) % files.length]!.bytes);
  const size = [224, 224] as const;
  const form = {
    size,
    crop: 1,
    resize: "exact",
    interpolation: "bilinear",
    scale: 1 / 127.5,
    mean: [1],
    std: [1],
  } as const;
  return dataset({
    size: chosen.length,
    at: async (i) => ({
      feeds: { input: preprocess(await decodeImage(chosen[i]!), { ...form, channels: "rgb", layout: "nchw" }) },
    }),
  });
}
