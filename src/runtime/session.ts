import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import { type Engine, loadEngine } from "#platform";
import { MinnowError } from "../errors.ts";
import type { DType } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { elements, type TensorData } from "../ir/tensor.ts";
import { load, toBytes } from "../onnx/index.ts";
import { declared, inferModel } from "../ops/infer.ts";

/** Where a session runs: ONNX Runtime's native CPU build, its WebAssembly build, or WebGPU. */
export type Runtime = "node" | "wasm" | "webgpu";

export interface SessionOptions {
  /** Default: `node` in Node, `wasm` in a page. */
  readonly runtime?: Runtime;
  /** Threads of one run; default 1. In WASM it holds for every session, and the first one decides. */
  readonly threads?: number;
  /** ONNX Runtime's graph optimization level; default `all`. */
  readonly optimization?: "disabled" | "basic" | "extended" | "layout" | "all";
  /** ONNX Runtime session options by their own keys: `session.disable_quant_qdq`. */
  readonly config?: Readonly<Record<string, string>>;
  /** Node only: where ONNX Runtime writes the graph it really runs. */
  readonly optimizedModelPath?: string;
}

/** Outputs by name, perhaps each with a tensor it may be written into. */
export type Fetches = readonly string[] | Readonly<Record<string, TensorData | undefined>>;

/** A model that is loaded and can be run. */
export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly runtime: Runtime;
  /**
   * Runs once. `feeds` by input name; gives the outputs asked for (default all) by name. Fetches may come with tensors of
   * the right type and shape to write into: ONNX Runtime does so in Node and gives them back, elsewhere new ones come back.
   */
  run(feeds: Readonly<Record<string, TensorData>>, fetches?: Fetches): Promise<Record<string, TensorData>>;
  /** Frees what the runtime holds. */
  close(): Promise<void>;
}

/** The runtime used where none is named. */
export const defaultRuntime = (): Runtime =>
  (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node === undefined
    ? "wasm"
    : "node";

/**
 * Loads a model into ONNX Runtime. Give bytes or a path for a file as it is; a Model is written in memory first.
 * Throws a MinnowError `runtime/load` with the runtime's own words where it refuses the model, and `runtime/output-type`
 * for 4-bit outputs in Node, where ONNX Runtime 1.30 would end the process.
 *
 * @example
 * const session = await openSession(model, { runtime: "wasm" });
 * const { logits } = await session.run({ image: { dtype: "float32", shape: [1, 3, 32, 32], data } });
 */
export async function openSession(model: Model | Uint8Array | string, options: SessionOptions = {}): Promise<Session> {
  const runtime = options.runtime ?? defaultRuntime();
  if (runtime === "node") await checkOutputs(model);
  const engine = await loadEngine(runtime);
  const threads = options.threads ?? 1;
  if (runtime !== "node") engine.env.wasm.numThreads ||= threads;
  const settings: InferenceSession.SessionOptions = {
    executionProviders: [runtime === "node" ? "cpu" : runtime],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: options.optimization ?? "all",
    logSeverityLevel: 4,
    ...(options.config && { extra: nested(options.config) }),
    ...(options.optimizedModelPath && { optimizedModelFilePath: options.optimizedModelPath }),
  };
  let session: InferenceSession;
  try {
    if (typeof model === "string") session = await engine.InferenceSession.create(model, settings);
    else {
      const bytes = model instanceof Uint8Array ? model : await toBytes(model);
      session = await engine.InferenceSession.create(bytes, settings);
    }
  } catch (cause) {
    throw new MinnowError(`ONNX Runtime (${runtime}) refuses the model: ${reasonOf(cause)}`, {
      code: "runtime/load",
      mend: "Check that the model is valid and uses operators this runtime has.",
      cause,
    });
  }
  return wrap(engine, session, runtime);
}

/** onnxruntime-node 1.30 aborts, uncatchably, while it loads a model with an output of these types. */
const ABORTING: ReadonlySet<DType> = new Set(["int4", "uint4"]);

async function checkOutputs(given: Model | Uint8Array | string): Promise<void> {
  let model: Model;
  try {
    model = typeof given === "string" || given instanceof Uint8Array ? await load(given) : given;
  } catch {
    return; // What cannot be read, the runtime refuses in its own words.
  }
  for (const output of model.graph.outputs) {
    const dtype = (declared(output) ?? inferredType(model, output.name))?.dtype;
    if (dtype !== undefined && ABORTING.has(dtype))
      throw new MinnowError(`It is ${dtype}; the native ONNX Runtime has no 4-bit outputs.`, {
        code: "runtime/output-type",
        at: `output "${output.name}"`,
        mend: "Put a Cast to int8 behind it, or leave it out of the outputs.",
      });
  }
}

function inferredType(model: Model, name: string) {
  try {
    return inferModel(model).get(name);
  } catch (error) {
    if (error instanceof MinnowError) return undefined;
    throw error;
  }
}

function wrap(engine: Engine, session: InferenceSession, runtime: Runtime): Session {
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    runtime,
    async run(feeds, fetches) {
      const given: Record<string, OrtTensor> = {};
      for (const [name, value] of Object.entries(feeds)) given[name] = toEngine(engine, value);
      let results: InferenceSession.OnnxValueMapType;
      try {
        results =
          fetches === undefined
            ? await session.run(given)
            : await session.run(given, runtime === "node" ? into(engine, fetches) : namesOf(fetches));
      } catch (cause) {
        throw new MinnowError(`ONNX Runtime (${runtime}) could not run the model: ${reasonOf(cause)}`, {
          code: "runtime/run",
          mend: "Check the names, types and shapes of what the model is fed with.",
          cause,
        });
      }
      const out: Record<string, TensorData> = {};
      for (const [name, value] of Object.entries(results)) out[name] = await fromEngine(value as OrtTensor);
      return out;
    },
    close: () => session.release(),
  };
}

