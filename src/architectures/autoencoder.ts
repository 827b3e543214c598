import type { Model } from "../ir/graph.ts";
import { type ArchitectureOptions, deeper, type Entries, makeDivisible } from "./architecture.ts";
import { xavierUniform } from "./init.ts";
import { Net, type Value } from "./net.ts";

/**
 * A net that gives its input back through few numbers, and fails to where the input is unlike what it was trained on: machines that
 * sound wrong. `input` [N, resolution] are log-mel energies of some frames, `reconstruction` has the same shape. Once BatchNorm is
 * folded, layers and shapes are those of MLPerf Tiny's.
 */
function build({ resolution, width, depth, seed }: ArchitectureOptions): Model {
  const net = new Net({ seed, linear: xavierUniform, norm: { eps: 1e-3, momentum: 0.01 } });
  const layers = deeper(4, depth);
  const hidden = makeDivisible(128 * width);
  let at = 0;
  const layer = (x: Value, out: number): Value => {
    const scope = net.scope("layers").scope(at++);
    return net.relu(scope.batchNorm(scope.linear(x, { name: "linear", out, bias: false }), { name: "norm" }));
  };
  let x = net.input("input", ["N", resolution]);
  for (let i = 0; i < layers; i++) x = layer(x, hidden);
  x = layer(x, makeDivisible(8 * width, 4));
  for (let i = 0; i < layers; i++) x = layer(x, hidden);
  return net.model({ reconstruction: net.linear(x, { name: "output", out: resolution }) }, "autoencoder");
}

export const autoencoder: Entries = {
  autoencoder: {
    family: "Autoencoder",
    paper: { title: "MLPerf Tiny Benchmark", id: "arXiv:2106.07597" },
    defaults: { resolution: 640, width: 1, depth: 1 },
    build,
  },
};
