/**
 * Pictures of roads and road signs, drawn by this file and nothing else: there is no photograph behind them. The signs are the
 * European ones, simplified; what a camera and the weather do to them is drawn as well.
 */
import { arrow, both, box, disc, either, regular, stroke, word } from "./shapes.mjs";

const [RED, BLUE, YELLOW, WHITE, BLACK] = [
  [190, 30, 38],
  [22, 88, 170],
  [246, 188, 32],
  [238, 238, 234],
  [28, 28, 30],
];

const triangle = (size, down = false) => regular(3, size, down ? 0.25 : -0.25);
const limit = (digits) => [
  [disc(1), RED],
  [disc(0.76), WHITE],
  [
    word(digits, { width: digits.length > 2 ? 1.36 : 1.24, height: 0.82, line: digits.length > 2 ? 0.14 : 0.16 }),
    BLACK,
  ],
];
const danger = (what) => [
  [triangle(1.12), RED],
  [triangle(0.72), WHITE],
  [what, BLACK],
];
const order = (way) => [
  [disc(1), WHITE],
  [disc(0.94), BLUE],
  [arrow(way, 0.24), WHITE],
];

/** Each sign's areas and their colours, from the lowest to the top. */
const DRAWINGS = {
  stop: [
    [regular(8, 1.06, 1 / 16), WHITE],
    [regular(8, 0.97, 1 / 16), RED],
    [word("STOP", { width: 1.56, height: 0.6, line: 0.14 }), WHITE],
  ],
  yield: [
    [triangle(1.12, true), RED],
    [triangle(0.68, true), WHITE],
  ],
  "priority road": [
    [regular(4, 1.05, 0), WHITE],
    [regular(4, 0.8, 0), YELLOW],
  ],
  "no entry": [
    [disc(1), RED],
    [box(-0.7, -0.2, 0.7, 0.2), WHITE],
  ],
  "no vehicles": [
    [disc(1), RED],
    [disc(0.76), WHITE],
  ],
  "limit 30": limit("30"),
  "limit 50": limit("50"),
  "limit 60": limit("60"),
  "limit 80": limit("80"),
  "limit 100": limit("100"),
  "limit 120": limit("120"),
  "end of limits": [
    [disc(1), BLACK],
    [disc(0.93), WHITE],
    [
      both(
        disc(0.93),
        either(
          ...[-0.3, -0.1, 0.1, 0.3].map((d) =>
            stroke(
              [
                [-1 + d, 1 + d],
                [1 + d, -1 + d],
              ],
              0.1,
            ),
          ),
        ),
      ),
      BLACK,
    ],
  ],
  "straight on": order([
    [0, 0.62],
    [0, -0.3],
  ]),
  "turn left": order([
    [0.6, 0],
    [-0.3, 0],
  ]),
  "turn right": order([
    [-0.6, 0],
    [0.3, 0],
  ]),
  "pass on the right": order([
    [-0.45, -0.45],
    [0.22, 0.22],
  ]),
  danger: danger(word("!", { width: 0.4, height: 0.66, line: 0.17, y: 0.04 })),
  "bend to the left": danger(
    arrow(
      [
        [0.14, 0.42],
        [0.14, 0.1],
        [-0.1, -0.16],
      ],
      0.13,
    ),
  ),
  "bend to the right": danger(
    arrow(
      [
        [-0.14, 0.42],
        [-0.14, 0.1],
        [0.1, -0.16],
      ],
      0.13,
    ),
  ),
};

/** The classes: no sign, and the signs. */
export const CLASSES = ["no sign", ...Object.keys(DRAWINGS)];

/** The side of the picture that is classified. */
export const SIDE = 32;

