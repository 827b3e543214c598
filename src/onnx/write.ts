import { MinnowError } from "../errors.ts";
import type { Sink } from "../files/source.ts";
import { byteSize, codeOf } from "../ir/dtype.ts";
import type { Attr, Attrs, FunctionDef, Graph, Model, Node, SparseTensor, ValueInfo } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { ATTRIBUTE_TYPES, REF } from "./attributes.ts";
import { encode } from "./encode.ts";
import { rawExtras } from "./extras.ts";
import type { Data, Raw } from "./schema.ts";
import { writeType } from "./types.ts";

/** The longest message protobuf takes. */
const MOST_BYTES = 2 ** 31 - 1;

export interface WriteOptions {
  /** Where weights go that are not written into the model itself. */
  readonly external?: {
    /** The name the model knows the data file by: it stands in the same folder. */
    readonly name: string;
    /** Called once, and only if there is data to write. */
    readonly sink: (name: string) => Promise<Sink>;
    /** `needed` (the default): when the model would not fit into 2 GB. */
    readonly when?: "needed" | "always";
  };
  readonly signal?: AbortSignal;
}

/**
 * Writes a model, one tensor at a time: a lazy one is read when it is its turn, written, and forgotten.
 * The sinks are left to whoever made them: to commit, the data before the model, or to abort.
 * Over 2 GB, or if asked, weights go to `external`; those under 1 KB stay in the model.
 */
export async function writeModel(model: Model, sink: Sink, options: WriteOptions = {}): Promise<void> {
  const { external, signal } = options;
  const stream = async (parts: readonly Data[], to: Sink) => {
    for (const part of parts) {
      signal?.throwIfAborted();
      await to.write(await fetchAll(part));
    }
  };
  if (external?.when !== "always") {
    const { length, parts } = encode("Model", new Writing().model(model));
    if (length <= MOST_BYTES) return stream(parts, sink);
    if (external === undefined) throw tooLarge(length);
  }
  const outside = new Outside(external.name);
  const { length, parts } = encode("Model", new Writing(outside).model(model));
  if (length > MOST_BYTES) throw tooLarge(length);
  if (outside.parts.length > 0) await stream(outside.parts, await external.sink(external.name));
  await stream(parts, sink);
}

/** The model as the bytes of one file; over 2 GB a MinnowError. */
export async function toBytes(model: Model): Promise<Uint8Array> {
  const { length, parts } = encode("Model", new Writing().model(model));
  if (length > MOST_BYTES) throw tooLarge(length);
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(await fetchAll(part), at);
    at += part.length;
  }
  return out;
}

async function fetchAll(part: Data): Promise<Uint8Array> {
  if (part instanceof Uint8Array) return part;
  const bytes = await part.read();
  if (bytes.byteLength === part.length) return bytes;
  throw new MinnowError(`A tensor gave ${bytes.byteLength} bytes; its type and shape take ${part.length}.`, {
    code: "onnx/tensor-size",
    mend: "Whatever computes the tensor is wrong.",
  });
}

const tooLarge = (length: number): MinnowError =>
  new MinnowError(`The model takes ${length} bytes; an ONNX file holds at most ${MOST_BYTES}.`, {
    code: "onnx/too-large",
    mend: "Save it to a path: its weights then go to a data file beside it.",
  });

/** A data file in the making. */
class Outside {
  readonly name: string;
  readonly parts: Data[] = [];
  #end = 0;
  readonly #offsets = new Map<Tensor, number>();

  constructor(name: string) {
    this.name = name;
  }

  /** Gives a tensor its place, the same one if it comes again. */
  place(tensor: Tensor, data: Data): Raw<"Entry">[] {
    let offset = this.#offsets.get(tensor);
    if (offset === undefined) {
      const align = data.length >= PAGE ? PAGE : 64;
      offset = Math.ceil(this.#end / align) * align;
      if (offset > this.#end) this.parts.push(new Uint8Array(offset - this.#end));
      this.parts.push(data);
      this.#end = offset + data.length;
      this.#offsets.set(tensor, offset);
    }
    return [
      { key: "location", value: this.name },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(data.length) },
    ];
  }
}

/** Where mapped memory may begin; ONNX asks for offsets that are multiples of it. */
const PAGE = 4096;
const LEAST_OUTSIDE = 1024;

/** Turns the graph into messages. */
class Writing {
  readonly #outside: Outside | undefined;

