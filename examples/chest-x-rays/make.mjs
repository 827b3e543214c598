/**
 * Chest X-rays, from an archive of pictures to a small net that says which lungs look inflamed:
 *
 *     npm run build && node examples/chest-x-rays/make.mjs pneumoniamnist.npz
 *
 * An example of a method. It is no medical device and must not be used as one.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  atThreshold,
  compare,
  create,
  distill,
  evaluate,
  fitBudget,
  METRICS,
  npzDataset,
  quantizeStatic,
  save,
  split,
  thresholdFor,
  train,
} from "minnow";
import { softTargets } from "minnow/distill";
import { cosine, warmUp } from "minnow/train";
import sharp from "sharp";
import { start } from "../start.mjs";
import { measured, table } from "../table.mjs";
import { CLASSES, PICTURES, SIDE, standIns } from "./pictures.mjs";

/** What is learned from, what thresholds are chosen on, and what judges in the end: the archive's own division. */
export async function division(path) {
  const part = (name, count, seed) =>
    path === undefined ? standIns(count, seed) : npzDataset(path, { ...PICTURES, split: name });
  return { learn: await part("train", 160, 1), validation: await part("val", 32, 2), test: await part("test", 32, 3) };
}

/** A ResNet-20, and the widest ResNet-8 with at most a tenth of its parameters. */
export function nets({ quick, seed }) {
  const shape = { classes: CLASSES.length, channels: 1, resolution: SIDE };
  const { options } = fitBudget("resnet20", { parameters: 26_900 }, { ...shape, depth: 1 / 3 });
  return {
    teacher: create("resnet20", { ...shape, depth: quick ? 1 / 3 : 1, seed }),
    student: create("resnet20", { ...options, seed: seed + 1 }),
  };
}

/**
 * How a net learns: SGD with momentum, a rate that falls along a cosine, pictures a little shifted and lit. They are not mirrored:
 * the heart is on the left.
 */
export const learning = (name, learn, { quick, seed, kept }, { epochs, rate }) => ({
  data: learn,
  seed,
  epochs: quick ? 4 : epochs,
  batch: quick ? 16 : 64,
  schedule: warmUp(cosine(rate), { epochs: 0.5 }),
  weightDecay: 1e-3,
  ...kept?.(name),
  augment: { crop: 2, brightness: 0.1, contrast: 0.2, views: 4 },
  onEpoch: ({ epoch, loss, trainAccuracy = 0 }) =>
    console.log(`${name}, epoch ${epoch}: loss ${loss.toFixed(3)}, ${(100 * trainAccuracy).toFixed(1)} % right`),
});

export const [TEACHER, STUDENT] = [
  { epochs: 6, rate: 0.05 },
  { epochs: 16, rate: 0.05, temperature: 2 },
];

/** What is learned of the teacher: its answers to four versions of each picture are computed once. */
export const teaching = (teacher) => ({ teacher, losses: [softTargets({ temperature: STUDENT.temperature })] });

/** The share of the pneumonias of the validation pictures that a net has to find. */
export const FOUND = 0.95;

/** A net on the test pictures, at the threshold that finds {@link FOUND} on the validation pictures. */
export async function figuresOf(model, { validation, test }) {
  const threshold = thresholdFor((await evaluate(model, validation)).judgement, { sensitivity: FOUND });
  const judgement = atThreshold((await evaluate(model, test)).judgement, threshold);
  const { sensitivity, specificity, accuracy, auroc } = METRICS;
  return {
    threshold,
    sensitivity: sensitivity(judgement),
    specificity: specificity(judgement),
    accuracy: accuracy(judgement),
    auc: auroc(judgement),
  };
}

/** The first pictures of each class as files, to try the page on. */
async function exportSome(data, out) {
  for (const [label, name] of CLASSES.entries())
    for (let n = 1, i = data.labels.indexOf(label); n <= 3; n++, i = data.labels.indexOf(label, i + 1)) {
      const { mean, std } = PICTURES.preprocess;
      const pixels = Uint8Array.from((await data.at(i)).feeds.input.data, (x) => Math.round(255 * (x * std + mean)));
      const raw = { width: SIDE, height: SIDE, channels: 1 };
      await sharp(pixels, { raw })
        .toColourspace("b-w")
        .png()
        .toFile(join(out, `${name}-${n}.png`));
    }
}

const WHERE = `the file pneumoniamnist.npz of MedMNIST (CC BY 4.0, 4 MB):
    https://zenodo.org/record/6496656/files/pneumoniamnist.npz`;

await start(import.meta.url, WHERE, async ({ data, out, ...how }) => {
  if (data === undefined) console.log("There are no X-rays: drawn ovals stand in for them.");
  const { learn, validation, test } = await division(data);
  console.log(`${learn.size} pictures to learn from, ${validation.size} to choose by and ${test.size} to judge by.\n`);

  // The teacher learns from the labels. The student learns from the teacher as well; another one does not, to see what that is worth.
  const { teacher: large, student } = nets(how);
  const { model: teacher } = await train(large, learning("teacher", learn, how, TEACHER));
  const { model: alone } = await train(student, learning("student alone", learn, how, STUDENT));
  const { model: taught } = await distill(student, {
    ...learning("student", learn, how, STUDENT),
    ...teaching(teacher),
  });

  // Eight bits, calibrated on some of what was learned from.
  const [some] = split(learn, how.quick ? 60 : 300);
  const { model: int8 } = await quantizeStatic({ data: some, biasCorrection: true }).run(taught);
  const { agreement } = await compare(taught, int8, test);
  console.log(`\nIn 8 bits it answers as before on ${(100 * agreement).toFixed(1)} % of the pictures.`);

  // All of them judged alike. Accuracy alone would not say which mistakes are made: the sick that are missed, or the healthy alarmed.
  const row = async (name, model, path) => {
    const file = join(out, path);
    await save(model, file);
    const { threshold, auc, ...shares } = await figuresOf(model, { validation, test });
    return { name, file, figures: { ...shares, AUC: auc.toFixed(3) } };
  };
  const rows = [
    await row("teacher", teacher, "teacher.onnx"),
    await row("student alone", alone, "alone.onnx"),
    await row("student, taught", taught, "taught.onnx"),
    await row("… in 8 bits", int8, "lungs.onnx"),
  ];

  // What the page needs beside the model, some pictures to try it on, and the table.
  const figures = await figuresOf(int8, { validation, test });
  const about = { ...figures, judged: test.size, standIn: data === undefined };
  await writeFile(join(out, "about.json"), `${JSON.stringify(about, undefined, 2)}\n`);
  await exportSome(test, out);
  const results = await measured(rows, how.quick ? { seconds: 0.05, brotli: false } : {});
  await writeFile(join(out, "table.json"), `${JSON.stringify(results, undefined, 2)}\n`);
  console.log(`\n${table(results)}\n`);
});
