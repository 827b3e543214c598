import { float, int, ints, string } from "../ir/attrs.ts";
import type { Sample, SampleInput } from "./sample.ts";

const image: SampleInput = { shape: [2, 3, 4, 5] };
const scales = (...values: number[]): SampleInput => ({ shape: [values.length], values, constant: true });
const sizes = (...values: number[]): SampleInput => ({ ...scales(...values), dtype: "int64" });
/** Numbers that are fed: nothing is known of them before the run. */
const fed = (input: SampleInput): SampleInput => ({ ...input, constant: false });

export const samples: readonly Sample[] = [
  { op: "Resize", inputs: [image, undefined, scales(1, 1, 2, 2)] },
  { op: "Resize", inputs: [image, undefined, scales(1, 1, 0.7, 1.3)], attrs: { mode: string("linear") } },
  { op: "Resize", inputs: [image, undefined, undefined, sizes(2, 3, 7, 5)], attrs: { nearest_mode: string("floor") } },
  {
    op: "Resize",
    inputs: [image, undefined, fed(scales(1, 1, 2, 3))],
    attrs: { coordinate_transformation_mode: string("asymmetric") },
  },
  { op: "Resize", inputs: [image, undefined, undefined, fed(sizes(2, 3, 8, 8))], attrs: { mode: string("linear") } },
  {
    op: "Resize",
    inputs: [image, undefined, undefined, sizes(8, 7)],
    attrs: { axes: ints([2, 3]), keep_aspect_ratio_policy: string("not_larger") },
  },
  {
    op: "Resize",
    inputs: [{ shape: [2, 3, 2, 4] }, undefined, undefined, sizes(1, 3)],
    attrs: { axes: ints([2, 3]), keep_aspect_ratio_policy: string("not_smaller") },
  },
  {
    op: "Resize",
    inputs: [image, undefined, undefined, sizes(7, 8)],
    attrs: { axes: ints([3, 2]), keep_aspect_ratio_policy: string("not_smaller"), mode: string("linear") },
  },
  {
    op: "Resize",
    inputs: [image, undefined, scales(1.5, 1.5)],
    attrs: {
      axes: ints([2, 3]),
      mode: string("cubic"),
      cubic_coeff_a: float(-0.5),
      exclude_outside: int(1),
    },
  },
  {
    op: "Resize",
    inputs: [image, undefined, scales(1, 1, 0.5, 0.5)],
    attrs: { antialias: int(1), mode: string("linear") },
  },
  {
    op: "Resize",
    inputs: [image, scales(0, 0, 0.25, 0, 1, 1, 0.75, 1), undefined, sizes(2, 3, 6, 5)],
    attrs: {
      coordinate_transformation_mode: string("tf_crop_and_resize"),
      extrapolation_value: float(0.5),
      mode: string("linear"),
    },
  },
  {
    op: "Resize",
    inputs: [image, scales(0, 0, 0.25, 0, 1, 1, 0.75, 1), scales(1, 1, 2, 2)],
    attrs: { coordinate_transformation_mode: string("tf_crop_and_resize"), mode: string("linear") },
  },
  { op: "Resize", inputs: [image, scales(), scales(1, 1, 3, 3)] },
  ...["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"].flatMap((mode) =>
    ["nearest", "linear", "cubic"].map(
      (interpolation): Sample => ({
        op: "Resize",
        inputs: [image, undefined, scales(1, 1, 1.75, 0.6)],
        attrs: { coordinate_transformation_mode: string(mode), mode: string(interpolation) },
      }),
    ),
  ),
  ...["round_prefer_ceil", "ceil"].map(
    (mode): Sample => ({
      op: "Resize",
      inputs: [image, undefined, undefined, sizes(2, 3, 6, 3)],
      attrs: { nearest_mode: string(mode) },
    }),
  ),
  {
    op: "Resize",
    inputs: [image, undefined, scales(1, 1, 0.4, 0.6)],
    attrs: { antialias: int(1), mode: string("cubic"), exclude_outside: int(1) },
  },
  {
    op: "Resize",
    inputs: [{ shape: [1, 2, 3, 4, 2] }, undefined, scales(1, 1, 2, 1.5, 2)],
    attrs: { mode: string("linear") },
  },
  { op: "Resize", inputs: [{ shape: [3, 4] }, undefined, scales(2, 0.5)], attrs: { mode: string("linear") } },
];
