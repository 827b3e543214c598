import { floatAttr } from "../ir/attrs.ts";
import type { Model, Node } from "../ir/graph.ts";
import type { Tensor } from "../ir/tensor.ts";
import { type AxisTerm, axesOf, lettersOf } from "../ops/axes.ts";
import { ruleOf } from "../ops/index.ts";
import { applied, type Facts } from "../ops/infer.ts";
import { type Matrix, matrixOf } from "./blocks.ts";

/** A node that multiplies an activation with a constant matrix: y[…, row] = Σ x[…, column]·matrix[row, column] + bias. */
export interface Product {
  readonly node: Node;
  readonly input: string;
  readonly matrix: Matrix;
  /** What is added, "" where nothing is. */
  readonly bias: string;
}

/** What a constant is to the node that reads it, or why it cannot be that. */
export type Found = Product | { readonly why: string } | undefined;

/**
 * The product a node is, by the axes of its operator; undefined where it is none with a constant float weight, and a
 * reason where it is one that cannot be put into blocks.
 */
export function productOf(
  node: Node,
  { opsets }: Pick<Model, "opsets">,
  facts: Facts,
  constant: (name: string) => Tensor | undefined,
): Found {
  const quant = ruleOf(node)?.quant;
  if (quant?.kind !== "contraction") return undefined;
  const name = node.inputs[quant.weight] ?? "";
  const weight = constant(name);
  if (weight === undefined || !/float/.test(weight.dtype)) return undefined;
  const results = node.outputs.map((output) => facts.get(output));
  const axes = axesOf({ ...applied(node, opsets, facts), results });
  if ("frozen" in axes) return { why: axes.frozen };
  const { inputs, outputs } = axes.pattern;
  const [x, w, y] = [inputs[0] ?? [], own(inputs[quant.weight] ?? []), outputs[0] ?? []];
  const [column, row] = [letterOf(x.at(-1)), letterOf(y.at(-1))];
  const order = w.map(letterOf).join();
  const turned = order === `${column},${row}`;
  if (weight.shape.length !== 2 || !(turned || order === `${row},${column}`) || !same(x.slice(0, -1), y.slice(0, -1)))
    return { why: "its weight is no matrix" };
  if (weight.dtype !== "float32") return { why: `its weight is ${weight.dtype}` };
  if (floatAttr(node, "alpha", 1) !== 1 || floatAttr(node, "beta", 1) !== 1)
    return { why: "it multiplies by a factor" };
  const bias = quant.bias === undefined ? "" : (node.inputs[quant.bias] ?? "");
  return { node, input: node.inputs[0] ?? "", matrix: matrixOf(name, weight, turned), bias };
}

const own = (terms: readonly AxisTerm[]): readonly AxisTerm[] => terms.filter((term) => term.kind !== "rest");

const letterOf = (term: AxisTerm | undefined): string =>
  term?.kind === "letter" && term.mark === undefined ? term.letter : "?";

const same = (a: readonly AxisTerm[], b: readonly AxisTerm[]): boolean =>
  a.length === b.length &&
  a.every((term, i) => term.kind === b[i]?.kind && `${lettersOf(term)}` === `${lettersOf(b[i]!)}`);
