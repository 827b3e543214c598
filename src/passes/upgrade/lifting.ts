import type { DType } from "../../ir/dtype.ts";
import type { NewNode } from "../../ir/edit.ts";
import type { Attrs, Node } from "../../ir/graph.ts";
import type { Tensor } from "../../ir/tensor.ts";
import type { Fact } from "../../ops/define.ts";

/** A node of an older opset, as a lifter sees it. */
export interface OldNode {
  readonly node: Node;
  /** The opset its form is of. */
  readonly from: number;
  /** What is known of an input. */
  fact(input: number): Fact | undefined;
  /** Whether anyone reads this output. */
  used(output: number): boolean;
  /** A new constant whose name is made from the node's own and `what`; gives the name. */
  constant(what: string, tensor: Tensor): string;
  /** The attribute as an int64 constant of one dimension (`ints`) or none (`int`), also where a function's own attribute stands for it; "" where it is absent. */
  asInput(attribute: string): string;
  /** A name for a value between two new nodes. */
  fresh(what: string): string;
  /** Throws a MinnowError `opset/unsupported` at the node. */
  refuse(what: string, mend?: string): never;
}

/** How one operator's form changed. */
export interface Lifting {
  readonly op: string;
  /** Nodes of opsets below this one have the old form. */
  readonly before: number;
  /** What changed, as users read it: `its axes are an input since opset 13`. */
  readonly why: string;
  /** The nodes of the new form, the last of them writing what the old node wrote. */
  lift(old: OldNode): readonly NewNode[];
}

/** The attributes but those named. */
export function without(attrs: Attrs, ...names: string[]): Attrs {
  return Object.fromEntries(Object.entries(attrs).filter(([name]) => !names.includes(name)));
}

/** The node with other inputs and without some attributes; its operator, outputs and the rest stay. */
export const rewritten = ({ node }: OldNode, inputs: readonly string[], ...dropped: string[]): NewNode => ({
  op: node.op,
  inputs: trimmed(inputs),
  attrs: without(node.attrs, ...dropped),
  outputs: node.outputs,
});

/** Names without the left-out ones at the end. */
export function trimmed(names: readonly string[]): string[] {
  const out = [...names];
  while (out.at(-1) === "") out.pop();
  return out;
}

/** The real type an input has, float32 where nothing is known of it. */
export const realType = (old: OldNode): DType => old.fact(0)?.dtype ?? "float32";

export const withAttrs = (node: NewNode, attrs: Attrs): NewNode => ({ ...node, attrs: { ...node.attrs, ...attrs } });

/** Refuses a node in a function where one of these attributes stands for an attribute of the function. */
export function plain(old: OldNode, ...names: string[]): void {
  for (const name of names)
    if (old.node.attrs[name]?.type === "ref")
      old.refuse(`its ${name} is an attribute of the function around it.`, "Inline the function first.");
}
