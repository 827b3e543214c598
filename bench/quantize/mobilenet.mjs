/**
 * MobileNetV1 0.25 in int8: how often it answers as in float, and how far its outputs are from float's, on 1000 test
 * pictures of CIFAR-10 upscaled to 224 with 8-bit pixels, and on mosaics of 16 of them, another kind of picture.
 * Calibrated on 200 training pictures, or on 100 mosaics of those beside them. Nothing is chosen on what is judged.
 *
 *     MINNOW_REAL=… node bench/quantize/mobilenet.mjs TENSORS [WORD …] [--photos FOLDER]
 *
 * TENSORS is the folder that bench/peers/prepare.py writes; WORD: only recipes whose name has it. --photos: judge on a folder
 * of pictures as well. Writes bench/results/quantize-mobilenet.json, row by row.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataset } from "../../dist/data/open.node.js";
import { readNpz } from "../../dist/files/npz.js";
import { dataset, load, openSession, optimize, quantizeStatic, storeWeights, toBytes } from "../../dist/index.js";
import { openPath } from "../../dist/platform.node.js";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const real = process.env.MINNOW_REAL ?? at("../../../shared/real");
const given = process.argv.slice(2);
const photosAt = given.includes("--photos") ? given.splice(given.indexOf("--photos"), 2)[1] : undefined;
const [tensors, ...words] = given;
const path = join(real, "models/imagenet/mobilenet_v1_0.25_224_fp32.onnx");
if (tensors === undefined || !existsSync(path)) {
  console.log("Give the folder of tensors, and MINNOW_REAL; nothing to measure.");
  process.exit(0);
}
const SIDE = 224;
const SIZE = 3 * SIDE * SIDE;
const float = (await optimize().run(await load(path))).model;

/** A dataset of some examples, each by a function. */
const made = (size, at) =>
  dataset({
    size,
    at: async (i) => ({ feeds: { input: { dtype: "float32", shape: [3, SIDE, SIDE], data: await at(i) } } }),
  });
const toPixel = (x) => Math.round(x * 127.5 + 127.5);
const pixelsOf = async (data, i) => Object.values((await data.at(i)).feeds).find((x) => x.shape.length === 3).data;

/** Mosaic `i`: 4 × 4 pictures, each the average of 4 × 4 pixels, rounded to 8 bits. */
async function mosaic(pictures, i) {
  const out = new Float32Array(SIZE);
  for (let part = 0; part < 16; part++) {
    const x = await pictures((i * 16 + part * 7) % pictures.count);
    const [row, column] = [Math.floor(part / 4) * 56, (part % 4) * 56];
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < 56; y++)
        for (let z = 0; z < 56; z++) {
          let sum = 0;
          for (let a = 0; a < 4; a++) for (let b = 0; b < 4; b++) sum += x[(c * SIDE + 4 * y + a) * SIDE + 4 * z + b];
          out[(c * SIDE + row + y) * SIDE + column + z] = (toPixel(sum / 16) - 127.5) / 127.5;
        }
  }
  return out;
}

const calibrationSet = (await openDataset(join(tensors, "imagenet224-calibration.npz"))).data;
const LIMIT = Number(process.env.IMAGES ?? 1000);
const testPixels = (await readNpz(await openPath(join(tensors, "imagenet224-test.npz")))).get("x");
const pictures = Object.assign((i) => pixelsOf(calibrationSet, i), { count: calibrationSet.size });
const tests = Object.assign(async (i) => Float32Array.from(await testPixels.rows(i, 1), (p) => (p - 127.5) / 127.5), {
  count: Math.min(LIMIT, testPixels.shape[0]),
});
const alone = made(pictures.count, pictures);
const both = made(300, (i) =>
  i % 3 === 2 ? mosaic(pictures, (i - 2) / 3) : pictures(2 * Math.floor(i / 3) + (i % 3)),
);
const JUDGED = { pictures: made(tests.count, tests), mosaics: made(Math.min(200, LIMIT), (i) => mosaic(tests, i)) };
if (photosAt !== undefined) {
  const { data } = await openDataset(photosAt);
  const bound = data.prepare({ preset: "tf" }, [1, 3, SIDE, SIDE]);
  JUDGED.photos = made(bound.size, (i) => pixelsOf(bound, i));
}