const namesOf = (fetches: Fetches): string[] =>
  Array.isArray(fetches) ? [...(fetches as readonly string[])] : Object.keys(fetches);

/** Fetches with the tensors to write into. */
function into(engine: Engine, fetches: Fetches): Record<string, OrtTensor | null> {
  const tensors = fetches as Readonly<Record<string, TensorData | undefined>>;
  return Object.fromEntries(
    namesOf(fetches).map((name) => {
      const tensor = Array.isArray(fetches) ? undefined : tensors[name];
      return [name, tensor === undefined ? null : toEngine(engine, tensor)];
    }),
  );
}

function toEngine(engine: Engine, { dtype, shape, data }: TensorData): OrtTensor {
  const size = elements(shape);
  if (data.length !== (dtype === "int4" || dtype === "uint4" ? Math.ceil(size / 2) : size))
    throw new MinnowError(`${data.length} numbers were given for the shape [${shape}].`, { code: "runtime/feed" });
  const values = dtype === "float16" ? asHalf(data as Uint16Array) : data;
  return new engine.Tensor(dtype as OrtTensor.Type, values as Uint8Array, [...shape]) as OrtTensor;
}

async function fromEngine(value: OrtTensor): Promise<TensorData> {
  const data = value.location === "cpu" || value.location === undefined ? value.data : await value.getData(true);
  const dtype = value.type as DType;
  const bits =
    dtype === "float16" && !(data instanceof Uint16Array)
      ? new Uint16Array(
          (data as unknown as Uint8Array).buffer,
          (data as unknown as Uint8Array).byteOffset,
          elements(value.dims),
        )
      : data;
  return { dtype, shape: value.dims, data: bits as TensorData["data"] };
}

/** Where the language has a Float16Array, onnxruntime-common expects one. */
function asHalf(data: Uint16Array): unknown {
  const Half = (globalThis as { Float16Array?: new (b: ArrayBufferLike, o: number, n: number) => unknown })
    .Float16Array;
  return Half === undefined ? data : new Half(data.buffer, data.byteOffset, data.length);
}

/** `a.b.c: v` → nested objects, as the `extra` of session options wants them. */
function nested(config: Readonly<Record<string, string>>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    const parts = key.split(".");
    let at = out;
    for (const part of parts.slice(0, -1)) {
      at[part] ??= {};
      at = at[part] as Record<string, unknown>;
    }
    at[parts.at(-1) ?? key] = value;
  }
  return out;
}

/** The first line of what the runtime said, without codes and source locations. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  const line = text.replace(/^.*?ERROR_MESSAGE: /s, "").split("\n")[0] ?? "";
  const clean = line
    .replace(/^.*?\[ONNXRuntimeError\] : \d+ : \w+ : /, "")
    .replace(/\S*onnxruntime\/\S+:\d+ \S+ /g, "");
  return /[.!?]$/.test(clean) ? clean : `${clean}.`;
}
