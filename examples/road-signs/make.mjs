/**
 * Road signs, from nothing to a small net that finds them in a picture: `node examples/road-signs/make.mjs`.
 * All pictures are drawn by signs.mjs. --quick takes a handful, of which nets learn next to nothing.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { arrays, distill, edit, evaluate, load, openSession, optimize, quantizeStatic, save, train } from "minnow";
import { convNormAct, depthwiseSeparable, Net } from "minnow/architectures";
import { softTargets } from "minnow/distill";
import { cosine, warmUp } from "minnow/train";
import { start } from "../start.mjs";
import { measured, table } from "../table.mjs";
import { findSigns, inputOf } from "./find.mjs";
import { CLASSES, drawExamples, drawScene, SIDE } from "./signs.mjs";

const image = (net) => net.input("input", ["N", 3, SIDE, SIDE]);
const classifier = (net, x) =>
  net.flatten(net.conv(x, { name: "classifier", out: CLASSES.length, kernel: 1, bias: true }));

/** The teacher: full convolutions of many channels. */
function teacherNet(seed) {
  const net = new Net({ seed });
  let x = convNormAct(net.scope("stem"), image(net), { out: 32, stride: 2, padding: 0 });
  x = convNormAct(net.scope("block1"), x, { out: 64, padding: 0 });
  x = convNormAct(net.scope("block2"), x, { out: 128, stride: 2, padding: 0 });
  x = convNormAct(net.scope("block3"), x, { out: 128, padding: 0 });
  x = convNormAct(net.scope("block4"), x, { out: 192, kernel: 4, padding: 0 });
  return net.model({ logits: classifier(net, x) }, "teacher");
}

/**
 * The student: depthwise-separable blocks, the last of which sees all of a 4 × 4 map. No layer pads, so what it says of a picture
 * does not depend on where the picture ends: it can slide over a larger one.
 */
function signNet(seed) {
  const net = new Net({ seed });
  let x = convNormAct(net.scope("stem"), image(net), { out: 24, stride: 2, padding: 0 });
  x = depthwiseSeparable(net.scope("block1"), x, { out: 48, padding: 0 });
  x = depthwiseSeparable(net.scope("block2"), x, { out: 80, stride: 2, padding: 0 });
  x = depthwiseSeparable(net.scope("block3"), x, { out: 96, padding: 0 });
  x = depthwiseSeparable(net.scope("block4"), x, { out: 128, kernel: 4, padding: 0 });
  return net.model({ logits: classifier(net, x) }, "signs");
}

/** The same net over pictures of any size: without its Flatten it gives a score for each class at every fourth pixel. */
async function sliding(model) {
  const { model: folded } = await optimize().run(model);
  const e = edit(folded.graph);
  const flatten = e.writerOf("logits");
  const last = e.writerOf(flatten.inputs[0]);
  e.remove(flatten);
  e.change(last, { outputs: ["scores"] });
  const float = (...shape) => ({ kind: "tensor", dtype: "float32", shape });
  e.setInputs([{ name: "input", type: float("N", 3, "H", "W") }]);
  e.setOutputs([{ name: "scores", type: float("N", CLASSES.length, "Y", "X") }]);
  return { ...folded, graph: e.done() };
}

/** How many of the signs in drawn roads are found under their names, and how many boxes stand there that are none. */
async function onRoads(model, roads) {
  const session = await openSession(model);
  const run = async (input) => (await session.run({ input })).scores;
  let [found, false_, all] = [0, 0, 0];
  for (const { signs, ...picture } of roads) {
    const boxes = await findSigns(run, picture);
    const right = ({ name, x, y, size }) =>
      boxes.some((box) => box.name === name && Math.hypot(box.x - x, box.y - y) < size / 2);
    const hits = signs.filter(right).length;
    found += hits;
    false_ += boxes.length - hits;
    all += signs.length;
  }
  await session.close();
  return { found: found / all, "false boxes a picture": (false_ / roads.length).toFixed(2) };
}

export async function make({ quick, seed, out, kept }) {
  // The data: pictures of 32 × 32 pixels with a sign in the middle, or none. Other seeds draw the pictures that judge.
  console.log("Drawing pictures …");
  const preprocess = { preset: "tf", size: SIDE };
  const pictures = (count, of) => arrays(drawExamples(count, of), { labels: CLASSES, preprocess });
  const data = pictures(quick ? 92 : 6900, 2 * seed + 1);
  const test = pictures(quick ? 46 : 1150, 2 * seed + 2);

  // What all nets learn by: SGD along a cosine, each picture shifted and lit in two ways.
  const recipe = (name, epochs) => ({
    data,
    seed,
    epochs: quick ? 1 : epochs,
    batch: quick ? 23 : 64,
    schedule: warmUp(cosine(0.05), { epochs: 1 }),
    weightDecay: 5e-4,
    ...kept(name),
    augment: { crop: 1, brightness: 0.2, contrast: 0.2, views: 2 },
    onEpoch: ({ epoch, loss, samplesPerSecond }) =>
      console.log(`${name}, epoch ${epoch}: loss ${loss.toFixed(3)}, ${samplesPerSecond.toFixed(0)} pictures/s`),
  });
  const { model: teacher } = await train(teacherNet(seed), recipe("teacher", 6));
  await save(await sliding(teacher), join(out, "teacher.onnx"));

  // The student by itself, to know what the teacher brings; then taught.
  const { model: alone } = await train(signNet(seed), recipe("alone", 10));
  await save(await sliding(alone), join(out, "alone.onnx"));
  const losses = [softTargets({ temperature: 4 })];
  const { model: taught } = await distill(signNet(seed), {
    ...recipe("student", 10),
    teacher,
    losses,
    onNote: console.log,
  });
  const float = await sliding(taught);
  await save(float, join(out, "signs.float.onnx"));

  // In 8 bits, weights and activations.
  const { model: small } = await quantizeStatic({ data: data.take(300), biasCorrection: true }).run(float);
  await save(small, join(out, "signs.onnx"));

  // How good, how large, how fast.
  const roads = Array.from({ length: quick ? 2 : 60 }, (_, i) => drawScene(1000 * (seed + 1) + i));
  const row = async (name, file) => {
    const model = await load(join(out, file));
    const { accuracy } = (await evaluate(model, test)).metrics;
    return { name, file: join(out, file), figures: { accuracy, ...(await onRoads(model, roads)) } };
  };
  const rows = [
    await row("teacher", "teacher.onnx"),
    await row("student alone", "alone.onnx"),
    await row("student, taught", "signs.float.onnx"),
    await row("… in 8 bits", "signs.onnx"),
  ];
  const feeds = { input: inputOf(roads[0]) };
  const figures = await measured(rows, { feeds, ...(quick && { seconds: 0.05, brotli: false }) });
  console.log(`\nMultiply-adds and time are those of a picture of 320 × 208:\n\n${table(figures)}`);
  await writeFile(join(out, "table.json"), `${JSON.stringify(figures, null, 2)}\n`);
}

await start(import.meta.url, undefined, make);
