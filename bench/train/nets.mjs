/** The nets whose training steps are timed, from Minnow's own first weights. */
import { create, Net } from "../../dist/architectures/index.js";

function lenet() {
  const net = new Net({ seed: 0 });
  const half = { kernel: 2, stride: 2, padding: 0 };
  let x = net.input("image", ["N", 1, 28, 28]);
  x = net.maxPool(net.relu(net.conv(x, { name: "conv1", out: 6, kernel: 5, bias: true })), half);
  x = net.maxPool(net.relu(net.conv(x, { name: "conv2", out: 16, kernel: 5, padding: 0, bias: true })), half);
  x = net.relu(net.linear(net.flatten(x), { name: "fc1", out: 120 }));
  x = net.relu(net.linear(x, { name: "fc2", out: 84 }));
  return net.model({ logits: net.linear(x, { name: "fc3", out: 10 }) }, "lenet");
}

const images = (name, resolution) => create(name, { classes: 10, resolution, seed: 0 });

export const NETS = {
  "resnet20@32": { batch: 64, classes: 10, make: () => images("resnet20", 32) },
  "mobilenet_v2@32": { batch: 32, classes: 10, make: () => images("mobilenet_v2", 32) },
  "mobilenet_v2@96": { batch: 16, classes: 10, make: () => images("mobilenet_v2", 96) },
  "efficientnet_b0@64": { batch: 16, classes: 10, make: () => images("efficientnet_b0", 64) },
  "transformer@128": { batch: 16, classes: 2, length: 128, make: () => create("bert_mini", { classes: 2, seed: 0 }) },
  lenet: { batch: 128, classes: 10, make: lenet },
};
