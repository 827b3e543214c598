/**
 * ResNet-20 from scratch on the 15 000 JPEGs of CIFAR-10, judged on the 10 000 test images, beside the same recipe in PyTorch
 * (bench/peers/train_cifar10.py). SGD with Nesterov's momentum, a cosine after one epoch of warm-up, flips and shifted crops.
 *
 *     npm run build && node bench/train/cifar10.mjs TRAIN_FOLDER TEST_FOLDER [EPOCHS]
 *
 * The last epoch counts. Continues from its checkpoint; writes its row into bench/results/training-cifar10.json.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "../../dist/architectures/index.js";
import { openDataset } from "../../dist/data/open.node.js";
import { evaluate } from "../../dist/measure/index.js";
import { cosine, sgd, train, warmUp } from "../../dist/train/index.js";

const [learn, test, epochs = "12"] = process.argv.slice(2);
const preprocess = { preprocess: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: 32 } };
const { data } = await openDataset(learn, preprocess);
const { data: judged } = await openDataset(test, preprocess);
const checkpoint = join(tmpdir(), `minnow-cifar10-${epochs}.safetensors`);
const start = performance.now();
const { model, history } = await train(create("resnet20", { seed: 0 }), {
  data,
  epochs: Number(epochs),
  batch: 64,
  seed: 0,
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  schedule: warmUp(cosine(0.1), { epochs: 1 }),
  weightDecay: 5e-4,
  augment: { flip: true, crop: 4 },
  checkpoint,
  ...(existsSync(checkpoint) && { resume: checkpoint }),
  onEpoch: ({ epoch, loss, samplesPerSecond }) =>
    console.log(`${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)} images/s`),
});
const seconds = Math.round((performance.now() - start) / 1000);
const { metrics } = await evaluate(model, judged);
rmSync(checkpoint, { force: true });
const row = {
  engine: "minnow",
  accuracy: metrics.accuracy,
  finalLoss: history.at(-1).loss,
  epochs: Number(epochs),
  seconds,
  machine: cpus()[0]?.model,
  date: new Date().toISOString().slice(0, 10),
};
console.log(row);
const results = fileURLToPath(new URL("../results/training-cifar10.json", import.meta.url));
const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
writeFileSync(results, `${JSON.stringify([...kept.filter((r) => r.engine !== "minnow"), row], null, 2)}\n`);
