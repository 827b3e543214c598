/**
 * Half the layers of a mail classifier, learning alone and taught: the nets, mails and words of examples/spam-filter.
 *
 *     npm run build && node bench/distill/spam.mjs SPAM_ASSASSIN_PACKAGE FOLDER [SEED …]
 *
 * A transformer of four layers learns from scratch; every second of its layers, with its weights, is the student, which goes on
 * learning from the labels (`alone`), at each of three rates, or from labels and teacher (`taught`), at the first of them: the same
 * epochs, order and batches. The seed decides first weights, order, and which mails judge. FOLDER keeps teachers and checkpoints. Rows go to
 * bench/results/distill-fields.json as they end; those that are there are not run again.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { softTargets } from "../../dist/distill/index.js";
import {
  benchmark,
  costOf,
  distill,
  evaluate,
  load,
  openTokenizer,
  randomFeeds,
  save,
  studentOf,
  tokenized,
  train,
} from "../../dist/index.js";
import { LENGTH } from "../../examples/spam-filter/mail.mjs";
import { mailNet, mails, recipe, wordsOf } from "../../examples/spam-filter/make.mjs";

const [folder, kept, ...seeds] = process.argv.slice(2);
const results = process.env.RESULTS ?? fileURLToPath(new URL("../results/distill-fields.json", import.meta.url));
const [RATES, TEMPERATURE, EPOCHS] = [[5e-4, 2e-4, 1e-3], 2, { teacher: 3, alone: 2, taught: 2 }];
const about = { machine: cpus()[0]?.model, node: process.versions.node, date: new Date().toISOString().slice(0, 10) };
mkdirSync(kept, { recursive: true });

const rowsNow = () => (existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : []);
const same = (row) => (other) => ["field", "run", "seed"].every((key) => row[key] === other[key]);
function record(row) {
  console.log(row);
  writeFileSync(
    results,
    `${JSON.stringify([...rowsNow().filter((other) => !same(row)(other)), { ...row, ...about }], null, 2)}\n`,
  );
}

for (const seed of (seeds.length > 0 ? seeds : ["0", "1", "2"]).map(Number)) {
  const [learnTexts, testTexts] = mails(folder, seed);
  const tokenizer = await openTokenizer(await wordsOf(learnTexts));
  const [learn, test] = [learnTexts, testTexts].map((texts) => tokenized(texts, tokenizer, { length: LENGTH }));
  const judged = async (model) => {
    const { metrics } = await evaluate(model, test, { metrics: ["accuracy", "f1", "sensitivity", "specificity"] });
    const { parameters, macs } = costOf(model);
    return { ...metrics, parameters, macs };
  };
  const options = (way, rate) => {
    const checkpoint = join(kept, `${way}-${rate}-${seed}.checkpoint`);
    return {
      ...recipe(learn, { seed, rate, epochs: EPOCHS[way] }),
      checkpoint,
      ...(existsSync(checkpoint) && { resume: checkpoint }),
      onEpoch: ({ epoch, loss, samplesPerSecond }) =>
        console.log(
          `${seed} ${way} ${rate}, epoch ${epoch}: loss ${loss.toFixed(4)}, ${samplesPerSecond.toFixed(0)}/s`,
        ),
    };
  };
  const row = (run, rate, figures) => ({ field: "spam-filter", run, seed, ...(rate && { rate }), ...figures });
  const path = join(kept, `teacher-${seed}.onnx`);
  if (!existsSync(path)) {
    const { model } = await train(mailNet(tokenizer.size, seed), options("teacher", 1e-3));
    await save(model, path);
    record(row("teacher", 1e-3, { ...(await judged(model)), epochs: EPOCHS.teacher, mails: [learn.size, test.size] }));
  }
  const teacher = await load(path);
  const student = await studentOf(teacher, { every: 2 });
  const cut = row("every second layer", undefined, {});
  if (!rowsNow().some(same(cut))) {
    const [whole, half] = await benchmark([teacher, student], randomFeeds(teacher), { seconds: 3 });
    record({ ...cut, ...(await judged(student)), teacherMs: whole.medianMs, ms: half.medianMs });
  }
  const runs = [{ way: "taught", rate: RATES[0] }, ...RATES.map((rate) => ({ way: "alone", rate }))];
  for (const { way, rate } of runs) {
    const run = way === "alone" ? `alone:${rate}` : way;
    if (rowsNow().some(same(row(run, rate, {})))) continue;
    const teaching = { teacher, losses: [softTargets({ temperature: TEMPERATURE })] };
    const taught = way === "taught";
    const { model } = taught
      ? await distill(student, { ...options(way, rate), ...teaching })
      : await train(student, options(way, rate));
    const how = { epochs: EPOCHS[way], ...(taught && { temperature: TEMPERATURE, alpha: 0.9 }) };
    record(row(run, rate, { ...(await judged(model)), ...how }));
  }
}
