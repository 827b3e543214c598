import { intAttr, intsAttr } from "../ir/attrs.ts";
import { type Dim, sameDim } from "../ir/dim.ts";
import { dtypeOf } from "../ir/dtype.ts";
import type { Node } from "../ir/graph.ts";
import { smallValues } from "../ir/tensor.ts";
import type { Pass } from "./pass.ts";
import { type ConstantOptions, rewriting, type Site } from "./rewrite.ts";

/** Takes out nodes whose result is one of their inputs: Identity, Cast to the same type, Add of 0, Slice of everything … */
export const removeIdentities = (options: ConstantOptions = {}): Pass =>
  rewriting(
    "removeIdentities",
    (site) => {
      for (const node of site.edit.nodes()) {
        const kept = node.domain === "" ? SAME_AS[node.op]?.(site, node) : undefined;
        const name = kept === undefined ? "" : (node.inputs[kept] ?? "");
        if (name !== "" && node.outputs.slice(1).every((n) => !isRead(site, n)) && site.edit.bypass(node, name))
          site.note(`Took out ${node.op} that changes nothing.`, node);
      }
    },
    options,
  );

/** The index of the input that the (first) output always equals. */
type SameAs = (site: Site, node: Node) => number | undefined;

const isRead = ({ edit }: Site, name: string): boolean =>
  name !== "" && (edit.isOutput(name) || edit.readersOf(name).length > 0);

const when = (condition: boolean, input = 0): number | undefined => (condition ? input : undefined);

/** Whether an input and the output have the same shape for certain. */
export function keepsShape(site: Site, node: Node, input = 0): boolean {
  const before = site.fact(node.inputs[input] ?? "")?.shape;
  const after = site.fact(node.outputs[0] ?? "")?.shape;
  return sameShape(before, after);
}

/** Whether both are known and agree in every size. */
export const sameShape = (a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): boolean =>
  a !== undefined && b !== undefined && a.length === b.length && a.every((dim, i) => sameDim(dim, b[i] as Dim));

/** Whether an input is left out or a constant of which every element is `value`. */
function isAll(site: Site, node: Node, input: number, value: number, absent: boolean): boolean {
  const name = node.inputs[input] ?? "";
  if (name === "") return absent;
  const tensor = site.constant(name);
  return (tensor && smallValues(tensor)?.every((v) => v === value)) ?? false;
}

const onlyMoves: SameAs = (site, node) => when(keepsShape(site, node));

/** `x ∘ neutral`, on both sides where `commutes`. */
const neutral =
  (value: number, commutes: boolean): SameAs =>
  (site, node) => {
    if (isAll(site, node, 1, value, false) && keepsShape(site, node, 0)) return 0;
    return when(commutes && isAll(site, node, 0, value, false) && keepsShape(site, node, 1), 1);
  };

const alone: SameAs = (_, node) => when(node.inputs.length === 1);

const SAME_AS: Readonly<Record<string, SameAs>> = {
  Identity: () => 0,
  Dropout: (site, node) => when(isAll(site, node, 1, 0, false) || isAll(site, node, 2, 0, true)),
  Cast: (site, node) => when(site.fact(node.inputs[0] ?? "")?.dtype === dtypeOf(intAttr(node, "to", 0))),
  Reshape: onlyMoves,
  Flatten: onlyMoves,
  Squeeze: onlyMoves,
  Unsqueeze: onlyMoves,
  Expand: onlyMoves,
  Tile: onlyMoves,
  Slice: (site, node) => when(isAll(site, node, 4, 1, true) && keepsShape(site, node)),
  Pad: (site, node) => when(isAll(site, node, 1, 0, false)),
  Clip: (_, node) => when(!node.inputs[1] && !node.inputs[2]),
  Transpose: (_, node) => when(intsAttr(node, "perm")?.every((axis, i) => axis === i) ?? false),
  Concat: alone,
  Sum: alone,
  Max: alone,
  Min: alone,
  Mean: alone,
  Add: neutral(0, true),
  Sub: neutral(0, false),
  Mul: neutral(1, true),
  Div: neutral(1, false),
  Pow: neutral(1, false),
};
