/** One case of lora.py: loads an adapter PEFT wrote into an exported model, prints how far its outputs are, and writes it again. */
import { join } from "node:path";
import { readSafetensors } from "../../dist/files/safetensors.js";
import { readData, tensorOf } from "../../dist/ir/index.js";
import { load } from "../../dist/onnx/index.js";
import { openPath } from "../../dist/platform.node.js";
import { openSession } from "../../dist/runtime/index.js";
import {
  applyAdapter,
  loadAdapter,
  loraInputs,
  mergeLora,
  modulesByValue,
  saveAdapter,
} from "../../dist/train/index.js";

const folder = process.argv[2];
const open = async (file) => (await readSafetensors(await openPath(join(folder, file)))).tensors;
const tensors = await open("tensors.safetensors");
const read = async (key) => {
  const { dtype, shape, read } = tensors.get(key);
  return readData(tensorOf(dtype, shape, await read()));
};
const [given, wanted, plain] = [await read("given"), await read("wanted"), await read("plain")];
const largest = wanted.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

const model = await load(join(folder, "model.onnx"));
const adapter = await loadAdapter(join(folder, "adapter"));
let names;
try {
  mergeLora(model, adapter);
} catch (error) {
  if (error.code !== "lora/modules") throw error;
  names = await modulesByValue(model, await open("base.safetensors"));
}
const by = { names };

async function errorOf(changed, more = {}, than = wanted) {
  const session = await openSession(changed);
  const { scores } = await session.run({ given, ...more });
  await session.close();
  return than.data.reduce((most, v, i) => Math.max(most, Math.abs(v - scores.data[i])), 0) / largest;
}

const { model: switchable, feeds, none } = loraInputs(model, adapter, by);
const found = {
  matched: names === undefined ? "by name" : "by value",
  modules: adapter.modules.size,
  beside: await errorOf(applyAdapter(model, adapter, by).model),
  merged: await errorOf(mergeLora(model, adapter, by)),
  inputs: await errorOf(switchable, await feeds(adapter)),
  none: await errorOf(switchable, none, plain),
};
await saveAdapter(join(folder, "back"), adapter);
console.log(JSON.stringify(found));
