/** Minnow's side of torch_pruning.py: the groups of one net, half of each cut, seeded weights in place of those the file has zeroed. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { elements, float32s } from "../../dist/ir/index.js";
import { randomFeeds } from "../../dist/measure/index.js";
import { random } from "../../dist/numeric/random.js";
import { load } from "../../dist/onnx/index.js";
import { applyPlan, planPruning } from "../../dist/prune/index.js";
import { openSession } from "../../dist/runtime/index.js";

const read = await load(gunzipSync(readFileSync(process.argv[2])));
const next = random(1);
const weights = new Map(
  [...read.graph.weights].map(([name, tensor]) => {
    const count = elements(tensor.shape);
    if (count <= 4096 || tensor.dtype !== "float32") return [name, tensor];
    const bound = Math.sqrt(6 / (count / Math.max(...tensor.shape)));
    return [
      name,
      float32s(
        tensor.shape,
        Float32Array.from({ length: count }, () => bound * (2 * next() - 1)),
      ),
    ];
  }),
);
const model = { ...read, graph: { ...read.graph, weights } };
const plan = await planPruning(model, { pruningRatio: 0.5, roundTo: 1, score: "random" });
const { model: small } = await applyPlan(plan);
const session = await openSession(small);
const outputs = Object.values(await session.run(randomFeeds(model)));
await session.close();
console.log(
  JSON.stringify({
    groups: plan.groups.length,
    one: plan.coverage.one,
    two: plan.coverage.two,
    parameters: plan.after.parameters / plan.before.parameters,
    macs: plan.after.macs / plan.before.macs,
    runs: outputs.every(({ data }) => data.every(Number.isFinite)),
  }),
);
