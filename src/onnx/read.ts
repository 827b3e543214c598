import { MinnowError } from "../errors.ts";
import type { Source } from "../files/source.ts";
import { inOrder } from "../ir/edit.ts";
import type { Attr, Attrs, FunctionDef, Graph, Model, Node, ValueInfo } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { readData } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { ATTRIBUTE_TYPES, type AttributeField, REF } from "./attributes.ts";
import { Decoder } from "./decode.ts";
import { externalData } from "./external.ts";
import { extras } from "./extras.ts";
import { scan } from "./scan.ts";
import { type Raw, SCHEMA } from "./schema.ts";
import { EXPORT_AGAIN, type ExternalData, readSparse, readTensor } from "./tensors.ts";
import { readType } from "./types.ts";

/**
 * Reads an ONNX model, leaving large data where it lies: a tensor above SMALL_BYTES is fetched from the source each time
 * it is read, so the source has to stay. Reading changes nothing but the order of nodes where that was not topological.
 * A damaged, hostile or incomplete file is a MinnowError (`onnx/…`, `graph/…`, `files/…`).
 */
export async function readModel(source: Source): Promise<Model> {
  if (source.size === 0)
    throw new MinnowError("The file is empty.", { code: "onnx/damaged", at: source.name, mend: "Export it again." });
  const decoder = new Decoder(await scan(source), source.name);
  const raw = decoder.decode("Model");
  if (raw.graph === undefined)
    throw new MinnowError("This is no ONNX model: it has no graph.", {
      code: "onnx/no-graph",
      at: source.name,
      mend: "Give the .onnx file itself; external data and tensors (.pb) are no models.",
    });
  const external = await externalData(decoder.external, source);
  const model = new Reading(decoder, external).model(raw, raw.graph);
  verify(model);
  return model;
}

/** A tensor from a file of its own (`input_0.pb` of ONNX's tests), as numbers on the host. */
export async function readTensorProto(bytes: Uint8Array): Promise<TensorData> {
  const raw = new Decoder({ bytes, left: new Map() }, "tensor").decode("Tensor");
  return readData(readTensor(raw, new Map()));
}

/** Turns messages into the graph. */
class Reading {
  readonly #decoder: Decoder;
  readonly #external: ExternalData;

  constructor(decoder: Decoder, external: ExternalData) {
    this.#decoder = decoder;
    this.#external = external;
  }

  model(raw: Raw<"Model">, graph: Raw<"Graph">): Model {
    return {
      graph: this.graph(graph),
      opsets: opsets(raw.opsets),
      irVersion: versionOf(raw.irVersion, "the IR version"),
      functions: (raw.functions ?? []).map((f) => this.function(f)),
      ...(raw.producerName && { producerName: raw.producerName }),
      ...(raw.producerVersion && { producerVersion: raw.producerVersion }),
      ...(raw.domain && { domain: raw.domain }),
      ...(raw.modelVersion && { modelVersion: raw.modelVersion }),
      ...extras(raw),
    };
  }

