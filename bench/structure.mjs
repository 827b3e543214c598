/**
 * What blocks, heads, feed-forward widths and ranks cost and buy without any training: node bench/structure.mjs [stories|resnet20|resnet56 …].
 * stories260K: nats a token on its sample, measured on stories it tells itself. The CIFAR-10 ResNets: accuracy on 1000 test images, measured
 * on 256 of the training images. Needs the build, the folder of real models (MINNOW_REAL) and, for the ResNets, CIFAR=TRAIN_FOLDER,TEST_FOLDER.
 * Writes its rows into bench/results/structure.json, and leaves out those that stand there.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataset } from "../dist/data/open.node.js";
import { benchmark, costOf, evaluate, randomFeeds } from "../dist/measure/index.js";
import { load } from "../dist/onnx/index.js";
import { optimize } from "../dist/passes/index.js";
import { dropBlocks, lowRank, structuredPruning } from "../dist/prune/index.js";
import { lossOf, storiesTold } from "./stories-data.mjs";

const real = process.env.MINNOW_REAL ?? fileURLToPath(new URL("../../shared/real", import.meta.url));
const results = fileURLToPath(new URL("results/structure.json", import.meta.url));
const wanted = process.argv.slice(2);
const nets = wanted.length > 0 ? wanted : ["stories", "resnet20", "resnet56"];

for (const net of nets) {
  const { model, data, judge } = net === "stories" ? await stories() : await cifar(net);
  const base = (await optimize().run(model)).model;
  const feeds = randomFeeds(model, { batch: 1 });
  const before = { ...costOf(base), score: await judge(base) };
  row(net, "whole", before, 1, 0);
  for (const [name, pass] of rows(net, data)) {
    if (known().some((old) => old.net === net && old.name === name)) continue;
    const start = performance.now();
    const small = (await optimize().run((await pass.run(model)).model)).model;
    const seconds = (performance.now() - start) / 1000;
    const [whole, cut] = await benchmark([base, small], feeds, { threads: 1, seconds: 1 });
    row(net, name, { ...costOf(small), score: await judge(small) }, whole.medianMs / cut.medianMs, seconds);
  }
}

function known() {
  return existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
}

function row(net, name, { macs, parameters, score }, faster, seconds) {
  const made = { net, name, macs, parameters, score, faster, seconds, machine: cpus()[0]?.model };
  const rest = known().filter((old) => old.net !== net || old.name !== name);
  writeFileSync(results, `${JSON.stringify([...rest, made], null, 1)}\n`);
  console.log(net, name, macs, parameters, score.toFixed(4), faster.toFixed(2), seconds.toFixed(1));
}

function rows(net, data) {
  const ranks = [90, 70, 50].flatMap((left) => {
    const macs = `${left}%`;
    const spatial =
      net === "stories" ? [] : [[`spatial, ${macs} of the MACs`, lowRank({ macs, roundTo: 1, kernels: "spatial" })]];
    return [
      [`rank by weights, ${macs} of the MACs`, lowRank({ macs, roundTo: 1 })],
      [`rank by outputs, ${macs} of the MACs`, lowRank({ macs, roundTo: 1, data, threads: 1 })],
      ...spatial,
    ];
  });
  const counts = net === "resnet56" ? [2, 4, 8] : [1, 2];
  const blocks = counts.flatMap((count) => [
    [`${count} blocks by output`, dropBlocks({ count, data, threads: 1 })],
    [`${count} blocks by influence`, dropBlocks({ count, data, importance: "influence", threads: 1 })],
  ]);
  const kinds = net === "stories" ? ["heads", "ffn", "heads,ffn"] : ["ffn"];
  const widths = kinds.flatMap((only) =>
    [0.25, 0.5].map((pruningRatio) => [
      `${100 * pruningRatio} % of ${only.replace(",", " and ")}, fitted`,
      structuredPruning({ only: only.split(","), pruningRatio, roundTo: 1, data, score: "activation", threads: 1 }),
    ]),
  );
  return [
    ...blocks,
    [
      "every second block",
      dropBlocks({ every: 2, ...(net !== "stories" && { data, importance: "influence" }), threads: 1 }),
    ],
    ...widths,
    ...ranks,
  ];
}

async function stories() {
  const folder = join(real, "models/text");
  const model = await load(join(folder, "stories260K_T128.onnx"));
  return { model, data: await storiesTold(model, 32), judge: (small) => lossOf(small, folder) };
}

async function cifar(net) {
  const [learn, test] = (process.env.CIFAR ?? "").split(",");
  const preprocess = { preprocess: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], size: 32 } };
  const model = await load(join(real, `models/cifar10/${net}_cifar10.onnx`));
  const [data, judged] = [(await openDataset(learn, preprocess)).data, (await openDataset(test, preprocess)).data];
  // Classes take turns in these datasets: the first of them are of all.
  const images = judged.take(1000);
  return {
    model,
    data: data.take(256),
    judge: async (small) => (await evaluate(small, images, { threads: 1 })).metrics.accuracy,
  };
}