const common = { equalize: "smoothQuant", alignInputs: true, biasCorrection: true };
const split = { ...common, splitChannels: true };
// Copies cost multiply-adds in the layers that stay in float: up to 12 channels these take 9.7 % of all.
const middle = { splitChannels: 12, nodesToExclude: ["dwconv_3", "conv_5", "dwconv_7"] };
const early = { nodesToExclude: ["conv_1", "dwconv_3"] };
const RECIPES = {
  minmax: () => quantizeStatic({ data: alone }),
  "minmax, bias corrected": () => quantizeStatic({ data: alone, biasCorrection: true }),
  "aligned, bias corrected": () => quantizeStatic({ data: alone, alignInputs: true, biasCorrection: true }),
  "SmoothQuant, aligned, bias corrected": () => quantizeStatic({ data: alone, ...common }),
  "SmoothQuant, aligned, bias corrected, on mosaics too": () => quantizeStatic({ data: both, ...common }),
  "bias corrected, conv_1 and dwconv_3 in float": () => quantizeStatic({ data: alone, biasCorrection: true, ...early }),
  "SmoothQuant, bias corrected, conv_1 and dwconv_3 in float": () =>
    quantizeStatic({ data: alone, ...common, alignInputs: false, ...early }),
  "SmoothQuant, bias corrected, conv_1 and dwconv_3 in float, on mosaics too": () =>
    quantizeStatic({ data: both, ...common, alignInputs: false, ...early }),
  "channels split, SmoothQuant, aligned, bias corrected": () => quantizeStatic({ data: alone, ...split }),
  "channels split, GPTQ, SmoothQuant, aligned, bias corrected": () =>
    quantizeStatic({ data: alone, ...split, gptq: true }),
  "channels split, SmoothQuant, aligned, bias corrected, on mosaics too": () =>
    quantizeStatic({ data: both, ...split }),
  "channels split, GPTQ, SmoothQuant, aligned, bias corrected, dwconv_3, conv_5 and dwconv_7 in float": () =>
    quantizeStatic({ data: alone, ...common, ...middle, gptq: true }),
  "weights only, GPTQ, bias corrected": () =>
    storeWeights({ to: "int8", gptq: true, biasCorrection: true, data: alone }),
  "weights only, bias corrected": () => storeWeights({ to: "int8", biasCorrection: true, data: alone }),
};

/** The outputs on every example, [classes] each. */
async function answers(model, data) {
  const session = await openSession(model, { threads: 1 });
  const out = [];
  for (let i = 0; i < data.size; i++) {
    const x = (await data.at(i)).feeds.input;
    out.push(Float32Array.from(Object.values(await session.run({ input: { ...x, shape: [1, ...x.shape] } }))[0].data));
  }
  await session.close();
  return out;
}

const top = (values) => values.indexOf(Math.max(...values));
function compared(reference, candidate) {
  let [same, signal, noise] = [0, 0, 0];
  reference.forEach((values, i) => {
    if (top(values) === top(candidate[i])) same++;
    values.forEach((value, c) => {
      signal += value ** 2;
      noise += (value - candidate[i][c]) ** 2;
    });
  });
  const round = (x, digits) => Number(x.toFixed(digits));
  return { agreement: round(same / reference.length, 4), sqnr: round(10 * Math.log10(signal / noise), 2) };
}

const references = {};
for (const [kind, data] of Object.entries(JUDGED)) references[kind] = await answers(float, data);
const file = at("../results/quantize-mobilenet.json");
mkdirSync(at("../results"), { recursive: true });
const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : {};
for (const [name, pass] of Object.entries(RECIPES)) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
  const { model } = await pass().run(float);
  const row = { bytes: (await toBytes(model)).length };
  for (const [kind, data] of Object.entries(JUDGED)) row[kind] = compared(references[kind], await answers(model, data));
  known[name] = { ...known[name], ...row };
  console.log(name, JSON.stringify(row));
  writeFileSync(file, `${JSON.stringify({ machine: cpus()[0].model, images: tests.count, rows: known }, null, 1)}\n`);
}
