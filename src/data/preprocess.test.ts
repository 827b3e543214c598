import { describe, expect, it } from "vitest";
import type { RawImage } from "../files/image.ts";
import {
  candidatePreprocesses,
  imageInput,
  type PreprocessOptions,
  preprocess,
  resolvePreprocess,
} from "./preprocess.ts";
import { readPreprocessorConfig } from "./preprocessor-config.ts";

const flat = (r: number, g: number, b: number, width = 2, height = 2): RawImage => ({
  width,
  height,
  channels: 3,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => [r, g, b][i % 3] as number),
});
/** What the upper left pixel of a 2×2 result became, channel by channel. */
const first = (image: RawImage, options: PreprocessOptions) => {
  const { data } = preprocess(image, resolvePreprocess({ size: 2, ...options }));
  return Array.from({ length: data.length / 4 }, (_, c) => data[c * 4] as number);
};

describe("a model's input", () => {
  it.each([
    [["N", 3, 224, 192], { layout: "nchw", channels: "rgb", size: [224, 192] }],
    [[1, 32, 32, 3], { layout: "nhwc", channels: "rgb", size: [32, 32] }],
    [["N", 1, 28, 28], { layout: "nchw", channels: "gray", size: [28, 28] }],
    [["N", 3, "H", "W"], { layout: "nchw", channels: "rgb" }],
  ] as const)("of shape %j says which pictures it takes", (shape, expected) => {
    expect(imageInput(shape)).toEqual(expected);
  });

  it("of another rank or of other channels takes none", () => {
    expect(imageInput([1, 128])).toBeUndefined();
    expect(imageInput([1, 16, 8, 8])).toBeUndefined();
    expect(candidatePreprocesses([1, 128])).toEqual([]);
  });

  it("without a size needs one from the user", () => {
    expect(() => resolvePreprocess({}, ["N", 3, "H", "W"])).toThrow("size: 224");
    expect(resolvePreprocess({ size: 224 }, ["N", 3, "H", "W"]).size).toEqual([224, 224]);
  });
});

describe("pixels", () => {
  const image = flat(255, 51, 0);
  it("are scaled as the preset says", () => {
    expect(first(image, { preset: "raw" })).toEqual([255, 51, 0]);
    expect(first(image, { preset: "unit" })).toEqual([1, Math.fround(0.2), 0]);
    expect(first(image, { preset: "tf" })).toEqual([1, Math.fround(0.4 - 1), -1]);
    const [r, g, b] = first(image, { preset: "imagenet" });
    expect(r).toBeCloseTo((1 - 0.485) / 0.229, 5);
    expect(g).toBeCloseTo((0.2 - 0.456) / 0.224, 5);
    expect(b).toBeCloseTo((0 - 0.406) / 0.225, 5);
  });

  it("stand in the order the model takes them, mean and deviation with them", () => {
    expect(first(image, { preset: "raw", channels: "bgr" })).toEqual([0, 51, 255]);
    expect(first(image, { preset: "raw", channels: "bgr", mean: [1, 2, 3] })).toEqual([-1, 49, 252]);
    expect(first(image, { preset: "imagenet", channels: "bgr" })[2]).toBeCloseTo((1 - 0.485) / 0.229, 5);
  });

  it("of grey models are the brightness, as Pillow's convert(L) has it", () => {
    expect(first(image, { preset: "raw", channels: "gray" })).toEqual([106]);
    expect(first({ ...flat(77, 77, 77) }, { preset: "raw", channels: "gray" })).toEqual([77]);
  });

  it("of a grey picture are repeated for a colour model", () => {
    const grey: RawImage = { width: 2, height: 2, channels: 1, data: Uint8Array.of(9, 9, 9, 9) };
    expect(first(grey, { preset: "raw" })).toEqual([9, 9, 9]);
  });

  it("are interleaved for NHWC", () => {
    const out = preprocess(image, resolvePreprocess({ size: 2, preset: "raw", layout: "nhwc" }));
    expect(out.shape).toEqual([2, 2, 3]);
    expect([...(out.data as Float32Array)].slice(0, 6)).toEqual([255, 51, 0, 255, 51, 0]);
  });
});