/** Random numbers from 0 to 1 that depend on the seed alone. */
export function random(seed) {
  let state = (seed * 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const between = (next, low, high) => low + (high - low) * next();
const mix = (a, b, t) => a.map((v, c) => v + (b[c] - v) * t);

const TEXTURE = 96;
const textures = new Map();

/** A sign drawn flat and large: red, green, blue and cover, from −1.2 to 1.2. */
function textureOf(name) {
  if (!textures.has(name)) {
    const data = new Float32Array(TEXTURE * TEXTURE * 4);
    const layers = DRAWINGS[name].toReversed();
    for (let i = 0; i < TEXTURE * TEXTURE; i++)
      for (let s = 0; s < 9; s++) {
        const x = ((((i % TEXTURE) + (s % 3) / 3 + 1 / 6) / TEXTURE) * 2 - 1) * 1.2;
        const y = (((Math.floor(i / TEXTURE) + Math.floor(s / 3) / 3 + 1 / 6) / TEXTURE) * 2 - 1) * 1.2;
        const top = layers.find(([area]) => area(x, y));
        if (top === undefined) continue;
        for (let c = 0; c < 3; c++) data[4 * i + c] += top[1][c] / 9;
        data[4 * i + 3] += 1 / 9;
      }
    textures.set(name, data);
  }
  return textures.get(name);
}

/** Smooth noise from 0 to 1 over the plane. */
function noiseOf(seed) {
  const corner = (x, y) => {
    let h = Math.imul(x, 374761393) ^ Math.imul(y, 668265263) ^ Math.imul(seed, 1274126177);
    h = Math.imul(h ^ (h >>> 13), 1103515245);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
  };
  return (x, y) => {
    const i = Math.floor(x);
    const k = Math.floor(y);
    const s = (x - i) ** 2 * (3 - 2 * (x - i));
    const t = (y - k) ** 2 * (3 - 2 * (y - k));
    const top = corner(i, k) * (1 - s) + corner(i + 1, k) * s;
    return top * (1 - t) + (corner(i, k + 1) * (1 - s) + corner(i + 1, k + 1) * s) * t;
  };
}

/** A road with what stands beside it, as colours over the plane: (0, 0) left above, height 1. */
function world(next) {
  const noise = noiseOf(Math.floor(next() * 2 ** 31));
  const horizon = between(next, 0.35, 0.6);
  const sky =
    next() < 0.5
      ? [
          [120, 165, 220],
          [205, 220, 235],
        ]
      : [
          [150, 155, 165],
          [205, 208, 210],
        ];
  const grass = mix([70, 105, 45], [140, 130, 85], next());
  const asphalt = mix([70, 72, 76], [120, 118, 114], next());
  const middle = between(next, 0.4, 1.1);
  const houses = Array.from({ length: Math.floor(between(next, 0, 4)) }, () => {
    const x = between(next, -0.1, 1.5);
    const colour = [between(next, 90, 230), between(next, 80, 200), between(next, 70, 190)];
    return {
      x,
      width: between(next, 0.12, 0.35),
      top: horizon - between(next, 0.08, 0.3),
      colour,
      panes: between(next, 14, 30),
    };
  });
  const trees = Array.from({ length: Math.floor(between(next, 2, 9)) }, () => {
    const size = between(next, 0.05, 0.2);
    const colour = mix([35, 70, 30], [110, 125, 50], next());
    return { x: between(next, -0.1, 1.6), y: horizon - size * between(next, 0.2, 1), size, colour };
  });
  const cars = Array.from({ length: Math.floor(between(next, 0, 3)) }, () => {
    const colour = [between(next, 20, 230), between(next, 20, 200), between(next, 20, 210)];
    return {
      x: middle + between(next, -0.3, 0.3),
      y: horizon + between(next, 0.05, 0.25),
      size: between(next, 0.04, 0.1),
      colour,
    };
  });
  return (x, y) => {
    const rough = 0.8 + 0.28 * noise(x * 60, y * 60) + 0.12 * noise(x * 11, y * 11);
    const lit = (colour) => colour.map((v) => v * rough);
    for (const { x: at, y: low, size, colour } of cars)
      if (Math.abs(x - at) < size && Math.abs(y - low) < size * 0.6)
        return y < low - 0.1 * size && Math.abs(x - at) < 0.8 * size ? [60, 70, 80] : colour;
    for (const { x: at, y: high, size, colour } of trees) {
      const away = Math.hypot(x - at, y - high) / size;
      if (away < 0.7 + 0.5 * noise(x * 25 + 7, y * 25))
        return lit(mix(colour, [20, 30, 15], 0.6 * noise(x * 45, y * 45)));
      if (Math.abs(x - at) < 0.08 * size && y > high && y < horizon + 0.4 * size) return lit([70, 55, 40]);
    }
    for (const { x: at, width, top, colour, panes } of houses)
      if (Math.abs(x - at) < width / 2 && y > top && y < horizon + 0.03) {
        const pane = ((x - at + 9) * panes) % 1 < 0.45 && ((y - top) * panes) % 1 < 0.5 && y > top + 0.02;
        return pane ? [60, 75, 90] : lit(colour);
      }
    if (y < horizon - 0.05 * noise(x * 4, 3))
      return mix(mix(sky[0], sky[1], y / horizon), [250, 250, 250], 0.7 * Math.max(0, noise(x * 5, y * 9) - 0.5));
    const far = (y - horizon) / (1 - horizon);
    const off = (x - middle - 0.1 * far) / (0.05 + 0.7 * Math.max(0, far));
    if (y < horizon || Math.abs(off) > 1) return lit(y < horizon ? mix(grass, [60, 80, 70], 0.6) : grass);
    const line = Math.abs(off) > 0.92 || (Math.abs(off) < 0.04 && (1 / (far + 0.12)) % 1 < 0.5);
    return lit(line ? [225, 225, 220] : asphalt);
  };
}

/** The window of a world that a picture shows, as numbers from 0 to 255, [height, width, 3]. */
function view(at, { width, height, left, top, scale }) {
  const data = new Float32Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += 3) data.set(at(left + (x + 0.5) * scale, top + (y + 0.5) * scale), to);
  return { width, height, data };
}

/**
 * How a sign is turned in space, as the inverse of its projection: a point (u, v) of the picture, in half widths from the sign's middle,
 * shows the sign at (u · d − v · b, v · a − u · c) / (1 − u · g − v · h).
 */
function turned(next) {
  const [yaw, pitch, roll] = [between(next, -0.75, 0.75), between(next, -0.3, 0.3), between(next, -0.16, 0.16)];
  const [cy, sy, cp, sp, cr, sr] = [yaw, pitch, roll].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
  const away = 3.5;
  const [a, b, c, d] = [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, cp * sr, cp * cr];
  const [e, f] = [(-sy * cr + cy * sp * sr) / away, (sy * sr + cy * sp * cr) / away];
  const det = a * d - b * c;
  return { a: a / det, b: b / det, c: c / det, d: d / det, g: (e * d - f * c) / det, h: (f * a - e * b) / det };
}

/** Paints a sign (and the post it stands on) into a picture; `size` is its width in pixels. */
function paint(next, { width, height, data }, name, place) {
  const texture = textureOf(name);
  const { a, b, c: skew, d, g, h } = turned(next);
  const { x: x0, y: y0, size } = place;
  const light = between(next, 0.5, 1.1);
  const faded = between(next, 0, 0.25);
  const post = next() < 0.8 ? [130 * light, 130 * light, 128 * light] : undefined;
  const dirt = noiseOf(Math.floor(next() * 2 ** 31));
  const dirty = between(next, 0, 0.35);
  const samples = size < 48 ? 3 : 2;
  const sum = new Float64Array(4);
  const rows = [Math.max(0, Math.floor(y0 - size)), post ? height : Math.min(height, Math.ceil(y0 + size))];
  const columns = [Math.max(0, Math.floor(x0 - size)), Math.min(width, Math.ceil(x0 + size))];
  for (let y = rows[0]; y < rows[1]; y++)
    for (let x = columns[0]; x < columns[1]; x++) {
      const at = 3 * (y * width + x);
      if (post && y > y0 && Math.abs(x + 0.5 - x0) < 0.045 * size + 0.3) data.set(post, at);
      if (y > y0 + size) continue;
      sum.fill(0);
      for (let s = 0; s < samples ** 2; s++) {
        const u = (2 * (x + ((s % samples) + 0.5) / samples - x0)) / size;
        const v = (2 * (y + (Math.floor(s / samples) + 0.5) / samples - y0)) / size;
        const w = 2.4 * (1 - u * g - v * h);
        const i = Math.floor(((u * d - v * b) / w + 0.5) * TEXTURE);
        const k = Math.floor(((v * a - u * skew) / w + 0.5) * TEXTURE);
        if (!(i >= 0 && k >= 0 && i < TEXTURE && k < TEXTURE)) continue;
        for (let c = 0; c < 4; c++) sum[c] += texture[4 * (k * TEXTURE + i) + c] / samples ** 2;
      }
      const shade = light * (1 - dirty * dirt((9 * (x - x0)) / size, (9 * (y - y0)) / size));
      for (let c = 0; c < 3; c++)
        data[at + c] = data[at + c] * (1 - sum[3]) + shade * (sum[c] * (1 - faded) + 170 * faded * sum[3]);
    }
}

/** Leaves or a pole in front of a part of a sign. */
function cover(next, { width, height, data }, { x, y, size }) {
  const colour = next() < 0.6 ? mix([30, 60, 25], [90, 110, 50], next()) : [70, 68, 66];
  const noise = noiseOf(Math.floor(next() * 2 ** 31));
  const [angle, off] = [between(next, 0, 2 * Math.PI), between(next, 0.3, 0.55) * size];
  const [cx, cy, radius] = [x + off * Math.cos(angle), y + off * Math.sin(angle), between(next, 0.15, 0.33) * size];
  for (let k = Math.max(0, Math.floor(cy - radius)); k < Math.min(height, cy + radius); k++)
    for (let i = Math.max(0, Math.floor(cx - radius)); i < Math.min(width, cx + radius); i++) {
      const away = Math.hypot(i + 0.5 - cx, k + 0.5 - cy) / radius;
      if (away < 0.6 + 0.6 * noise((6 * i) / size, (6 * k) / size))
        data.set(
          colour.map((v) => v * (0.7 + 0.6 * noise(i, k))),
          3 * (k * width + i),
        );
    }
}

/** What a camera makes of it: blur, light of another colour, a shadow, noise; bytes. */
function camera(next, { width, height, data }, blurs = 1) {
  let from = data;
  const blur = blurs * between(next, 0, 1.5) * next();
  const angle = between(next, 0, Math.PI);
  const moved = blurs * (next() < 0.3 ? between(next, 0, 4) : 0);
  const taps = Array.from({ length: 7 }, (_, i) => {
    const t = (i - 3) / 3;
    return [Math.round(0.5 * moved * t * Math.cos(angle)), Math.round(0.5 * moved * t * Math.sin(angle))];
  });
  const around = [-1, 0, 1].flatMap((dy) =>
    [-1, 0, 1].map((dx) => [dx, dy, Math.exp(-(dx * dx + dy * dy) / (2 * blur * blur + 1e-3))]),
  );
  const filters = [
    ...(moved > 1 ? [taps.map(([dx, dy]) => [dx, dy, 1])] : []),
    ...(blur > 0.3 ? [around] : []),
    ...(blur > 0.9 ? [around] : []),
  ];
  for (const filter of filters) from = filtered(from, width, height, filter);
  const [gain, offset, noise] = [between(next, 0.45, 1.2), between(next, 0, 30), between(next, 0, 14) * next()];
  const tint = [between(next, 0.9, 1.1), 1, between(next, 0.88, 1.12)];
  const shadow = next() < 0.3 ? [between(next, -1, 1), between(next, -1, 1), between(next, 0.3, 0.7)] : undefined;
  const out = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [(i % width) / width - 0.5, Math.floor(i / width) / height - 0.5];
    const dark = shadow && x * shadow[0] + y * shadow[1] > 0 ? shadow[2] : 1;
    for (let c = 0; c < 3; c++)
      out[3 * i + c] = Math.min(
        255,
        Math.max(0, from[3 * i + c] * gain * dark * tint[c] + offset + noise * (next() + next() - 1) * 2.4),
      );
  }
  return { width, height, data: out };
}

