import { describe, expect, it } from "vitest";
import { resolvePreprocess } from "../data/preprocess.ts";
import { random } from "../numeric/random.ts";
import { augment, mixedTargets, mixUp, type Pictures, pixelsOf } from "./augment.ts";

const made = (preset: "imagenet" | "unit", layout: "nchw" | "nhwc") =>
  pixelsOf(resolvePreprocess({ preset, layout, size: [6, 8], channels: "rgb" }));

/** Random pictures between black and white. */
function pictures(count: number, pixels = made("imagenet", "nchw"), [height, width] = [6, 8]): Pictures {
  const next = random(count);
  const shape =
    pixels.layout === "nchw"
      ? [count, 3, height as number, width as number]
      : [count, height as number, width as number, 3];
  const plane = (height as number) * (width as number);
  const channelOf = (k: number) => (pixels.layout === "nchw" ? Math.floor(k / plane) % 3 : k % 3);
  const data = Float32Array.from({ length: count * 3 * plane }, (_, k) => {
    const [low, high] = [pixels.black[channelOf(k)] as number, pixels.white[channelOf(k)] as number];
    return low + next() * (high - low);
  });
  return { data, shape, indices: Int32Array.from({ length: count }, (_, i) => 10 + i) };
}

const copy = (given: Pictures): Pictures => ({ ...given, data: given.data.slice() });
const all = { flip: true, crop: 2, brightness: 0.3, contrast: 0.4, saturation: 0.5, cutout: 3 };

/** The same pictures with the channels last. */
function channelsLast({ data, shape, indices }: Pictures): Pictures {
  const [n = 0, c = 0, h = 0, w = 0] = shape;
  const out = new Float32Array(data.length);
  for (let i = 0; i < n; i++)
    for (let k = 0; k < c; k++)
      for (let p = 0; p < h * w; p++) out[(i * h * w + p) * c + k] = data[(i * c + k) * h * w + p] as number;
  return { data: out, shape: [n, h, w, c], indices };
}

