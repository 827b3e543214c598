/**
 * A net that tells what a phone's camera sees: a MobileNetV3, taught by a ResNet, in 8 bits.
 * `node examples/pocket-camera/make.mjs cifar10 --teacher resnet56.onnx`
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { arrays, create, distill, evaluate, imageFolder, load, quantizeStatic, save, split, train } from "minnow";
import { softTargets } from "minnow/distill";
import { cosine, warmUp } from "minnow/train";
import { CLASSES, drawExamples } from "../road-signs/signs.mjs";
import { start } from "../start.mjs";
import { measured, table } from "../table.mjs";
import { SIDE } from "./look.mjs";

/** A folder of class folders, or of train/ and test/ of such; without one a few drawn road signs stand in. */
async function pictures(data) {
  if (data === undefined) {
    console.log("Without a folder of pictures: a few drawn road signs stand in.");
    const drawn = (count, seed) => arrays(drawExamples(count, seed), { labels: CLASSES, preprocess: "imagenet" });
    return [drawn(69, 1), drawn(46, 2)];
  }
  const folder = (part) => imageFolder(join(data, part), { preprocess: "imagenet" });
  if (existsSync(join(data, "test"))) return [await folder("train"), await folder("test")];
  return split(await folder("."), 0.8);
}

export async function make({ data: path, teacher: teacherPath, alone, quick, seed, out, kept }) {
  // The data. Each net gets the pictures in the size of its own input.
  const [all, judged] = await pictures(path);
  const [data, test] = quick ? [all.take(64), judged.take(32)] : [all, judged];
  const classes = data.classes.length;
  await writeFile(join(out, "classes.json"), JSON.stringify(data.classes));

  const options = (name, epochs) => ({
    data,
    seed,
    epochs: quick ? 1 : epochs,
    batch: quick ? 32 : 64,
    schedule: warmUp(cosine(0.05), { epochs: 1 }),
    weightDecay: 5e-4,
    ...kept(name),
    onEpoch: ({ epoch, loss, samplesPerSecond }) =>
      console.log(`${name}, epoch ${epoch}: loss ${loss.toFixed(3)}, ${samplesPerSecond.toFixed(0)} pictures/s`),
  });

  // The teacher: a net that knows these classes, or a ResNet-20 that learns them now.
  const teacher =
    teacherPath === undefined
      ? (
          await train(create("resnet20", { classes, seed }), {
            ...options("teacher", 5),
            augment: { flip: true, crop: 4 },
          })
        ).model
      : await load(teacherPath);
  await save(teacher, join(out, "teacher.onnx"));

  // The student: the MobileNetV3 that was made for 8 bits, with ReLU alone and no squeeze-and-excite. With --alone it also learns by
  // itself, to know what the teacher brings.
  const student = create("mobilenet_v3_small_minimal", { classes, resolution: SIDE, seed });
  const augment = { flip: true, crop: SIDE / 8 };
  const epochs = 6;
  if (alone)
    await save((await train(student, { ...options("alone", epochs), augment })).model, join(out, "alone.onnx"));
  const teaching = { teacher, losses: [softTargets({ temperature: 4 })], onNote: console.log };
  const { model: taught } = await distill(student, { ...options("student", epochs), ...teaching, augment });
  await save(taught, join(out, "camera.float.onnx"));

  // In 8 bits, weights and activations.
  const { model: small } = await quantizeStatic({ data: data.take(300), biasCorrection: true }).run(taught);
  await save(small, join(out, "camera.onnx"));

  // How good, how large, how fast.
  const row = async (name, file) => {
    const { metrics } = await evaluate(await load(join(out, file)), test, { metrics: ["accuracy", "top5"] });
    return { name, file: join(out, file), figures: { accuracy: metrics.accuracy, "among five": metrics.top5 } };
  };
  const rows = [
    await row("teacher", "teacher.onnx"),
    ...(alone ? [await row("student alone", "alone.onnx")] : []),
    await row("student, taught", "camera.float.onnx"),
    await row("… in 8 bits", "camera.onnx"),
  ];
  const figures = await measured(rows, quick ? { seconds: 0.05, brotli: false } : {});
  console.log(`\n${table(figures)}`);
  await writeFile(join(out, "table.json"), `${JSON.stringify(figures, null, 2)}\n`);
}

const WHERE = `a folder of class folders of pictures, or one of train/ and test/ with class folders in them.
A teacher of your own: --teacher net.onnx, which takes pictures scaled with ImageNet's mean and deviation.`;

await start(import.meta.url, WHERE, make, { teacher: { type: "string" }, alone: { type: "boolean" } });