/** Each pixel the weighted mean of those at these distances: [right, down, weight]. */
function filtered(data, width, height, filter) {
  const out = new Float32Array(data.length);
  const total = filter.reduce((sum, [, , weight]) => sum + weight, 0);
  for (const [dx, dy, weight] of filter)
    for (let y = 0, to = 0; y < height; y++) {
      const row = Math.min(height - 1, Math.max(0, y + dy)) * width;
      for (let x = 0; x < width; x++) {
        const from = 3 * (row + Math.min(width - 1, Math.max(0, x + dx)));
        for (let c = 0; c < 3; c++, to++) out[to] += (data[from + c] * weight) / total;
      }
    }
  return out;
}

/**
 * One picture to learn from, SIDE by SIDE pixels, bytes [height, width, 3]: a sign in the middle, or for class 0 none, one at the
 * border, one too small or too large.
 */
export function drawExample(label, seed) {
  const next = random(seed);
  const scale = 1 / between(next, 90, 400);
  const span = SIDE * scale;
  const window = {
    width: SIDE,
    height: SIDE,
    scale,
    left: between(next, 0, 1.4 - span),
    top: between(next, 0, 1 - span),
  };
  const picture = view(world(next), window);
  const middle = () => SIDE / 2 + between(next, -2.5, 2.5);
  const any = () => CLASSES[1 + Math.floor(next() * (CLASSES.length - 1))];
  if (label > 0) {
    const place = { x: middle(), y: middle(), size: between(next, 19, 28) };
    paint(next, picture, CLASSES[label], place);
    if (next() < 0.2) cover(next, picture, place);
  } else if (next() < 0.5) {
    const [angle, size] = [between(next, 0, 2 * Math.PI), between(next, 17, 32)];
    const away = size * between(next, 0.5, 0.9);
    paint(next, picture, any(), { x: 16 + away * Math.cos(angle), y: 16 + away * Math.sin(angle), size });
  } else if (next() < 0.3)
    paint(next, picture, any(), {
      x: middle(),
      y: middle(),
      size: next() < 0.5 ? between(next, 6, 12) : between(next, 50, 90),
    });
  return camera(next, picture).data;
}

