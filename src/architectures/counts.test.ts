import { describe, expect, it } from "vitest";
import { costOf } from "../measure/cost.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { architectures, create } from "./index.ts";

/** Name, trainable parameters, multiply-adds of one image (where the source gives them), options. Sources: the papers' code. */
type Row = readonly [
  name: string,
  parameters: number,
  macs?: number | undefined,
  options?: Partial<ArchitectureOptions>,
];

/** MobileNetV1 by width: parameters, then multiply-adds at 224, 192, 160 and 128. */
const V1 = [
  [1, 4_231_976, [568_740_352, 418_121_728, 290_675_200, 186_400_768]],
  [0.75, 2_585_560, [325_400_448, 239_273_472, 166_396_800, 106_770_432]],
  [0.5, 1_331_592, [149_497_088, 109_970_432, 76_524_800, 49_160_192]],
  [0.25, 470_072, [41_030_272, 30_212_608, 21_059_200, 13_570_048]],
] as const;

const ROWS: readonly Row[] = [
  ...V1.flatMap(([width, parameters, macs]) =>
    macs.map((count, i): Row => ["mobilenet_v1", parameters, count, { width, resolution: 224 - 32 * i }]),
  ),
  ["mobilenet_v2", 3_504_872, 300_774_272],
  ["mobilenet_v2", 1_677_128, undefined, { width: 0.35 }],
  ["mobilenet_v2", 6_108_776, undefined, { width: 1.4 }],
  ["mobilenet_v3_small", 2_542_856],
  ["mobilenet_v3_large", 5_483_032],
  ["mobilenet_v3_small_minimal", 2_044_736],
  ["mobilenet_v3_large_minimal", 3_924_288],
  ["mobilenet_v4_conv_small", 3_774_024, 186_005_568],
  ["mobilenet_v4_conv_medium", 9_715_512],
  ["mobilenet_v4_conv_large", 32_590_864],
  ["efficientnet_b0", 5_288_548, 385_814_752],
  ["efficientnet_b1", 7_794_184],
  ["efficientnet_b2", 9_109_994],
  ["efficientnet_b3", 12_233_232],
  ["efficientnet_b4", 19_341_616],
  ["efficientnet_b5", 30_389_784],
  ["efficientnet_b6", 43_040_704],
  ["efficientnet_b7", 66_347_960],
  ["efficientnet_lite0", 4_652_008],
  ["efficientnet_lite1", 5_416_680],
  ["efficientnet_lite2", 6_092_072],
  ["efficientnet_lite3", 8_197_096],
  ["efficientnet_lite4", 13_006_568],
  ["efficientnetv2_s", 21_458_488],
  ["efficientnetv2_b0", 7_139_704],
  ["mnasnet0_5", 2_218_512],
  ["mnasnet0_75", 3_170_208],
  ["mnasnet1_0", 4_383_312],
  ["mnasnet1_3", 6_282_256],
  ["shufflenet_v2_x0_5", 1_366_792],
  ["shufflenet_v2_x1_0", 2_278_604],
  ["shufflenet_v2_x1_5", 3_503_624],
  ["shufflenet_v2_x2_0", 7_393_996],
  ["squeezenet1_0", 1_248_424],
  ["squeezenet1_1", 1_235_496],
  ["ghostnet", 2_587_292, undefined, { width: 0.5 }],
  ["ghostnet", 5_182_508],
  ["ghostnet", 7_358_820, undefined, { width: 1.3 }],
  ["ghostnetv2", 6_156_908],
  ["mobileone_s0", 5_293_272],
  ["mobileone_s1", 4_825_192],
  ["mobileone_s2", 7_884_648],
  ["mobileone_s3", 10_170_600],
  ["mobileone_s4", 14_951_248],
  // MCUNet's own figures are rounded to a tenth of a million.
  ["mcunet_in0", 749_840, 6_364_224],
  ["mcunet_in1", 636_232, 12_790_096],
  ["mcunet_in2", 729_392, 67_287_200],
  ["mcunet_in3", 737_408, 81_785_520],
  ["mcunet_in4", 1_732_640, 125_874_400],
  ["dscnn", 23_180, 2_656_768],
  ["autoencoder", 266_896, 264_192],
  ["resnet18", 11_689_512],
  ["resnet34", 21_797_672],
  ["resnet50", 25_557_032],
  ["resnet20", 269_722],
  ["resnet32", 464_154],
  ["resnet44", 658_586],
  ["resnet56", 853_018],
  ["resnet110", 1_727_962],
  ["vit_tiny", 5_717_416],
  ["vit_small", 22_050_664],
  ["vit_base", 86_567_656],
  ["mobilevit_xxs", 1_272_024],
  ["mobilevit_xs", 2_317_848],
  ["mobilevit_s", 5_578_632],
  ["bert_tiny", 4_385_920],
  ["bert_mini", 11_170_560],
  ["bert_small", 28_763_648],
  ["bert_base", 109_482_240],
  ["bert_base", 109_483_778, undefined, { classes: 2 }],
  ["distilbert", 66_362_880],
  ["distilbert", 66_955_010, undefined, { classes: 2 }],
  ["tinybert4", 14_350_248],
  ["tinybert6", 66_955_008],
  ["mobilebert", 24_844_544],
  ["llama", 15_191_712],
  [
    "llama",
    260_032,
    undefined,
    { vocabulary: 512, layers: 5, dimension: 64, heads: 8, kvHeads: 4, inner: 172, length: 128 },
  ],
];

it("every net has a row", () => {
  expect(new Set(ROWS.map(([name]) => name))).toEqual(new Set(architectures()));
});

describe("a net has exactly the parameters and multiply-adds of its original", () => {
  it.each(ROWS.map((row) => [title(row), row] as const))("%s", (_, [name, parameters, macs, options]) => {
    const cost = costOf(create(name, options));
    expect(cost.parameters).toBe(parameters);
    if (macs !== undefined) expect(cost.macs).toBe(macs);
    expect(cost.unknownOps).toEqual([]);
  });
});

function title([name, , , options]: Row): string {
  return options === undefined ? name : `${name} ${JSON.stringify(options)}`;
}