  constructor(outside?: Outside) {
    this.#outside = outside;
  }

  model(model: Model): Raw<"Model"> {
    return {
      irVersion: model.irVersion || undefined,
      producerName: model.producerName,
      producerVersion: model.producerVersion,
      domain: model.domain,
      modelVersion: model.modelVersion,
      graph: this.graph(model.graph),
      opsets: opsets(model.opsets),
      functions: model.functions.map((f) => this.function(f)),
      ...rawExtras(model),
    };
  }

  graph(graph: Graph): Raw<"Graph"> {
    return {
      nodes: graph.nodes.map((n) => this.node(n)),
      name: graph.name || undefined,
      weights: [...graph.weights].map(([name, tensor]) => this.tensor(tensor, name, this.#outside)),
      inputs: graph.inputs.map(valueInfo),
      outputs: graph.outputs.map(valueInfo),
      valueInfo: [...graph.valueInfo.values()].map(valueInfo),
      sparseWeights: [...(graph.sparseWeights ?? [])].map(([name, sparse]) => this.sparse(sparse, name)),
      ...rawExtras(graph),
    };
  }

  function(f: FunctionDef): Raw<"Function"> {
    return {
      name: f.name,
      inputs: [...f.inputs],
      outputs: [...f.outputs],
      attributes: [...f.attributes],
      nodes: f.nodes.map((n) => this.node(n)),
      opsets: opsets(f.opsets),
      domain: f.domain || undefined,
      defaults: this.attrs(f.defaults),
      valueInfo: [...f.valueInfo.values()].map(valueInfo),
      overload: f.overload,
      ...rawExtras(f),
    };
  }

  node(node: Node): Raw<"Node"> {
    return {
      inputs: [...node.inputs],
      outputs: [...node.outputs],
      name: node.name || undefined,
      op: node.op,
      attrs: this.attrs(node.attrs),
      domain: node.domain || undefined,
      overload: node.overload,
      ...rawExtras(node),
    };
  }

  attrs(attrs: Attrs): Raw<"Attribute">[] {
    return Object.entries(attrs).map(([name, attr]) => ({ name, ...this.attr(attr), ...rawExtras(attr) }));
  }

  attr(attr: Attr): Raw<"Attribute"> {
    if (attr.type === REF) return { type: attr.of, ref: attr.value };
    const line = ATTRIBUTE_TYPES.find((t) => t.type === attr.type)!;
    return { type: line.number, [line.field]: this.attrValue(attr) };
  }

  attrValue(attr: Exclude<Attr, { type: typeof REF }>): unknown {
    switch (attr.type) {
      case "tensor":
        return this.tensor(attr.value);
      case "tensors":
        return attr.value.map((t) => this.tensor(t));
      case "graph":
        return this.graph(attr.value);
      case "graphs":
        return attr.value.map((g) => this.graph(g));
      case "sparse":
        return this.sparse(attr.value);
      case "sparses":
        return attr.value.map((s) => this.sparse(s));
      case "type":
        return writeType(attr.value);
      case "types":
        return attr.value.map(writeType);
      default:
        return attr.value;
    }
  }

  tensor(tensor: Tensor, name?: string, outside?: Outside): Raw<"Tensor"> {
    const head = { dims: [...tensor.shape], dtype: codeOf(tensor.dtype), name, ...rawExtras(tensor) };
    if (tensor.strings) return { ...head, stringData: [...tensor.strings] };
    const length = byteSize(tensor.dtype, elements(tensor.shape));
    const data: Data = tensor.bytes ?? { length, read: (range) => tensor.read(range) };
    if (outside !== undefined && length >= LEAST_OUTSIDE)
      return { ...head, external: outside.place(tensor, data), location: 1 };
    return { ...head, rawData: data };
  }

  sparse(sparse: SparseTensor, name?: string): Raw<"SparseTensor"> {
    return {
      values: this.tensor(sparse.values, name),
      indices: this.tensor(sparse.indices),
      dims: [...sparse.shape],
      unknown: sparse.unknown && [...sparse.unknown],
    };
  }
}

const valueInfo = (info: ValueInfo): Raw<"ValueInfo"> => ({
  name: info.name,
  type: info.type && writeType(info.type),
  ...rawExtras(info),
});

const opsets = (versions: ReadonlyMap<string, number>): Raw<"OperatorSet">[] =>
  [...versions].map(([domain, version]) => ({ domain: domain || undefined, version }));
