import { bytesSource } from "../src/files/source.ts";
import type { TensorData } from "../src/ir/tensor.ts";
import { readModel, readTensorProto } from "../src/onnx/index.ts";
import { real } from "./real.ts";
import { untar } from "./tar.ts";

/** One of ONNX's own tests: a model, what goes in, and what should come out. */
export interface NodeTest {
  /** As ONNX calls it: `test_add_bcast`. */
  readonly name: string;
  /** The bytes of the .onnx file. */
  readonly model: Uint8Array;
  /** In the order of the model's inputs; undefined for what is no tensor (a sequence, an optional). */
  readonly inputs: readonly (TensorData | undefined)[];
  readonly outputs: readonly (TensorData | undefined)[];
}

const NODE_TESTS = "conformance/onnx-node.tgz";
const LIGHT_TESTS = "conformance/onnx-light.tgz";

/** ONNX's 1802 node tests, in the order of their names. Nothing where the folder of real models is absent. */
export async function* nodeTests(): AsyncIterable<NodeTest> {
  const path = real(NODE_TESTS);
  if (path === undefined) return;
  const tests = new Map<string, Map<string, Uint8Array>>();
  for (const { name, bytes } of untar(path)) {
    const [, test = "", file = ""] = /^node\/([^/]+)\/(?:test_data_set_0\/)?([^/]+)$/.exec(name) ?? [];
    if (!tests.has(test)) tests.set(test, new Map());
    tests.get(test)?.set(file, bytes);
  }
  for (const name of [...tests.keys()].sort()) {
    const files = tests.get(name);
    const model = files?.get("model.onnx");
    if (files === undefined || model === undefined) continue;
    const { graph } = await readModel(bytesSource(model, name));
    yield { name, model, inputs: await data("input", graph.inputs), outputs: await data("output", graph.outputs) };

    async function data(word: string, values: typeof graph.inputs): Promise<(TensorData | undefined)[]> {
      return Promise.all(
        values.map(async ({ type }, i) => {
          const bytes = files?.get(`${word}_${i}.pb`);
          return bytes !== undefined && type?.kind === "tensor" ? readTensorProto(bytes) : undefined;
        }),
      );
    }
  }
}

/** ONNX's nine light nets: real topologies whose weights are made up by nodes. */
export function* lightTests(): Iterable<{ name: string; model: Uint8Array }> {
  const path = real(LIGHT_TESTS);
  if (path === undefined) return;
  for (const { name, bytes } of untar(path)) if (name.endsWith(".onnx")) yield { name, model: bytes };
}
