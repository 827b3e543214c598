import { brotliSize } from "#platform";
import type { Dim } from "../ir/dim.ts";
import type { DType } from "../ir/dtype.ts";
import { byteSize } from "../ir/dtype.ts";
import type { Model, ValueInfo } from "../ir/graph.ts";
import { elements, type Tensor } from "../ir/tensor.ts";
import { ruleOf } from "../ops/index.ts";
import { inferModel } from "../ops/infer.ts";
import { constantsToWeights } from "../passes/constants.ts";
import { sequence } from "../passes/pass.ts";
import { upgrade } from "../passes/upgrade.ts";
import { type Cost, costOf, type LayerCost } from "./cost.ts";

/** An input or output as a caller sees it. */
export interface Port {
  readonly name: string;
  readonly dtype: DType | undefined;
  readonly shape: readonly Dim[] | undefined;
}

/** Layers that belong together by their names. */
export interface Block {
  readonly name: string;
  readonly layers: number;
  readonly parameters: number;
  readonly macs: number;
  readonly bytes: number;
}

/** Something worth trying, with its reason and the command for it. */
export interface Suggestion {
  readonly why: string;
  /** `compress MODEL --data …`: the words after `minnow`. */
  readonly command: string;
}

/** What a person asks of a model first. */
export interface Inspection extends Omit<Cost, "sizes"> {
  readonly bytes: number;
  /** Bytes to download, estimated from a sample of the weights. */
  readonly brotliBytes: number | undefined;
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly nodes: number;
  readonly sizes: Readonly<Record<string, number>>;
  readonly blocks: readonly Block[];
  readonly suggestions: readonly Suggestion[];
}

/** As `inspect`, with all the rules loaded. */
export async function inspectWithRules(model: Model, bytes: number): Promise<Inspection> {
  const { model: lifted } = await sequence([upgrade(), constantsToWeights()]).run(model);
  const facts = inferModel(lifted);
  const port = ({ name }: ValueInfo): Port => ({ name, dtype: facts.get(name)?.dtype, shape: facts.get(name)?.shape });
  const cost = costOf(lifted);
  const ratio = await compressibility(lifted);
  return {
    ...cost,
    bytes,
    brotliBytes: ratio === undefined ? undefined : Math.round(bytes * ratio),
    opsets: Object.fromEntries([...model.opsets].map(([domain, version]) => [domain || "ai.onnx", version])),
    inputs: lifted.graph.inputs.filter((i) => !lifted.graph.weights.has(i.name)).map(port),
    outputs: lifted.graph.outputs.map(port),
    nodes: model.graph.nodes.length,
    sizes: Object.fromEntries(cost.sizes),
    blocks: blocksOf(cost.layers),
    suggestions: suggest(lifted, cost, bytes),
  };
}

const SAMPLE = 96 * 1024;

/** How much smaller brotli makes the weights, by a sample spread over them. */
async function compressibility(model: Model): Promise<number | undefined> {
  const large = [...model.graph.weights.values()].filter((t) => t.strings === undefined && sizeOf(t) > 0);
  const total = large.reduce((sum, t) => sum + sizeOf(t), 0);
  if (total === 0) return undefined;
  const pieces: Uint8Array[] = [];
  let taken = 0;
  const step = Math.max(1, total / (SAMPLE / 4096));
  let [next, start] = [0, 0];
  for (const tensor of large) {
    const size = sizeOf(tensor);
    for (; next < start + size; next += step) {
      const offset = Math.min(Math.floor(next - start), Math.max(0, size - 4096)) & ~7;
      const piece = await tensor.read({ offset, length: Math.min(4096, size - offset) });
      pieces.push(piece);
      taken += piece.byteLength;
    }
    start += size;
  }
  const compressed = await brotliSize(pieces);
  return compressed === undefined ? undefined : Math.min(1, compressed / taken);
}

const sizeOf = ({ dtype, shape }: Tensor): number => byteSize(dtype, elements(shape));

/** Groups layers by the start of their names, as deep as gives at most 12 groups; order of the graph. */
export function blocksOf(layers: readonly LayerCost[]): Block[] {
  // Exporters repeat a scope inside itself: /layer1/layer1.0/conv1.
  const scopeOf = (name: string) => name.split(/[/.]/).filter((part, i, all) => part !== "" && part !== all[i - 1]);
  const scoped = layers.map((layer) => ({ layer, scope: scopeOf(layer.name) }));
  let best: Block[] = [];
  for (let depth = 1; depth <= 4; depth++) {
    const blocks = new Map<string, Block>();
    for (const { layer, scope } of scoped) {
      const name = scope.slice(0, Math.max(1, Math.min(depth, scope.length - 1))).join(".") || layer.op;
      const block = blocks.get(name) ?? { name, layers: 0, parameters: 0, macs: 0, bytes: 0 };
      blocks.set(name, {
        name,
        layers: block.layers + 1,
        parameters: block.parameters + layer.parameters,
        macs: block.macs + layer.macs,
        bytes: block.bytes + layer.bytes,
      });
    }
    if (best.length > 1 && blocks.size > 12) break;
    best = [...blocks.values()];
  }
  return best;
}

/** The three things most worth trying. */
function suggest(model: Model, cost: Cost, bytes: number): Suggestion[] {
  const suggestions: Suggestion[] = [];
  const share = (part: number) => `${Math.round((100 * part) / Math.max(1, bytes))} %`;
  const floats = cost.dtypes.float32 ?? 0;
  const contractions = new Set(
    model.graph.nodes.filter((n) => ruleOf(n)?.quant?.kind === "contraction").map((n) => n.op),
  );
  const heavy = cost.layers.filter((l) => contractions.has(l.op)).sort((a, b) => b.bytes - a.bytes);
  if (floats > bytes / 2 && heavy.length > 0)
    suggestions.push({
      why: `${share(floats)} of the bytes are float32 weights: int8 takes a quarter, checked on your data`,
      command: "compress MODEL --data DATA --max-drop 1%",
    });
  const top = heavy.slice(0, 3);
  const topBytes = top.reduce((sum, l) => sum + l.bytes, 0);
  if (floats > bytes / 2 && heavy.length > 0)
    suggestions.push({
      why:
        topBytes > bytes / 2 && heavy.length > 3
          ? `${share(topBytes)} of the bytes are in ${top.length} layers (${[...new Set(top.map((l) => l.op))].join(", ")}): stored as int8 they load anywhere, at float speed`
          : "without data: weights stored as int8 load anywhere, at float speed",
      command: "quantize MODEL --to int8-storage",
    });
  const constant = foldable(model);
  if (constant > 0)
    suggestions.push({
      why: `${constant} of ${model.graph.nodes.length} nodes compute what is known beforehand or can be merged`,
      command: "optimize MODEL",
    });
  return suggestions.slice(0, 3);
}

/** Nodes whose results are numbers known without running them, or that read constants alone. */
function foldable(model: Model): number {
  const facts = inferModel(model);
  const fixed = new Set(model.graph.weights.keys());
  let folded = 0;
  for (const node of model.graph.nodes) {
    const known = node.outputs.every((o) => facts.get(o)?.value?.every((v) => typeof v === "number") === true);
    const inputs = node.inputs.filter((name) => name !== "");
    const constant = ruleOf(node)?.deterministic !== false && inputs.every((name) => fixed.has(name));
    const scaling = (ruleOf(node)?.statistics?.length ?? 0) > 0;
    if (known || constant) for (const output of node.outputs) fixed.add(output);
    if (known || constant || scaling) folded++;
  }
  return folded;
}
