import type { Node } from "../ir/graph.ts";
import { attentions } from "./attention.ts";
import { binary } from "./binary.ts";
import { contractions } from "./contraction.ts";
import { control } from "./control.ts";
import { convolutions } from "./conv.ts";
import { keyOf, type OpRule } from "./define.ts";
import { fusedAttentions } from "./fused-attention.ts";
import { misc } from "./misc.ts";
import { moves } from "./move.ts";
import { normalizations } from "./norm.ts";
import { picks } from "./pick.ts";
import { pools } from "./pool.ts";
import { quantizers } from "./quant.ts";
import { random } from "./random.ts";
import { reduce } from "./reduce.ts";
import { resizes } from "./resize.ts";
import { recurrences } from "./rnn.ts";
import { shapes } from "./shape.ts";
import { slices } from "./slice.ts";
import { unary } from "./unary.ts";

/** Every operator Minnow knows, family by family. The one list. */
export const OPS: readonly OpRule[] = [
  ...attentions,
  ...binary,
  ...contractions,
  ...control,
  ...convolutions,
  ...fusedAttentions,
  ...misc,
  ...moves,
  ...normalizations,
  ...picks,
  ...pools,
  ...quantizers,
  ...random,
  ...recurrences,
  ...reduce,
  ...resizes,
  ...shapes,
  ...slices,
  ...unary,
];

const byKey: ReadonlyMap<string, OpRule> = new Map(OPS.map((rule) => [keyOf(rule.name, rule.domain), rule]));

/** The rule of a node's operator, or undefined where there is none. */
export const ruleOf = (node: Pick<Node, "op" | "domain">): OpRule | undefined => byKey.get(keyOf(node.op, node.domain));
