/** One net of architectures.py: loads its state dict by names, runs it, and prints how far the outputs are from the peer's. */
import { join } from "node:path";
import { create, loadWeights } from "../../dist/architectures/index.js";
import { readSafetensors } from "../../dist/files/safetensors.js";
import { readData, tensorOf } from "../../dist/ir/index.js";
import { costOf } from "../../dist/measure/index.js";
import { openPath } from "../../dist/platform.node.js";
import { openSession } from "../../dist/runtime/index.js";

const [folder, given] = process.argv.slice(2);
const { name, options } = JSON.parse(given);

const checkpoint = async (file) => (await readSafetensors(await openPath(join(folder, file)))).tensors;

const made = create(name, options);
const { model, missing, unexpected, mismatched } = await loadWeights(made, await checkpoint("weights.safetensors"));
const peer = new Map();
for (const [key, tensor] of await checkpoint("tensors.safetensors")) {
  const bytes = await tensor.read();
  peer.set(key, await readData(tensorOf(tensor.dtype, tensor.shape, bytes)));
}
const named = (prefix) =>
  Object.fromEntries(
    [...peer].filter(([key]) => key.startsWith(prefix)).map(([key, v]) => [key.slice(prefix.length), v]),
  );

const session = await openSession(model);
const found = await session.run(named("in."));
await session.close();

let [error, spread] = [0, 0];
for (const [output, { data, shape }] of Object.entries(named("out."))) {
  const own = found[output]?.data;
  if (own?.length !== data.length) throw new Error(`${output} is [${found[output]?.shape}], the peer's [${shape}]`);
  const largest = data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const half = data.length / 2;
  for (let i = 0; i < data.length; i++) {
    const apart = Math.abs(own[i] - data[i]);
    error = Math.max(error, Number.isNaN(apart) ? Number.POSITIVE_INFINITY : apart / largest);
    if (i < half) spread = Math.max(spread, Math.abs(data[i] - data[i + half]) / largest);
  }
}
const { parameters, macs } = costOf(model);
console.log(JSON.stringify({ parameters, macs, error, spread, missing, unexpected, mismatched }));
