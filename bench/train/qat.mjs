/**
 * Quantization-aware training of MobileNetV1 0.25 on the 15 000 JPEGs of CIFAR-10, judged on the 10 000 test images: how much of
 * what quantization after training loses comes back, and how far from float trained just as long it ends. Pictures stay 32×32;
 * the stem has stride 1.
 *
 *     npm run build && node bench/train/qat.mjs TRAIN_FOLDER TEST_FOLDER FOLDER [TASK …]
 *
 * Tasks, each of which leaves FOLDER/TASK.onnx and its rows in bench/results/training-qat.json: `float` (twice ten epochs), then
 * from it, with the same rate, clipping, order and augmentation, `continued` (float), `folded` (float, its normalizations folded),
 * `int8`, `int4`, `int4-corrected` (biases corrected before), `int4-followed` (steps that follow the weights); `after`: the
 * float ones quantized after training, in every way there is. The last epoch counts; EPOCHS (2) says how many follow `float`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "../../dist/architectures/index.js";
import { split } from "../../dist/data/index.js";
import { openDataset } from "../../dist/data/open.node.js";
import { load, save } from "../../dist/index.js";
import { edit, ints } from "../../dist/ir/index.js";
import { evaluate } from "../../dist/measure/index.js";
import { optimize } from "../../dist/passes/index.js";
import { freezeQuantized, quantizationAware, quantizeStatic } from "../../dist/quantize/index.js";
import { cosine, sgd, train, warmUp } from "../../dist/train/index.js";

const EPOCHS = Number(process.env.EPOCHS ?? 2);
/** Folded normalizations do not hold steps back: at 0.01 the loss jumps, unless gradients are clipped. */
const RATE = 0.005;
const CLIP = 1;
const [learnFrom, judgeOn, folder, ...asked] = process.argv.slice(2);
const tasks = asked.length > 0 ? asked : ["float", "continued", "folded", "int8", "int4", "int4-corrected", "after"];
const preprocess = { preprocess: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: 32 } };
const { data } = await openDataset(learnFrom, preprocess);
const { data: judged } = await openDataset(judgeOn, preprocess);
const [calibration] = split(data, 256);
mkdirSync(folder, { recursive: true });
const pathOf = (name) => join(folder, `${name}.onnx`);

/** The net with a stem that looks at every pixel. */
function net() {
  const model = create("mobilenet_v1", { classes: 10, width: 0.25, resolution: 32, seed: 0 });
  const e = edit(model.graph);
  const stem = model.graph.nodes.find(({ op }) => op === "Conv");
  e.change(stem, { attrs: { ...stem.attrs, strides: ints([1, 1]) } });
  return { ...model, graph: e.done() };
}

async function learn(name, model, epochs, schedule, seed, more = {}) {
  const start = performance.now();
  const result = await train(model, {
    data,
    epochs,
    schedule,
    seed,
    batch: 64,
    threads: 1,
    optimizer: sgd({ momentum: 0.9, nesterov: true }),
    weightDecay: 5e-4,
    augment: { flip: true, crop: 4 },
    ...more,
    onEpoch: ({ epoch, loss, samplesPerSecond }) =>
      console.log(`${name} ${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)} images/s`),
  });
  const seconds = Math.round((performance.now() - start) / 1000);
  return { model: result.model, more: { epochs, finalLoss: result.history.at(-1).loss, seconds } };
}

async function note(name, model, more = {}) {
  const { metrics } = await evaluate(model, judged, { threads: 1 });
  const row = { name, accuracy: metrics.accuracy, ...more };
  console.log(row);
  const results = fileURLToPath(new URL("../results/training-qat.json", import.meta.url));
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  const full = { ...row, machine: cpus()[0]?.model, date: new Date().toISOString().slice(0, 10) };
  const rows = [...kept.filter((other) => other.name !== name), full].sort((a, b) => (a.name < b.name ? -1 : 1));
  writeFileSync(results, `${JSON.stringify(rows, null, 2)}\n`);
}

/** Every way to quantize without training: to 8 bits, and weights to 4. */
const AFTER = {
  int8: (model) => quantizeStatic({ data: calibration }).run(model),
  "int8 corrected": (model) => quantizeStatic({ data: calibration, biasCorrection: true }).run(model),
  int4: (model) => aware(model, {}),
  "int4 corrected": (model) => aware(model, { biasCorrection: true }),
};

async function aware(model, options) {
  const { model: rounding } = await quantizationAware({ data: calibration, weightType: "int4", ...options }).run(model);
  return freezeQuantized().run(rounding);
}

const AWARE = {
  int8: {},
  int4: { weightType: "int4" },
  "int4-corrected": { weightType: "int4", biasCorrection: true },
  "int4-followed": { weightType: "int4", learnScales: false },
};

for (const task of tasks) {
  if (task === "float") {
    const first = await learn(task, net(), 10, warmUp(cosine(0.1), { epochs: 1 }), 0);
    const { model, more } = await learn(task, first.model, 10, cosine(0.05), 1);
    await save(model, pathOf(task));
    await note(task, model, { ...more, epochs: 20 });
  } else if (task === "after") {
    for (const from of ["float", "continued", "folded"])
      for (const [way, quantize] of Object.entries(AFTER))
        await note(`${from}, after training: ${way}`, (await quantize(await load(pathOf(from)))).model);
  } else {
    const float = await load(pathOf("float"));
    const options = AWARE[task];
    const { model: start } = options
      ? await quantizationAware({ data: calibration, ...options }).run(float)
      : task === "folded"
        ? await optimize().run(float)
        : { model: float };
    const { model, more } = await learn(task, start, EPOCHS, cosine(RATE), 2, { clipNorm: CLIP });
    const { model: done } = options ? await freezeQuantized().run(model) : { model };
    await save(done, pathOf(task));
    await note(task, done, more);
  }
}
