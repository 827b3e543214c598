/**
 * Quantization-aware training of MobileNetV1 0.25 on the 15 000 JPEGs of CIFAR-10, judged on the 10 000 test images: how much of
 * what quantization after training loses comes back, and how far from float trained just as long it ends. Pictures stay 32×32;
 * the stem has stride 1.
 *
 *     npm run build && node bench/train/qat.mjs TRAIN_FOLDER TEST_FOLDER FOLDER [TASK …]
 *
 * Tasks, each of which leaves FOLDER/TASK.onnx and its rows in bench/results/training-qat.json: `float` (EPOCHS, 20), then from it
 * `continued` (float), `int8` and `int4` (weights of 4 bits, of the first and last layer 8), all with the same epochs (MORE, 6),
 * rate, cosine to zero, clipping, order and augmentation, normalizations live and their statistics measured anew afterwards;
 * `int4-all` (4 bits everywhere), `int4-folded` (normalizations folded before); `-taught` behind `continued` or one of these: the
 * finished float net teaches (Hinton's loss, temperature 4, 0.9 of the loss). `after`: the float ones quantized after training,
 * in every way there is (`after:TASK` one of them). The last epoch counts. What was stopped goes on from FOLDER/TASK.checkpoint.safetensors.
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
import { freezeQuantized, quantizationAware, quantizeStatic } from "../../dist/quantize/index.js";
import { cosine, distillation, openTeacher, sgd, train, updateBatchNorm, warmUp } from "../../dist/train/index.js";

const EPOCHS = Number(process.env.EPOCHS ?? 20);
const MORE = Number(process.env.MORE ?? 6);
const AUGMENT = { flip: true, crop: 4 };
const RATE = Number(process.env.RATE ?? 0.02);
const [learnFrom, judgeOn, folder, ...asked] = process.argv.slice(2);
const tasks = asked.length > 0 ? asked : ["float", "continued", "int4", "after", "int8"];
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
  const checkpoint = join(folder, `${name}.checkpoint.safetensors`);
  const result = await train(model, {
    data,
    epochs,
    schedule,
    seed,
    batch: 64,
    threads: 1,
    optimizer: sgd({ momentum: 0.9, nesterov: true }),
    weightDecay: 5e-4,
    augment: AUGMENT,
    ...more,
    checkpoint,
    ...(existsSync(checkpoint) && { resume: checkpoint }),
    onEpoch: ({ epoch, loss, samplesPerSecond }) =>
      console.log(`${name} ${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)} images/s`),
  });
  const { loss, samplesPerSecond } = result.history.at(-1);
  return { model: result.model, more: { epochs, finalLoss: loss, samplesPerSecond: Math.round(samplesPerSecond) } };
}

const machine = cpus()[0]?.model;

async function note(name, model, more = {}) {
  const { metrics } = await evaluate(model, judged, { threads: 1 });
  const row = { name, accuracy: metrics.accuracy, ...more };
  console.log(row);
  const results = fileURLToPath(new URL("../results/training-qat.json", import.meta.url));
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  const full = { ...row, machine, date: new Date().toISOString().slice(0, 10) };
  const others = kept.filter((other) => other.name !== name || other.machine !== machine);
  const key = (row) => `${row.machine} ${row.name}`;
  const rows = [...others, full].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  writeFileSync(results, `${JSON.stringify(rows, null, 2)}\n`);
}

const NARROW = { weightType: "int4", edgeWeightType: "int8" };

/** Every way to quantize without training: to 8 bits, and weights to 4. */
const AFTER = {
  int8: (model) => quantizeStatic({ data: calibration }).run(model),
  "int8 corrected": (model) => quantizeStatic({ data: calibration, biasCorrection: true }).run(model),
  int4: (model) => aware(model, NARROW),
  "int4 corrected": (model) => aware(model, { ...NARROW, biasCorrection: true }),
  "int4 settled": (model) => aware(model, { ...NARROW, foldBatchNorm: false }),
  "int4-all": (model) => aware(model, { weightType: "int4" }),
  "int4-all corrected": (model) => aware(model, { weightType: "int4", biasCorrection: true }),
};

/** Rounded as for training, and not trained; statistics of live normalizations are measured behind rounded layers. */
async function aware(model, options) {
  const { model: rounding } = await quantizationAware({ data: calibration, ...options }).run(model);
  return freezeQuantized().run(options.foldBatchNorm === false ? await settled(rounding) : rounding);
}

const settled = async (model) => (await updateBatchNorm({ data, augment: AUGMENT, threads: 1 }).run(model)).model;

const AWARE = {
  int8: { foldBatchNorm: false },
  int4: { ...NARROW, foldBatchNorm: false },
  "int4-all": { weightType: "int4", foldBatchNorm: false },
  "int4-folded": NARROW,
};

for (const task of tasks) {
  if (task === "float") {
    const { model, more } = await learn(task, net(), EPOCHS, warmUp(cosine(0.1), { epochs: 1 }), 0);
    await save(model, pathOf(task));
    await note(task, model, more);
  } else if (task.startsWith("after")) {
    for (const from of task === "after" ? ["float", "continued"] : [task.slice("after:".length)])
      for (const [way, quantize] of Object.entries(AFTER))
        await note(`${from}, after training: ${way}`, (await quantize(await load(pathOf(from)))).model);
  } else {
    const float = await load(pathOf("float"));
    const options = AWARE[task.replace("-taught", "")];
    const teacher = task.endsWith("-taught") ? await openTeacher(float) : undefined;
    const start = options ? (await quantizationAware({ data: calibration, ...options }).run(float)).model : float;
    const { model, more } = await learn(task, start, MORE, cosine(RATE), 2, {
      clipNorm: 1,
      ...(teacher && { loss: distillation({ teacher }) }),
    });
    await teacher?.close();
    const last = await settled(model);
    const done = options ? (await freezeQuantized().run(last)).model : last;
    await save(done, pathOf(task));
    await note(task, done, more);
  }
}
