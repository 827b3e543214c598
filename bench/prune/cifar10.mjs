/**
 * A CIFAR-10 ResNet cut and tuned on 15 000 JPEGs, judged on the 10 000 test images; bench/peers/prune_cifar10.py does the same in
 * PyTorch with Torch-Pruning. The baseline, `--macs 100%`, is the same tuning of the whole net, since JPEG training data shifts it.
 *
 *     npm run build
 *     node bench/prune/cifar10.mjs NET.onnx TRAIN_FOLDER TEST_FOLDER --macs 50% --epochs 4 [--teacher TUNED.onnx] [--mixup 1] [--score hessian]
 *       [--global] [--per-cost] [--ignored 'bn1.weight,layer*.bn2.weight'] [--round-to 8] [--schedule linear:3] [--regularize group-lasso] [--output OUT.onnx]
 *
 * Batches of 64, SGD with Nesterov's momentum of 0.9, a cosine from --lr, weight decay 5e-4, flips and shifted crops. The last
 * epoch counts. Continues from its checkpoint; writes its row into bench/results/pruning-cifar10.json.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openDataset } from "../../dist/data/open.node.js";
import { costOf, evaluate } from "../../dist/measure/index.js";
import { load, save } from "../../dist/onnx/index.js";
import { prepare, prune, scheduleNamed } from "../../dist/prune/index.js";
import { cosine, distillation, openTeacher, sgd, train } from "../../dist/train/index.js";

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    macs: { type: "string", default: "100%" },
    epochs: { type: "string", default: "4" },
    lr: { type: "string", default: "0.02" },
    teacher: { type: "string" },
    mixup: { type: "string" },
    score: { type: "string", default: "hessian" },
    global: { type: "boolean", default: false },
    "per-cost": { type: "boolean", default: false },
    ignored: { type: "string" },
    "round-to": { type: "string", default: "1" },
    schedule: { type: "string", default: "one-shot" },
    regularize: { type: "string" },
    output: { type: "string" },
  },
});
const [path, learn, test] = positionals;
const { macs, score, schedule, regularize, global, ignored } = given;
const [net, epochs, lr] = [basename(path).replace(/_cifar10\.onnx$/, ""), Number(given.epochs), Number(given.lr)];
const isBaseline = macs === "100%";
const preprocess = { preprocess: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: 32 } };
const { data } = await openDataset(learn, preprocess);
const { data: judged } = await openDataset(test, preprocess);
const whole = await load(path);
const cut = isBaseline
  ? []
  : [
      `${score}${given["per-cost"] ? " per cost" : global ? " global" : ""}`,
      ...(ignored ? [`${ignored} left`] : []),
      schedule,
      ...(regularize ? [regularize] : []),
    ];
const run = [
  "minnow",
  net,
  macs,
  ...cut,
  ...(given.teacher ? ["distilled"] : []),
  ...(given.mixup ? [`mixup ${given.mixup}`] : []),
  `${epochs} epochs from ${lr}`,
].join(", ");
const checkpoint = join(tmpdir(), `${run.replaceAll(/[^\w.-]+/g, "_")}.safetensors`);

const start = performance.now();
const teacher = given.teacher && (await load(given.teacher));
const finetune = {
  data,
  epochs,
  batch: 64,
  seed: 0,
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  schedule: cosine(lr),
  weightDecay: 5e-4,
  augment: { flip: true, crop: 4, ...(given.mixup && { mixup: Number(given.mixup) }) },
  onEpoch: ({ epoch, loss, samplesPerSecond }) =>
    console.log(`${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)} images/s`),
};
const running = { checkpoint, threads: 1, ...(existsSync(checkpoint) && { resume: checkpoint }) };
const result = isBaseline
  ? await train(whole, {
      ...finetune,
      ...running,
      ...(teacher && { loss: distillation({ teacher: await openTeacher(teacher, { threads: 1 }) }) }),
    })
  : await prune(whole, {
      ...running,
      macs,
      score,
      ...(given["per-cost"] ? { perCost: true } : { globalPruning: global }),
      maxPruningRatio: 0.8,
      roundTo: Number(given["round-to"]),
      ...(ignored && { ignoredLayers: ignored.split(",") }),
      batch: score === "hessian" ? 8 : 64,
      schedule: scheduleNamed(schedule),
      ...(regularize && { regularize: { method: regularize } }),
      finetune: { ...finetune, ...(teacher && { teacher }) },
      onCut: ({ groups }) => console.log(groups.map(({ kept }) => kept).join(" ")),
    });
const seconds = Math.round((performance.now() - start) / 1000);
const costs = async (model) => costOf((await prepare().run(model)).model);
const [before, after] = [await costs(whole), await costs(result.model)];
const row = {
  run,
  engine: "minnow",
  net,
  macs: Number((after.macs / before.macs).toFixed(4)),
  parameters: Number((after.parameters / before.parameters).toFixed(4)),
  accuracy: (await evaluate(result.model, judged, { threads: 1 })).metrics.accuracy,
  epochs,
  lr,
  seconds,
  losses: result.history.map(({ loss }) => Number(loss.toFixed(4))),
  machine: cpus()[0]?.model,
  date: new Date().toISOString().slice(0, 10),
};
if (given.output) await save(result.model, given.output);
rmSync(checkpoint, { force: true });
console.log(row);
const results = fileURLToPath(new URL("../results/pruning-cifar10.json", import.meta.url));
const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
writeFileSync(results, `${JSON.stringify([...kept.filter((r) => r.run !== run), row], null, 2)}\n`);
