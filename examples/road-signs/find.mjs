/** Finds signs in a picture with a net that slides over it. Runs in Node and in a page alike. */
import { CLASSES, SIDE } from "./signs.mjs";

/** How far apart two neighbouring scores of the net lie, in pixels. */
const STEP = 4;

/** A picture `by` times as large, at most 1: each pixel is the mean of those it covers. Bytes [height, width, 3]. */
export function shrink({ width, height, data }, by) {
  const [w, h] = [Math.floor(width * by), Math.floor(height * by)];
  const out = new Uint8Array(w * h * 3);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const [left, top] = [Math.floor(x / by), Math.floor(y / by)];
      const [right, bottom] = [Math.min(width, Math.ceil((x + 1) / by)), Math.min(height, Math.ceil((y + 1) / by))];
      const sum = [0, 0, 0];
      for (let v = top; v < bottom; v++)
        for (let u = left; u < right; u++) for (let c = 0; c < 3; c++) sum[c] += data[3 * (v * width + u) + c];
      for (let c = 0; c < 3; c++) out[3 * (y * w + x) + c] = sum[c] / ((right - left) * (bottom - top));
    }
  return { width: w, height: h, data: out };
}

/** What the net takes: [1, 3, height, width], −1 for black and 1 for white. */
export function inputOf({ width, height, data }) {
  const out = new Float32Array(3 * width * height);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < 3; c++) out[c * width * height + i] = data[3 * i + c] / 127.5 - 1;
  return { dtype: "float32", shape: [1, 3, height, width], data: out };
}

/** The share of what two squares cover together that both cover. */
function overlap(a, b) {
  const side = (axis) =>
    Math.min(a[axis] + a.size / 2, b[axis] + b.size / 2) - Math.max(a[axis] - a.size / 2, b[axis] - b.size / 2);
  const both = Math.max(0, side("x")) * Math.max(0, side("y"));
  return both / (a.size ** 2 + b.size ** 2 - both);
}

/**
 * The signs in a picture: { name, sure (0 to 1), x, y, size } in pixels, the surest first. `run` is given a tensor [1, 3, H, W] and
 * gives the scores [1, classes, h, w]. The net knows signs of one size, so it looks at the picture in several.
 */
export async function findSigns(run, picture, { least = 0.995 } = {}) {
  const found = [];
  for (let by = 1; Math.min(picture.width, picture.height) * by >= SIDE; by *= 0.8) {
    const { data, shape } = await run(inputOf(shrink(picture, by)));
    const [, classes, rows, columns] = shape;
    for (let i = 0; i < rows * columns; i++) {
      const scores = Array.from({ length: classes }, (_, c) => data[c * rows * columns + i]);
      const best = scores.indexOf(Math.max(...scores));
      const sure = 1 / scores.reduce((sum, score) => sum + Math.exp(score - scores[best]), 0);
      if (best === 0 || sure < least) continue;
      const at = (place) => (place * STEP + SIDE / 2) / by;
      found.push({
        name: CLASSES[best],
        sure,
        x: at(i % columns),
        y: at(Math.floor(i / columns)),
        size: (0.74 * SIDE) / by,
      });
    }
  }
  // Of boxes that overlap the surest stays, if it was not alone.
  const kept = [];
  for (const box of found.sort((a, b) => b.sure - a.sure)) {
    const other = kept.find((one) => overlap(one, box) > 0.15);
    if (other === undefined) kept.push({ ...box, seen: 1 });
    else if (other.name === box.name) other.seen++;
  }
  return kept.filter(({ seen }) => seen > 1).map(({ seen: _, ...box }) => box);
}
