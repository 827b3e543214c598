/**
 * One net of gradients.py: makes the training step of an exported model, runs it on a batch in ONNX Runtime, and prints the loss
 * and how far each gradient is from the peer's. The step is the one the trainer takes to add up gradients over several batches.
 */
import { join } from "node:path";
import { readSafetensors } from "../../dist/files/safetensors.js";
import { readData, readFloats, tensorOf } from "../../dist/ir/index.js";
import { load } from "../../dist/onnx/index.js";
import { openPath } from "../../dist/platform.node.js";
import {
  bindSizes,
  crossEntropy,
  languageModel,
  openStepper,
  readyToTrain,
  sgd,
  trainingStep,
} from "../../dist/train/index.js";

const folder = process.argv[2];
const { tensors } = await readSafetensors(await openPath(join(folder, "tensors.safetensors")));
const read = async (key) => {
  const { dtype, shape, read } = tensors.get(key);
  return readData(tensorOf(dtype, shape, await read()));
};

const input = await read("input");
const labels = tensors.has("labels") ? await read("labels") : undefined;
const { model } = await readyToTrain(await load(join(folder, "model.onnx")));
const name = model.graph.inputs[0].name;
const fixed = await bindSizes(model, input.shape[0]);
const step = trainingStep(fixed, {
  loss: labels ? crossEntropy() : languageModel({ tokens: name }),
  optimizer: sgd(),
  batch: input.shape[0],
  accumulate: { parts: 1, phase: "gather" },
});
const stepper = await openStepper(step, { threads: 1 });
const feeds = { [name]: input, ...(labels && { labels }) };
const { loss } = await stepper.run(feeds, { lr: 0, update: 1 });
const state = stepper.state();
await stepper.close();

/** The weights that learn, with their gradients. */
const own = new Map();
for (const { kind, of, key } of step.carried)
  if (kind === "sum") own.set(of, { shape: state.get(key).shape, gradient: state.get(key).data });
const numbers = new Map();
for (const of of own.keys()) numbers.set(of, await readFloats(model.graph.weights.get(of)));

const transposed = ({ shape: [rows, columns], data }) => {
  const out = new data.constructor(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  return out;
};
const same = (a, b) => a.length === b.length && a.every((v, i) => v === b[i]);
const norm = (values) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));

/** Our gradient of a parameter of the peer, in the peer's order; `free` holds the names not yet taken. */
function gradientOf(parameter, weight, free) {
  if (own.has(parameter) && same(numbers.get(parameter), weight.data)) {
    free.delete(parameter);
    return own.get(parameter).gradient;
  }
  for (const name of free) {
    const { shape, gradient } = own.get(name);
    const values = numbers.get(name);
    const plain = same(values, weight.data);
    if (!plain && !(weight.shape.length === 2 && same(values, transposed(weight)))) continue;
    free.delete(name);
    return plain ? gradient : transposed({ shape, data: gradient });
  }
  return undefined;
}

const free = new Set(own.keys());
const [errors, lengths] = [{}, {}];
for (const key of tensors.keys()) {
  if (!key.startsWith("weight.")) continue;
  const parameter = key.slice("weight.".length);
  const gradient = gradientOf(parameter, await read(key), free);
  if (gradient === undefined) continue;
  const wanted = (await read(`gradient.${parameter}`)).data;
  errors[parameter] = norm(Float64Array.from(gradient, (v, i) => v - wanted[i])) / norm(wanted);
  lengths[parameter] = norm(Float64Array.from(gradient));
}
console.log(JSON.stringify({ loss, errors, lengths, left: [...free] }));
