export { calibrate } from "./calibrate.ts";
export { type ClusterWeightsOptions, clusterWeights, tuneClusters } from "./cluster.ts";
export { type Curvature, curvatureOf } from "./curvature.ts";
export { type QuantizeDynamicOptions, quantizeDynamic } from "./dynamic.ts";
export { type ConvertFloat16Options, convertFloat16 } from "./float16.ts";
export { type LayerChoice, type LayerCosts, type LayerCostsOptions, layerCosts, type Noise } from "./layer-costs.ts";
export {
  type Layer,
  type LayerFormat,
  layersOf,
  type PrecisionPlan,
  type QuantizeMixedOptions,
  quantizeMixed,
} from "./mixed.ts";
export { type Mode, type ModeOptions, quantizeMode, SUFFIXES, weightTypeOf } from "./modes.ts";
export { type Precision, type PrecisionBudget, planPrecision } from "./precision.ts";
export { type QuantizationAwareOptions, quantizationAware } from "./qat.ts";
export { freezeQuantized } from "./qat-freeze.ts";
export { rangesBy } from "./ranges.ts";
export { type AwqOptions, awq } from "./scaling/awq.ts";
export { equalizeLayers } from "./scaling/cross-layer.ts";
export { type RotateOptions, rotate } from "./scaling/rotate.ts";
export { type SmoothQuantOptions, smoothQuant } from "./scaling/smooth-quant.ts";
export { type SensitivityOptions, sensitivity } from "./sensitivity.ts";
export { quantizeStatic } from "./static.ts";
export { storeWeights } from "./storage.ts";
export type {
  CalibrateOptions,
  CalibrationMethod,
  LayerSensitivity,
  QuantizeStaticOptions,
  Range,
  RangeOptions,
  Ranges,
  Statistics,
  StoreWeightsOptions,
  ValueStatistics,
} from "./types.ts";
export { type QuantizeWeightsOptions, quantizeWeights } from "./weight-only.ts";