/** Pictures of all classes in turn, "no sign" four times as often: { x: bytes [count, SIDE, SIDE, 3], y }. */
export function drawExamples(count, seed) {
  const size = SIDE * SIDE * 3;
  const [x, y] = [new Uint8Array(count * size), new Uint8Array(count)];
  for (let i = 0; i < count; i++) {
    y[i] = Math.max(0, (i % (CLASSES.length + 3)) - 3);
    x.set(drawExample(y[i], seed * 1_000_003 + i), i * size);
  }
  return { x: { dtype: "uint8", shape: [count, SIDE, SIDE, 3], data: x }, y };
}

/** A whole picture of a road with some signs, and where they stand: their middles and widths in pixels. */
export function drawScene(seed, { width = 320, height = 208, most = 4 } = {}) {
  const next = random(seed);
  const picture = view(world(next), { width, height, left: 0, top: 0, scale: 1 / height });
  const signs = [];
  const wanted = 1 + Math.floor(next() * most);
  for (let i = 0; i < 40 && signs.length < wanted; i++) {
    const size = between(next, 20, 60);
    const place = { x: between(next, size, width - size), y: between(next, size, height - size * 0.9), size };
    if (signs.some((s) => Math.hypot(s.x - place.x, s.y - place.y) < s.size + size)) continue;
    const name = CLASSES[1 + Math.floor(next() * (CLASSES.length - 1))];
    paint(next, picture, name, place);
    if (next() < 0.15) cover(next, picture, place);
    signs.push({ name, ...place });
  }
  return { ...camera(next, picture, 0.7), signs };
}