  graph(raw: Raw<"Graph">): Graph {
    const sparse = raw.sparseWeights ?? [];
    return {
      name: raw.name ?? "",
      inputs: this.values(raw.inputs),
      outputs: this.values(raw.outputs),
      weights: byName(raw.weights ?? [], "weight", (t) => [t.name ?? "", readTensor(t, this.#external)]),
      ...(sparse.length > 0 && {
        sparseWeights: byName(sparse, "sparse weight", (t) => [t.values?.name ?? "", readSparse(t, this.#external)]),
      }),
      nodes: inOrder((raw.nodes ?? []).map((n) => this.node(n))),
      valueInfo: new Map(this.values(raw.valueInfo).map((v) => [v.name, v])),
      ...extras(raw),
    };
  }

  function(raw: Raw<"Function">): FunctionDef {
    const [defaults, kept] = this.attrs(raw.defaults, SCHEMA.Function.defaults[0]);
    return {
      name: raw.name ?? "",
      domain: plainDomain(raw.domain),
      ...(raw.overload && { overload: raw.overload }),
      inputs: raw.inputs ?? [],
      outputs: raw.outputs ?? [],
      attributes: raw.attributes ?? [],
      defaults,
      nodes: inOrder((raw.nodes ?? []).map((n) => this.node(n))),
      opsets: opsets(raw.opsets),
      valueInfo: new Map(this.values(raw.valueInfo).map((v) => [v.name, v])),
      ...extras(raw, kept),
    };
  }

  node(raw: Raw<"Node">): Node {
    const [attrs, kept] = this.attrs(raw.attrs, SCHEMA.Node.attrs[0]);
    return {
      name: raw.name ?? "",
      op: raw.op ?? "",
      domain: plainDomain(raw.domain),
      ...(raw.overload && { overload: raw.overload }),
      inputs: raw.inputs ?? [],
      outputs: raw.outputs ?? [],
      attrs,
      ...extras(raw, kept),
    };
  }

  values(raw: readonly Raw<"ValueInfo">[] = []): ValueInfo[] {
    return raw.map((info) => {
      const type = info.type && readType(info.type);
      const kept = info.type && !type ? this.#decoder.asItCame(info.type, SCHEMA.ValueInfo.type[0]) : undefined;
      return { name: info.name ?? "", ...(type && { type }), ...extras(info, kept && [kept]) };
    });
  }

  /** The attributes, and those the graph has no words for, as they came. */
  attrs(raw: readonly Raw<"Attribute">[] = [], field: number): [Attrs, Uint8Array[]] {
    const known: [string, Attr][] = [];
    const kept: Uint8Array[] = [];
    for (const one of raw) {
      const attr = this.attr(one);
      const bytes = attr ? undefined : this.#decoder.asItCame(one, field);
      if (attr) known.push([one.name ?? "", attr]);
      else if (bytes) kept.push(bytes);
      else
        throw new MinnowError(`its type is number ${one.type ?? 0}, which this version does not know.`, {
          code: "onnx/attribute",
          at: `attribute "${one.name ?? ""}"`,
          mend: "Known are ONNX's types 1 (FLOAT) to 14 (TYPE_PROTOS).",
        });
    }
    return [Object.fromEntries(known), kept];
  }

  attr(raw: Raw<"Attribute">): Attr | undefined {
    const number = Number(raw.type ?? 0);
    if (!Number.isSafeInteger(number)) return undefined;
    if (raw.ref) return { type: REF, value: raw.ref, of: number, ...extras(raw) };
    const line = ATTRIBUTE_TYPES.find((t) => (number === 0 ? raw[t.field] !== undefined : t.number === number));
    const value = line && this.attrValue(line.field, raw);
    return line && value !== undefined ? ({ type: line.type, value, ...extras(raw) } as Attr) : undefined;
  }

  attrValue(field: AttributeField, raw: Raw<"Attribute">): Attr["value"] | undefined {
    switch (field) {
      case "tensor":
        return raw.tensor && readTensor(raw.tensor, this.#external);
      case "tensors":
        return (raw.tensors ?? []).map((t) => readTensor(t, this.#external));
      case "graph":
        return raw.graph && this.graph(raw.graph);
      case "graphs":
        return (raw.graphs ?? []).map((g) => this.graph(g));
      case "sparse":
        return raw.sparse && readSparse(raw.sparse, this.#external);
      case "sparses":
        return (raw.sparses ?? []).map((s) => readSparse(s, this.#external));
      case "typeProto":
        return raw.typeProto && readType(raw.typeProto);
      case "typeProtos": {
        const types = (raw.typeProtos ?? []).map(readType);
        return types.every((t) => t !== undefined) ? types : undefined;
      }
      case "string":
        return raw.string ?? new Uint8Array(0);
      case "int":
      case "float":
        return raw[field] ?? 0;
      default:
        return raw[field] ?? [];
    }
  }
}

/** "ai.onnx" is another way to write "". */
const plainDomain = (domain = ""): string => (domain === "ai.onnx" ? "" : domain);

function versionOf(value: number | bigint = 0, at: string): number {
  const version = Number(value);
  if (version >= 0 && Number.isSafeInteger(version)) return version;
  throw new MinnowError(`it is ${value}; a version is a whole number from 0 on.`, {
    code: "onnx/version",
    at,
    mend: EXPORT_AGAIN,
  });
}

const opsets = (raw: readonly Raw<"OperatorSet">[] = []): Map<string, number> =>
  new Map(raw.map(({ domain, version }) => [plainDomain(domain), versionOf(version, `opset "${domain ?? ""}"`)]));

function byName<R, T>(raw: readonly R[], what: string, read: (one: R) => [string, T]): Map<string, T> {
  const out = new Map<string, T>();
  for (const one of raw) {
    const [name, value] = read(one);
    if (out.has(name))
      throw new MinnowError(`There are two of this name.`, {
        code: "onnx/duplicate",
        at: `${what} "${name}"`,
        mend: "Give one of them another name.",
      });
    out.set(name, value);
  }
  return out;
}
