import type { Node } from "../ir/graph.ts";
import { attentionGradients } from "./attention.grad.ts";
import { batchNormGradients } from "./batch-norm.grad.ts";
import { binaryGradients } from "./binary.grad.ts";
import { contractionGradients } from "./contraction.grad.ts";
import { controlGradients } from "./control.grad.ts";
import { convGradients } from "./conv.grad.ts";
import { keyOf } from "./define.ts";
import { fusedAttentionGradients } from "./fused-attention.grad.ts";
import type { GradientRule, Gradients } from "./gradient.ts";
import { miscGradients } from "./misc.grad.ts";
import { moveGradients } from "./move.grad.ts";
import { normGradients } from "./norm.grad.ts";
import { pickGradients } from "./pick.grad.ts";
import { poolGradients } from "./pool.grad.ts";
import { quantGradients } from "./quant.grad.ts";
import { randomGradients } from "./random.grad.ts";
import { reduceGradients } from "./reduce.grad.ts";
import { resizeGradients } from "./resize.grad.ts";
import { rnnGradients } from "./rnn.grad.ts";
import { shapeGradients } from "./shape.grad.ts";
import { sliceGradients } from "./slice.grad.ts";
import { unaryGradients } from "./unary.grad.ts";

/** The gradient of every operator that has one, family by family, beside the rules they belong to. */
export const GRADIENTS: Gradients = {
  ...attentionGradients,
  ...batchNormGradients,
  ...binaryGradients,
  ...contractionGradients,
  ...controlGradients,
  ...convGradients,
  ...fusedAttentionGradients,
  ...miscGradients,
  ...moveGradients,
  ...normGradients,
  ...pickGradients,
  ...poolGradients,
  ...quantGradients,
  ...randomGradients,
  ...reduceGradients,
  ...resizeGradients,
  ...rnnGradients,
  ...shapeGradients,
  ...sliceGradients,
  ...unaryGradients,
};

/** The gradient of a node's operator; undefined where nothing has been said of it. */
export const gradientOf = (node: Pick<Node, "op" | "domain">): GradientRule | undefined =>
  GRADIENTS[keyOf(node.op, node.domain)];
