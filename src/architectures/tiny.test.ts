import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { real, WITHOUT_REAL } from "../../test/real.ts";
import { trained } from "../../test/trained.ts";
import type { Model } from "../ir/graph.ts";
import { costOf, randomFeeds } from "../measure/index.ts";
import { load } from "../onnx/index.ts";
import { optimize } from "../passes/index.ts";
import { openSession } from "../runtime/index.ts";
import { create } from "./index.ts";

/** The weights of one model under the names of another of the same layers, which come in the same order. */
function transplanted(into: Model, from: Model): Model {
  const named = ({ graph }: Model) =>
    graph.nodes.flatMap((node) => node.inputs.slice(1).filter((name) => graph.weights.get(name)?.dtype === "float32"));
  const [ours, theirs] = [named(into), named(from)];
  expect(ours).toHaveLength(theirs.length);
  const weights = new Map(into.graph.weights);
  for (const [i, name] of ours.entries()) {
    const tensor = from.graph.weights.get(theirs[i] as string);
    expect(tensor?.shape).toEqual(weights.get(name)?.shape);
    if (tensor !== undefined) weights.set(name, tensor);
  }
  return { ...into, graph: { ...into.graph, weights } };
}

async function outputOf(model: Model): Promise<Float32Array> {
  const session = await openSession(model);
  const outputs = await session.run(randomFeeds(model, { batch: 2 }));
  await session.close();
  return Object.values(outputs)[0]?.data as Float32Array;
}

const MODELS = "models/mlperf-tiny";

describe.skipIf(!real(MODELS))(real(MODELS) ? "a net of MLPerf Tiny's" : WITHOUT_REAL, () => {
  it.each([
    ["dscnn", "kws_ref_model_float32.onnx"],
    ["autoencoder", "ad01_fp32.onnx"],
  ])(
    "%s, its normalization folded, is the reference model: layers, cost, and with its weights outputs",
    async (name, file) => {
      const reference = await load(readFileSync(real(`${MODELS}/${file}`) as string));
      const { model: folded } = await optimize().run(await trained(create(name)));
      expect(folded.graph.nodes.map(({ op }) => op)).toEqual(reference.graph.nodes.map(({ op }) => op));
      const [ours, theirs] = [costOf(folded), costOf(reference)];
      expect([ours.parameters, ours.macs]).toEqual([theirs.parameters, theirs.macs]);
      const wanted = await outputOf(reference);
      const got = await outputOf(transplanted(folded, reference));
      for (const [i, value] of wanted.entries()) expect(got[i]).toBeCloseTo(value, 4);
    },
  );
});
