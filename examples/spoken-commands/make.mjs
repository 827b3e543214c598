/**
 * Spoken commands, from recordings to a small net that listens:
 *
 *     npm run build && node examples/spoken-commands/make.mjs RECORDINGS
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compare, create, distill, evaluate, fitBudget, openSession, quantizeStatic, save, split, train } from "minnow";
import { cached, readWav, resample } from "minnow/data";
import { softTargets } from "minnow/distill";
import { cosine, updateBatchNorm, warmUp } from "minnow/train";
import { start } from "../start.mjs";
import { measured, table } from "../table.mjs";
import { judged, listener } from "./listen.mjs";
import { CLASSES, FRAMES, RATE, shuffled, standIns, stream, windows } from "./sounds.mjs";
import { wavOf } from "./wav.mjs";

/** Spoken digits: files DIGIT_SPEAKER_TAKE.wav. */
export async function recordings(folder) {
  const names = (await readdir(folder)).filter((name) => /^\d_\w+_\d+\.wav$/.test(name)).sort();
  const read = async (name) => {
    const [digit, , take] = name.replace(".wav", "").split("_");
    const sound = readWav(await readFile(join(folder, name)), name);
    return { word: Number(digit), take: Number(take), samples: resample(sound.channels[0], sound.sampleRate, RATE) };
  };
  return Promise.all(names.map(read));
}

/** What is learned from; and what judges: the first five takes of every speaker and word, which no net learns from. */
export function division(all, { quick, seed }) {
  const [first, end] = quick ? [2, 8] : [5, Number.POSITIVE_INFINITY];
  const heldOut = all.filter(({ take }) => take < first);
  const others = all.filter(({ take }) => take >= first && take < end);
  const learn = cached(windows(others, { versions: quick ? 6 : 3, seed: 2 * seed, outside: 0.2 }));
  const test = cached(windows(heldOut, { versions: quick ? 1 : 3, seed: 2 * seed + 1 }));
  return { learn, test, heldOut };
}

/** A DS-CNN of 64 channels, and the widest one of three blocks with at most a tenth of its parameters. */
export function nets({ quick, seed }) {
  const shape = { classes: CLASSES.length, resolution: FRAMES };
  const teacher = create("dscnn", { ...shape, width: quick ? 0.5 : 1, seed });
  const { options } = fitBudget("dscnn", { parameters: 2311 }, { ...shape, depth: 0.75 });
  return { teacher, student: create("dscnn", { ...options, seed: seed + 1 }) };
}

/** How a net learns: SGD with momentum, a rate that falls along a cosine. */
export const learning = (name, learn, { quick, seed, kept }, { epochs, rate }) => ({
  data: learn,
  seed,
  epochs: quick ? 5 : epochs,
  batch: quick ? 16 : 64,
  schedule: warmUp(cosine(rate), { epochs: 0.5 }),
  weightDecay: 5e-4,
  ...kept?.(name),
  onEpoch: ({ epoch, loss, trainAccuracy = 0 }) =>
    console.log(`${name}, epoch ${epoch}: loss ${loss.toFixed(3)}, ${(100 * trainAccuracy).toFixed(1)} % right`),
});

/** A trained net with the statistics of its normalizations measured once more: running ones follow slowly in a DS-CNN. */
export const settled = async ({ model }, learn) => (await updateBatchNorm({ data: learn }).run(model)).model;

export const [TEACHER, STUDENT] = [
  { epochs: 6, rate: 0.1 },
  { epochs: 16, rate: 0.3, temperature: 4 },
];

/** What is learned of the teacher; its answers are computed once, since all windows are the same in every epoch. */
export const teaching = (teacher) => ({ teacher, losses: [softTargets({ temperature: STUDENT.temperature })] });

/** Which words a model hears in a stream of samples. */
export async function heardBy(model, samples) {
  const session = await openSession(model);
  const heard = await listener(session).hear(samples);
  await session.close();
  return heard;
}

const WHERE = `the folder "recordings" of the Free Spoken Digit Dataset (CC BY-SA 4.0, 16 MB):
    git clone https://github.com/Jakobovski/free-spoken-digit-dataset`;

await start(import.meta.url, WHERE, async ({ data, out, ...how }) => {
  // The data: each recording three times, at other places of a window and in other noise, and windows without a word.
  if (data === undefined) console.log("There are no recordings: gliding tones stand in for them.");
  const all = data === undefined ? standIns(8) : await recordings(data);
  const { learn, test, heldOut } = division(all, how);
  console.log(`${all.length} recordings make ${learn.size} windows to learn from and ${test.size} to judge by.\n`);

  // The teacher learns from what was said. The student learns from the teacher as well; another one does not, to see what that is worth.
  const { teacher: large, student } = nets(how);
  const teacher = await settled(await train(large, learning("teacher", learn, how, TEACHER)), learn);
  const alone = await settled(await train(student, learning("student alone", learn, how, STUDENT)), learn);
  const recipe = { ...learning("student", learn, how, STUDENT), ...teaching(teacher) };
  const taught = await settled(await distill(student, recipe), learn);

  // Eight bits, calibrated on some of what was learned from.
  const [some] = split(learn, how.quick ? 60 : 300);
  const { model: int8 } = await quantizeStatic({ data: some, biasCorrection: true }).run(taught);
  const { agreement } = await compare(taught, int8, test);
  console.log(`\nIn 8 bits it answers as before in ${(100 * agreement).toFixed(1)} % of the windows.`);

  // All of them judged alike: on single windows, and listening to all held-out recordings, one after the other.
  const { samples, said } = stream(shuffled(heldOut, 1).slice(0, how.quick ? 20 : heldOut.length), { seed: 1 });
  const row = async (name, model, path) => {
    const file = join(out, path);
    await save(model, file);
    const { accuracy } = (await evaluate(model, test)).metrics;
    const { found, wrong } = judged(await heardBy(model, samples), said);
    return { name, file, figures: { accuracy, "heard in the stream": found, wrongly: `${wrong}` } };
  };
  const rows = [
    await row("teacher", teacher, "teacher.onnx"),
    await row("student alone", alone, "alone.onnx"),
    await row("student, taught", taught, "taught.onnx"),
    await row("… in 8 bits", int8, "commands.onnx"),
  ];

  // A stream to try it on, and the table.
  const few = stream(
    [...CLASSES.keys()].flatMap((word) => heldOut.filter((one) => one.word === word).slice(-1)),
    { seed: 2 },
  );
  await writeFile(join(out, "example.wav"), wavOf(few.samples, RATE));
  const results = await measured(rows, how.quick ? { seconds: 0.05, brotli: false } : {});
  await writeFile(join(out, "table.json"), `${JSON.stringify(results, undefined, 2)}\n`);
  console.log(`\n${table(results)}\n`);
});
