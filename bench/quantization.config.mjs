/** What `quantization.mjs` compares: the models, the settings of the peers and ours. */
import { optimize, sequence } from "../dist/passes/index.js";
import { quantizeStatic, quantizeWeights, storeWeights } from "../dist/quantize/index.js";

export const MODELS = [
  { name: "ResNet-8", model: "cifar10/mlperf_pretrainedResnet.onnx", data: "cifar10-raw", kind: "int8" },
  { name: "ResNet-20", model: "cifar10/resnet20_cifar10.onnx", data: "cifar10-normalized", kind: "int8" },
  { name: "ResNet-56", model: "cifar10/resnet56_cifar10.onnx", data: "cifar10-normalized", kind: "int8" },
  { name: "VWW", model: "mlperf-tiny/vww_96_float.onnx", data: "vww", kind: "int8" },
  { name: "DS-CNN", model: "mlperf-tiny/kws_ref_model_float32.onnx", data: "kws", kind: "int8" },
  { name: "autoencoder", model: "mlperf-tiny/ad01_fp32.onnx", data: "ad01", kind: "int8" },
  { name: "Magika", model: "text/magika_v3_3.onnx", data: "magika", kind: "int8" },
  { name: "MobileNetV1 0.25", model: "imagenet/mobilenet_v1_0.25_224_fp32.onnx", data: "imagenet224", kind: "int8" },
  ...[8, 4, 3, 2].map((bits) => ({
    name: `stories260K, ${bits} bits`,
    model: "text/stories260K_T128.onnx",
    data: "stories",
    kind: `weights${bits}`,
  })),
];

const nncf = (options) => ["--options", JSON.stringify(options)];
const ort = (settings) => ({
  tool: "onnxruntime.quantization",
  python: "PYTHON",
  script: "quantize_ort.py",
  settings,
});
const ours = (options) => (data) => quantizeStatic({ data, ...options });

/** A peer's settings: those its documentation advises first, then others, so that its best is found. */
export const PEERS = {
  int8: [
    ort({
      minmax: ["--method", "minmax"],
      "percentile 99.99": ["--method", "percentile", "--percentile", "99.99", "--stride", "20"],
      "percentile 99.999": ["--method", "percentile", "--percentile", "99.999", "--stride", "20"],
      "percentile 99.99, asymmetric": [
        ...["--method", "percentile", "--percentile", "99.99", "--stride", "20"],
        ...["--option", "CalibTensorRangeSymmetric=false"],
      ],
    }),
    {
      tool: "NNCF",
      python: "PYTHON_NNCF",
      script: "quantize_nncf.py",
      settings: {
        "default (performance, fast bias correction)": nncf({}),
        "mixed, fast bias correction": nncf({ preset: "mixed" }),
        "performance, full bias correction": nncf({ accurate: true }),
        "mixed, full bias correction": nncf({ preset: "mixed", accurate: true }),
        "mixed, full bias correction, 7 bits in the first layer": nncf({
          preset: "mixed",
          accurate: true,
          overflow: "first_layer_only",
        }),
      },
    },
  ],
  weights8: [
    nbits({ RTN: ["--method", "rtn"], "RTN, asymmetric": ["--method", "rtn", "--asymmetric"] }, 8),
    compressed({ "int8_asym (default)": { weights: "int8_asym" }, int8_sym: { weights: "int8_sym" } }),
  ],
  weights4: [
    nbits(
      {
        RTN: ["--method", "rtn"],
        "RTN, asymmetric": ["--method", "rtn", "--asymmetric"],
        "k-quant": ["--method", "kquant"],
        HQQ: ["--method", "hqq", "--asymmetric"],
        GPTQ: ["--method", "gptq", "--asymmetric"],
        "GPTQ, MSE, act-order": ["--method", "gptq", "--asymmetric", "--mse", "--actorder"],
        "GPTQ, MSE, act-order, symmetric": ["--method", "gptq", "--mse", "--actorder"],
        "RTN, asymmetric, blocks of 16": ["--method", "rtn", "--asymmetric", "--block", "16"],
      },
      4,
    ),
    compressed({
      int4_sym: { weights: "int4_sym" },
      int4_asym: { weights: "int4_asym" },
      "int4_asym, AWQ, scales estimated": { weights: "int4_asym", awq: true, scales: true },
      "int4_sym, AWQ, scales estimated": { weights: "int4_sym", awq: true, scales: true },
      "int4_asym, scales estimated, blocks of 16": { weights: "int4_asym", scales: true, group: 16 },
    }),
  ],
  weights3: [],
  weights2: [nbits({ RTN: ["--method", "rtn"], "RTN, asymmetric": ["--method", "rtn", "--asymmetric"] }, 2)],
};

function nbits(settings, bits) {
  const flags = Object.entries(settings).map(([name, own]) => [name, ["--bits", String(bits), ...own]]);
  return {
    tool: "MatMulNBitsQuantizer",
    python: "PYTHON_TORCH",
    script: "quantize_nbits_ort.py",
    settings: Object.fromEntries(flags),
  };
}

function compressed(settings) {
  const flags = Object.entries(settings).map(([name, options]) => [name, nncf(options)]);
  return { tool: "NNCF", python: "PYTHON_NNCF", script: "quantize_nncf.py", settings: Object.fromEntries(flags) };
}

/** Minnow's weights in some bits: what needs no data, and with `gptq` what does, which takes a minute each. */
const weightsIn = (bits, gptq) => {
  const common = { bits, accuracyLevel: 0 };
  return {
    RTN: () => quantizeWeights(common),
    MSE: () => quantizeWeights({ ...common, method: "mse" }),
    "k-quant, asymmetric": () => quantizeWeights({ ...common, method: "kQuant", symmetric: false }),
    ...Object.fromEntries(
      Object.entries(gptq).map(([name, options]) => [
        `GPTQ, MSE${name}`,
        (data) => quantizeWeights({ ...common, ...options, gptq: true, data }),
      ]),
    ),
  };
};

/** Our settings, by what they make of a dataset. */
export const OURS = {
  int8: {
    minmax: ours({}),
    "minmax, bias corrected": ours({ biasCorrection: true }),
    "percentile, bias corrected": ours({ method: "percentile", biasCorrection: true }),
    "mse, bias corrected": ours({ method: "mse", biasCorrection: true }),
    "minmax, asymmetric weights, bias corrected": ours({ biasCorrection: true, weightSymmetric: false }),
    "mse, asymmetric weights, bias corrected": ours({ method: "mse", biasCorrection: true, weightSymmetric: false }),
    "int8 storage, bias corrected": (data) =>
      sequence([optimize(), storeWeights({ to: "int8", biasCorrection: true, data })]),
  },
  weights8: weightsIn(8, {}),
  weights4: weightsIn(4, {
    ", asymmetric": { symmetric: false },
    ", asymmetric, blocks of 16": { symmetric: false, blockSize: 16 },
  }),
  weights3: weightsIn(3, { "": {} }),
  weights2: weightsIn(2, { ", asymmetric": { symmetric: false } }),
};