describe("augmentation", () => {
  it("gives an example the same each time it is asked, whatever batch it stands in, and another in another epoch", () => {
    const pixels = made("imagenet", "nchw");
    const change = augment(all, pixels, 3);
    const [a, b, c] = [pictures(5), pictures(5), pictures(5)];
    const size = a.data.length / 5;
    change(a, 4);
    change({ data: b.data.subarray(2 * size, 3 * size), shape: [1, 3, 6, 8], indices: [12] }, 4);
    expect(b.data.subarray(2 * size, 3 * size)).toEqual(a.data.subarray(2 * size, 3 * size));
    change(c, 5);
    expect(c.data).not.toEqual(a.data);
  });

  it("does the same to either layout", () => {
    const first = pictures(20);
    const last = channelsLast(copy(first));
    augment(all, made("imagenet", "nchw"), 1)(first, 0);
    augment(all, made("imagenet", "nhwc"), 1)(last, 0);
    for (const [i, v] of channelsLast(first).data.entries()) expect(last.data[i]).toBeCloseTo(v, 5);
  });

  it("mirrors half of the pictures and leaves the others", () => {
    const before = pictures(200);
    const after = copy(before);
    augment({ flip: true }, made("imagenet", "nchw"), 0)(after, 0);
    const size = before.data.length / 200;
    let mirrored = 0;
    for (let i = 0; i < 200; i++) {
      const [a, b] = [before, after].map(({ data }) => data.subarray(i * size, (i + 1) * size)) as [
        Float32Array,
        Float32Array,
      ];
      const expected = a.map((_, k) => a[k - (k % 8) + 7 - (k % 8)] as number);
      if (b.every((v, k) => v === expected[k])) mirrored++;
      else expect(b).toEqual(a);
    }
    expect(mirrored).toBeGreaterThan(70);
    expect(mirrored).toBeLessThan(130);
  });

  it("comes back to the same versions after so many views", () => {
    const change = augment({ flip: true, crop: 2, views: 3 }, made("imagenet", "nchw"), 5);
    const versions = [0, 1, 2, 3, 4, 5].map((epoch) => {
      const some = pictures(20);
      change(some, epoch);
      return some.data;
    });
    for (let k = 0; k < 3; k++) expect(versions[k + 3]).toEqual(versions[k]);
    expect(versions[1]).not.toEqual(versions[0]);
    const pixels = made("imagenet", "nchw");
    expect(() => augment({ views: 0.5 }, pixels, 0)).toThrow("A number of views of 0.5");
    expect(() => augment({ views: 3, mixup: 0.2 }, pixels, 0)).toThrow("Mixup in a number of views");
  });

  it("shifts by at most the padding, in every direction, and lets black in", () => {
    const pixels = made("imagenet", "nchw");
    const change = augment({ crop: 2 }, pixels, 0);
    const seen = new Set<string>();
    for (let epoch = 0; epoch < 300; epoch++) {
      const one = pictures(1);
      const before = one.data.slice();
      change(one, epoch);
      const at = (data: Float32Array, c: number, y: number, x: number) =>
        x < 0 || y < 0 || x > 7 || y > 5
          ? Math.fround(pixels.black[c] as number)
          : (data[c * 48 + y * 8 + x] as number);
      const shifts = [-2, -1, 0, 1, 2].flatMap((dy) => [-2, -1, 0, 1, 2].map((dx) => [dx, dy] as const));
      const found = shifts.filter(([dx, dy]) =>
        one.data.every((v, k) => v === at(before, Math.floor(k / 48), Math.floor((k % 48) / 8) + dy, (k % 8) + dx)),
      );
      expect(found.length).toBe(1);
      seen.add(String(found[0]));
    }
    expect(seen.size).toBe(25);
  });

  it("colours stay between black and white, grey stays grey under saturation, and a mean grey picture under contrast", () => {
    const pixels = made("imagenet", "nchw");
    const bright = pictures(50);
    augment({ brightness: 1, contrast: 1, saturation: 1 }, pixels, 0)(bright, 0);
    for (const [k, v] of bright.data.entries()) {
      const c = Math.floor(k / 48) % 3;
      expect(v).toBeGreaterThanOrEqual((pixels.black[c] as number) - 1e-5);
      expect(v).toBeLessThanOrEqual((pixels.white[c] as number) + 1e-5);
    }
    const grey = pictures(4);
    for (const k of grey.data.keys()) {
      const c = Math.floor(k / 48) % 3;
      grey.data[k] = ((pixels.black[c] as number) + (pixels.white[c] as number)) / 2;
    }
    const after = copy(grey);
    augment({ contrast: 0.9, saturation: 0.9 }, pixels, 0)(after, 0);
    for (const [k, v] of after.data.entries()) expect(v).toBeCloseTo(grey.data[k] as number, 5);
  });

  it("brightness scales the light of a picture by its factor", () => {
    const pixels = made("unit", "nchw");
    const dark = pictures(40, pixels);
    for (const k of dark.data.keys()) dark.data[k] = (dark.data[k] as number) / 2;
    const after = copy(dark);
    augment({ brightness: 0.5 }, pixels, 0)(after, 0);
    const factors = Array.from(
      { length: 40 },
      (_, i) => (after.data[i * 144 + 5] as number) / (dark.data[i * 144 + 5] as number),
    );
    for (let i = 0; i < 40; i++)
      for (let k = 0; k < 144; k++)
        expect(after.data[i * 144 + k]).toBeCloseTo((dark.data[i * 144 + k] as number) * (factors[i] as number), 5);
    expect(Math.min(...factors)).toBeLessThan(0.7);
    expect(Math.max(...factors)).toBeGreaterThan(1.3);
  });

  it("cutout covers one square of its side, less only at the borders", () => {
    const pixels = made("imagenet", "nchw");
    const before = pictures(100);
    const after = copy(before);
    augment({ cutout: 3 }, pixels, 0)(after, 0);
    for (let i = 0; i < 100; i++) {
      const changed = [...Array(48).keys()].filter((p) => after.data[i * 144 + p] !== before.data[i * 144 + p]);
      const [xs, ys] = [changed.map((p) => p % 8), changed.map((p) => Math.floor(p / 8))];
      const area = (Math.max(...xs) - Math.min(...xs) + 1) * (Math.max(...ys) - Math.min(...ys) + 1);
      expect(changed.length).toBe(area);
      expect(area).toBeGreaterThanOrEqual(2 * 2);
      expect(area).toBeLessThanOrEqual(9);
    }
  });

  it("mixup gives targets that sum to 1 and pictures mixed in the same shares", () => {
    const before = pictures(6);
    const after = copy(before);
    const labels = [0, 1, 2, 3, 0, 0];
    const targets = mixedTargets(mixUp(after, { alpha: 0.4, seed: 0, epoch: 2 }), labels, 4);
    for (let i = 0; i < 6; i++) {
      const row = targets.subarray(i * 4, i * 4 + 4);
      expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
      if (labels[i] === labels[5 - i]) continue;
      const own = row[labels[i] as number] as number;
      for (let k = 0; k < 144; k++)
        expect(after.data[i * 144 + k]).toBeCloseTo(
          own * (before.data[i * 144 + k] as number) + (1 - own) * (before.data[(5 - i) * 144 + k] as number),
          5,
        );
    }
  });

  it("says which option cannot be, and which pictures do not fit", () => {
    const pixels = made("imagenet", "nchw");
    expect(() => augment({ crop: 1.5 }, pixels, 0)).toThrow("A crop of 1.5");
    expect(() => augment({ mixup: 2 }, pixels, 0)).toThrow("A mixup of 2");
    expect(() =>
      augment({ flip: true }, pixels, 0)({ data: new Float32Array(4), shape: [1, 4], indices: [0] }, 0),
    ).toThrow("[4]");
  });
});