describe("the frame", () => {
  /** A picture whose red is the column and whose green is the row. */
  const ruler = (width: number, height: number): RawImage => {
    const data = new Uint8Array(width * height * 3);
    for (let i = 0; i < width * height; i++) data.set([i % width, Math.floor(i / width), 0], i * 3);
    return { width, height, channels: 3, data };
  };
  const corner = (image: RawImage, options: PreprocessOptions) => {
    const { data, shape } = preprocess(image, resolvePreprocess({ preset: "raw", layout: "nhwc", ...options }));
    const end = (data as Float32Array).length;
    return [data[0], data[1], data[end - 3], data[end - 2], ...shape];
  };

  it("is the middle of the picture, rounded to even as torchvision does", () => {
    expect(corner(ruler(10, 4), { size: 4 })).toEqual([3, 0, 6, 3, 4, 4, 3]);
    expect(corner(ruler(9, 4), { size: 4 })).toEqual([2, 0, 5, 3, 4, 4, 3]);
    expect(corner(ruler(7, 4), { size: 4 })).toEqual([2, 0, 5, 3, 4, 4, 3]);
  });

  it("is a part of it when cropped", () => {
    expect(corner(ruler(16, 16), { size: 8, crop: 0.5 })).toEqual([4, 4, 11, 11, 8, 8, 3]);
  });

  it("is all of it, stretched, when exact", () => {
    const [left, , right] = corner(ruler(100, 10), { size: [10, 10], resize: "exact" });
    expect(left).toBeLessThan(6);
    expect(right).toBeGreaterThan(93);
  });

  it("is cropped to 0.875 for pictures of 128 pixels and more, unless told otherwise", () => {
    expect(resolvePreprocess({ size: 224 }).crop).toBe(0.875);
    expect(resolvePreprocess({ size: 32 }).crop).toBe(1);
    expect(resolvePreprocess({ size: 224, crop: 1 }).crop).toBe(1);
  });

  it("of a very long picture costs no more memory than the result", () => {
    const out = preprocess(
      { width: 20000, height: 1, channels: 1, data: new Uint8Array(20000) },
      resolvePreprocess({ size: 224 }),
    );
    expect(out.shape).toEqual([3, 224, 224]);
  });
});

describe("wrong options", () => {
  it.each([
    [{ size: 0 }, "size of 0×0"],
    [{ size: 8, crop: 2 }, "crop of 2"],
    [{ size: 8, mean: [1, 2] }, "mean has 2 numbers for 3 channels"],
    [{ size: 8, std: 0 }, "no std may be 0"],
    [{ size: 8, preset: "vgg" as "raw" }, "There is no preset"],
  ] as const)("%j are refused", (options, message) => {
    expect(() => resolvePreprocess(options)).toThrow(message);
  });
});

describe("preprocessor_config.json", () => {
  const read = (json: object) => readPreprocessorConfig(JSON.stringify(json));
  it("of ViT stretches to its size", () => {
    const vit = {
      do_resize: true,
      size: { height: 224, width: 224 },
      resample: 2,
      rescale_factor: 1 / 255,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
    };
    expect(read(vit)).toMatchObject({
      size: [224, 224],
      crop: 1,
      resize: "exact",
      interpolation: "bilinear",
      mean: [0.5, 0.5, 0.5],
    });
  });

  it("of MobileNet resizes the shorter side and crops", () => {
    const options = read({
      size: { shortest_edge: 256 },
      crop_size: { height: 224, width: 224 },
      do_center_crop: true,
      resample: 2,
    });
    expect(options).toMatchObject({ size: [224, 224], crop: 0.875, resize: "shortest" });
  });

  it("of ConvNext crops by its percentage below 384", () => {
    const convNext = {
      image_processor_type: "ConvNextImageProcessor",
      size: { shortest_edge: 224 },
      crop_pct: 0.875,
      resample: 3,
    };
    expect(read(convNext)).toMatchObject({ size: [224, 224], crop: 0.875, interpolation: "bicubic" });
    expect(read({ ...convNext, size: { shortest_edge: 384 } })).toMatchObject({ crop: 1, resize: "exact" });
  });

  it("may leave pixels as they are", () => {
    expect(read({ size: 32, do_rescale: false, do_normalize: false })).toMatchObject({ scale: 1, mean: [0], std: [1] });
  });

  it("that is damaged is an error with its name", () => {
    expect(() => readPreprocessorConfig("{", "p.json")).toThrow("p.json: It is not JSON.");
  });
});
