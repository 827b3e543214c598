import type { Node } from "../ir/graph.ts";
import { keyOf, type OpRule } from "./define.ts";
import { unary } from "./unary.ts";

/** Every operator Minnow knows, family by family. The one list. */
export const OPS: readonly OpRule[] = [...unary];

const byKey: ReadonlyMap<string, OpRule> = new Map(OPS.map((rule) => [keyOf(rule.name, rule.domain), rule]));

/** The rule of a node's operator, or undefined where there is none. */
export const ruleOf = (node: Pick<Node, "op" | "domain">): OpRule | undefined => byKey.get(keyOf(node.op, node.domain));
