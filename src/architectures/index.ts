export type { Architecture, ArchitectureOptions, Defaults, Entries, Paper } from "./architecture.ts";
export { classifier, deeper, imageNet, makeDivisible } from "./architecture.ts";
export * from "./attention.ts";
export { type EncoderLayerOptions, type EncoderNames, encoderLayer } from "./bert.ts";
export * from "./blocks.ts";
export { ARCHITECTURES, architectureOf, architectures, create } from "./create.ts";
export { type Fit, type FitBudget, fitBudget } from "./fit.ts";
export {
  type GhostBottleneckOptions,
  type GhostOptions,
  ghost,
  ghostBottleneck,
  longRangeGate,
} from "./ghostnet.ts";
export * from "./init.ts";
export { type DecoderLayerOptions, decoderLayer, type LlamaOptions, llama } from "./llama.ts";
export { type BottleneckLayerOptions, bottleneckLayer } from "./mobilebert.ts";
export { type MobileOneOptions, mobileOne } from "./mobileone.ts";
export { type MobileViTBlockOptions, mobileViTBlock } from "./mobilevit.ts";
export * from "./net.ts";
export { type ReplaceHeadOptions, replaceHead } from "./replace-head.ts";
export { channelShuffle, type ShuffleUnitOptions, shuffleUnit } from "./shufflenet.ts";
export { type FireOptions, fire } from "./squeezenet.ts";
export { classToken, patchEmbedding, type ViTBlockOptions, vitBlock } from "./vit.ts";
export { type Loaded, loadWeights, type Mismatch } from "./weights.ts";
