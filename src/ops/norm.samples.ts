import { float, int, ints } from "../ir/attrs.ts";
import type { Sample } from "./sample.ts";

const x = (...shape: number[]) => ({ shape });
const positive = (...shape: number[]) => ({ shape, low: 0.5, high: 2 });

export const samples: readonly Sample[] = [
  { op: "BatchNormalization", inputs: [x(2, 3, 4, 5), x(3), x(3), x(3), positive(3)], attrs: { epsilon: float(0.01) } },
  { op: "BatchNormalization", inputs: [x(2, 3), x(3), x(3), x(3), positive(3)] },
  {
    op: "BatchNormalization",
    inputs: [x(2, 3, 4), x(3), x(3), x(3), positive(3)],
    attrs: { training_mode: int(1), momentum: float(0.7) },
    outputs: 3,
  },
  { op: "InstanceNormalization", inputs: [x(2, 3, 4, 5), x(3), x(3)], attrs: { epsilon: float(0.01) } },
  { op: "LayerNormalization", inputs: [x(2, 3, 4), x(4), x(4)], attrs: { epsilon: float(0.01) } },
  {
    op: "LayerNormalization",
    inputs: [x(2, 3, 4, 5), x(3, 4, 5)],
    attrs: { axis: int(1), stash_type: int(1) },
    outputs: 3,
  },
  { op: "LayerNormalization", inputs: [x(2, 3, 4), x(4), x(4)], outputs: 3 },
  { op: "LayerNormalization", inputs: [x(2, 3, 4), x(3, 4), x(3, 4)], attrs: { axis: int(-2) } },
  { op: "RMSNormalization", opset: 23, inputs: [x(2, 3, 4), x(4)], attrs: { epsilon: float(0.01) } },
  { op: "RMSNormalization", opset: 23, inputs: [x(2, 3, 4), x(3, 4)], attrs: { axis: int(1), stash_type: int(1) } },
  {
    op: "GroupNormalization",
    inputs: [x(2, 6, 4, 5), x(6), x(6)],
    attrs: { num_groups: int(3), epsilon: float(0.01), stash_type: int(1) },
  },
  { op: "LRN", inputs: [x(2, 5, 4, 4)], attrs: { size: int(3), alpha: float(0.1), beta: float(0.5), bias: float(2) } },
  { op: "LRN", inputs: [x(2, 5, 3, 1)], attrs: { size: int(5), alpha: float(0.5) } },
  { op: "InstanceNormalization", inputs: [x(2, 3, 7), x(3), x(3)] },
  { op: "GroupNormalization", inputs: [x(2, 4, 5), x(4), x(4)], attrs: { num_groups: int(1) } },
  { op: "LpNormalization", inputs: [x(2, 3, 4)], attrs: { axis: int(1), p: int(1) } },
  { op: "LpNormalization", inputs: [x(2, 3, 4)] },
  { op: "MeanVarianceNormalization", inputs: [x(2, 3, 4, 5)] },
  { op: "MeanVarianceNormalization", inputs: [x(2, 3, 4, 5)], attrs: { axes: ints([2, 3]) } },
  { op: "SkipLayerNormalization", domain: "com.microsoft", inputs: [x(2, 3, 4), x(2, 3, 4), x(4)] },
  {
    op: "SkipLayerNormalization",
    domain: "com.microsoft",
    inputs: [x(2, 3, 4), x(3, 4), x(4), x(4), x(4)],
    attrs: { epsilon: float(0.01) },
    outputs: 4,
  },
  { op: "SkipSimplifiedLayerNormalization", domain: "com.microsoft", inputs: [x(2, 3, 4), x(1, 3, 4), x(4)] },
  {
    op: "SkipSimplifiedLayerNormalization",
    domain: "com.microsoft",
    inputs: [x(2, 3, 4), x(2, 3, 4), x(4), x(4)],
    attrs: { epsilon: float(0.01) },
    outputs: 4,
  },
];
