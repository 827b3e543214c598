/**
 * ResNet-56, as its authors trained it, teaches smaller nets on the 15 000 JPEGs of CIFAR-10; each beside the same training without
 * it: the same epochs, order, augmentation and first weights. Judged on the 10 000 test images.
 *
 *     npm run build && node bench/distill/cifar10.mjs TEACHER TRAIN_FOLDER TEST_FOLDER FOLDER [NET:WAY …]
 *
 * NET is resnet8, resnet20 or mobilenet_v2; WAY `alone` (labels), `taught` (labels and teacher) or `unlabelled` (the teacher only).
 * Default resnet8 in all ways. EPOCHS (20) and RATE (0.05) are the same for all; SEED (0). Each picture has four versions, to which the
 * teacher's answers are computed once. Rows go to bench/results/distill-cifar10.json as they end; a run that was stopped goes on.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "../../dist/architectures/index.js";
import { openDataset } from "../../dist/data/open.node.js";
import { distill, softTargets } from "../../dist/distill/index.js";
import { load, save } from "../../dist/index.js";
import { evaluate } from "../../dist/measure/index.js";
import { parametersOf } from "../../dist/measure/parameters.js";
import { cosine, sgd, train, warmUp } from "../../dist/train/index.js";

const [teacherPath, learnFrom, judgeOn, folder, ...asked] = process.argv.slice(2);
const tasks = asked.length > 0 ? asked : ["resnet8:alone", "resnet8:taught", "resnet8:unlabelled"];
const [epochs, rate, seed] = [process.env.EPOCHS ?? 20, process.env.RATE ?? 0.05, process.env.SEED ?? 0].map(Number);
const TEMPERATURE = 4;
const NETS = {
  resnet8: () => create("resnet20", { depth: 1 / 3, seed }),
  resnet20: () => create("resnet20", { seed }),
  mobilenet_v2: () => create("mobilenet_v2", { classes: 10, resolution: 32, width: 0.35, seed }),
};
const preprocess = { preprocess: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: 32 } };
const { data } = await openDataset(learnFrom, preprocess);
const { data: judged } = await openDataset(judgeOn, preprocess);
mkdirSync(folder, { recursive: true });
const results = process.env.RESULTS ?? fileURLToPath(new URL("../results/distill-cifar10.json", import.meta.url));

for (const task of tasks) {
  const [net, way] = task.split(":");
  const start = performance.now();
  const student = NETS[net]();
  const path = join(folder, `${net}-${way}-${epochs}-${rate}-${seed}`);
  const checkpoint = `${path}.checkpoint`;
  const options = {
    data,
    epochs,
    seed,
    checkpoint,
    batch: 64,
    threads: 1,
    optimizer: sgd({ momentum: 0.9, nesterov: true }),
    schedule: warmUp(cosine(rate), { epochs: 1 }),
    weightDecay: 5e-4,
    augment: { flip: true, crop: 4, views: 4 },
    ...(existsSync(checkpoint) && { resume: checkpoint }),
    onEpoch: ({ epoch, loss, trainAccuracy = 0, samplesPerSecond }) =>
      console.log(
        `${task} ${epoch}: loss ${loss.toFixed(4)}, learning ${(100 * trainAccuracy).toFixed(2)} %, ${samplesPerSecond.toFixed(0)}/s`,
      ),
  };
  const teaching = {
    teacher: await load(teacherPath),
    losses: [softTargets({ temperature: TEMPERATURE })],
    cache: join(folder, `answers-${seed}.safetensors`),
    onNote: (note) => console.log(note),
    ...(way === "unlabelled" && { alpha: 1 }),
  };
  const trained = way === "alone" ? await train(student, options) : await distill(student, { ...options, ...teaching });
  await save(trained.model, `${path}.onnx`);
  const { metrics } = await evaluate(trained.model, judged);
  const row = {
    net,
    way,
    accuracy: metrics.accuracy,
    epochs,
    rate,
    seed,
    ...(way !== "alone" && { temperature: TEMPERATURE, alpha: way === "taught" ? 0.9 : 1, answers: trained.answers }),
    parameters: parametersOf(student),
    seconds: Math.round((performance.now() - start) / 1000),
    machine: cpus()[0]?.model,
    node: process.versions.node,
    date: new Date().toISOString().slice(0, 10),
  };
  console.log(row);
  const same = (other) => ["net", "way", "epochs", "rate", "seed"].every((key) => other[key] === row[key]);
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  writeFileSync(results, `${JSON.stringify([...kept.filter((other) => !same(other)), row], null, 2)}\n`);
}
