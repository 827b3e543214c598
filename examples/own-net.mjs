/** A net of one's own for small pictures, composed of the blocks of light nets. */
import { convNormAct, fusedMBConv, ghost, invertedResidual, Net } from "minnow/architectures";

export function ownNet({ classes = 10, seed = 0 } = {}) {
  const net = new Net({ seed });
  let x = net.input("input", ["N", 3, 32, 32]);
  x = convNormAct(net.scope("stem"), x, { out: 16 });
  x = fusedMBConv(net.scope("blocks.0"), x, { out: 24, expand: 2, stride: 2 });
  x = invertedResidual(net.scope("blocks.1"), x, { out: 40, expand: 4, stride: 2, squeeze: { channels: 24 } });
  x = invertedResidual(net.scope("blocks.2"), x, { out: 40, expand: 4, kernel: 5 });
  x = ghost(net.scope("head"), x, { out: 128 });
  const logits = net.linear(net.flatten(net.globalAveragePool(x)), { name: "classifier", out: classes });
  return net.model({ logits }, "own");
}
