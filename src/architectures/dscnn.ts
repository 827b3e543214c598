import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, deeper, type Entries, makeDivisible } from "./architecture.ts";
import { convNormAct, depthwiseSeparable } from "./blocks.ts";
import { xavierUniform } from "./init.ts";
import { Net } from "./net.ts";

/** Features of one frame: mel-frequency cepstral coefficients. */
const COEFFICIENTS = 10;

/**
 * A net for keywords in a second of speech: `input` [N, channels, frames, 10], as many frames as `resolution` says, padded as in
 * TensorFlow. The convolutions have no biases of their own before BatchNorm, which makes them redundant; once it is folded, layers
 * and shapes are those of MLPerf Tiny's (arXiv:2106.07597).
 */
function build({ classes, channels, resolution, width, depth, seed }: ArchitectureOptions): Model {
  const net = new Net({ seed, conv: xavierUniform, linear: xavierUniform, norm: { eps: 1e-3, momentum: 0.01 } });
  const out = makeDivisible(64 * width);
  const input = net.input("input", ["N", channels, resolution, COEFFICIENTS]);
  let x = convNormAct(net.scope("stem"), input, { out, kernel: [10, 4], stride: 2, padding: "same" });
  for (let i = 0; i < deeper(4, depth); i++)
    x = depthwiseSeparable(net.scope("blocks").scope(i), x, { out, padding: "same" });
  const logits = net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier", out: classes });
  return net.model({ logits }, "dscnn");
}

export const dscnn: Entries = {
  dscnn: {
    family: "DS-CNN",
    paper: { title: "Hello Edge: Keyword Spotting on Microcontrollers", id: "arXiv:1711.07128" },
    defaults: { classes: 12, channels: 1, resolution: 49, width: 1, depth: 1 },
    build,
  },
};
