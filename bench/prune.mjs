/**
 * What cutting half the multiply-adds does to the time of a run: node bench/prune.mjs FOLDER [NET …]. Needs the build.
 * FOLDER holds the nets of torchvision (`NET.onnx.gz`); weights the files have zeroed are drawn, since the time does not depend
 * on them. The whole and the cut models run in turn, optimized, one thread; medians. One JSON line for each net and runtime.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { elements, float32s } from "../dist/ir/index.js";
import { benchmark, randomFeeds } from "../dist/measure/index.js";
import { random } from "../dist/numeric/random.js";
import { load } from "../dist/onnx/index.js";
import { optimize } from "../dist/passes/index.js";
import { applyPlan, planPruning } from "../dist/prune/index.js";

const [folder, ...given] = process.argv.slice(2);
const nets = given.length > 0 ? given : ["resnet50", "mobilenet_v2"];
const seconds = Number(process.env.SECONDS ?? 10);

async function filled(name) {
  const read = await load(gunzipSync(readFileSync(join(folder, `${name}.onnx.gz`))));
  const next = random(1);
  const draw = ([key, tensor]) => {
    const count = elements(tensor.shape);
    if (count <= 4096 || tensor.dtype !== "float32") return [key, tensor];
    return [
      key,
      float32s(
        tensor.shape,
        Float32Array.from({ length: count }, () => 0.04 * (next() - 0.5)),
      ),
    ];
  };
  return { ...read, graph: { ...read.graph, weights: new Map([...read.graph.weights].map(draw)) } };
}

for (const name of nets) {
  const model = await filled(name);
  const made = [];
  for (const roundTo of [1, 8, 16, 32]) {
    const plan = await planPruning(model, { macs: "50%", roundTo, score: "l2" });
    const { model: small } = await applyPlan(plan);
    made.push({ roundTo, macs: plan.after.macs / plan.before.macs, model: (await optimize().run(small)).model });
  }
  const whole = (await optimize().run(model)).model;
  for (const runtime of ["node", "wasm"]) {
    const feeds = randomFeeds(model);
    const models = [whole, ...made.map((m) => m.model)];
    const [base, ...times] = await benchmark(models, feeds, { runtime, threads: 1, seconds });
    const rows = times.map((time, i) => ({
      roundTo: made[i].roundTo,
      macs: made[i].macs,
      medianMs: time.medianMs,
      faster: base.medianMs / time.medianMs,
      fasterP10: base.p10Ms / time.p10Ms,
    }));
    console.log(
      JSON.stringify({
        net: name,
        runtime,
        wholeMs: base.medianMs,
        wholeP10Ms: base.p10Ms,
        runs: base.runs,
        cut: rows,
      }),
    );
  }
}
