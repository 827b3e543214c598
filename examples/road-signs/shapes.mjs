/**
 * What stands on a road sign, as areas of the plane: x to the right and y downwards, the sign from −1 to 1. An area says of a point
 * whether it lies inside.
 */

export const disc =
  (radius, x0 = 0, y0 = 0) =>
  (x, y) =>
    (x - x0) ** 2 + (y - y0) ** 2 <= radius ** 2;

export const box = (x0, y0, x1, y1) => (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1;

/** A polygon by its corners, in order (even-odd rule). */
export const polygon = (corners) => (x, y) => {
  let inside = false;
  for (let i = 0, k = corners.length - 1; i < corners.length; k = i++) {
    const [ax, ay] = corners[i];
    const [bx, by] = corners[k];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
};

/** `n` corners on a circle, the first at `turn` (0: to the right, a quarter: below). */
export const regular = (n, radius, turn) =>
  polygon(
    Array.from({ length: n }, (_, i) => {
      const angle = 2 * Math.PI * (turn + i / n);
      return [radius * Math.cos(angle), radius * Math.sin(angle)];
    }),
  );

/** All points within half a `width` of a line through these points. */
export const stroke = (points, width) => (x, y) => {
  for (let i = 1; i < points.length; i++) {
    const [ax, ay] = points[i - 1];
    const [dx, dy] = [points[i][0] - ax, points[i][1] - ay];
    const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
    if ((x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2 <= (width / 2) ** 2) return true;
  }
  return false;
};

export const either =
  (...areas) =>
  (x, y) =>
    areas.some((area) => area(x, y));

export const both =
  (...areas) =>
  (x, y) =>
    areas.every((area) => area(x, y));

/** Points on part of an ellipse; a turn of 0 is right, a quarter below, a half left. */
const arc = (x, y, a, b, from, to) =>
  Array.from({ length: 13 }, (_, i) => {
    const angle = 2 * Math.PI * (from + ((to - from) * i) / 12);
    return [x + a * Math.cos(angle), y + b * Math.sin(angle)];
  });

/** The lines of letters and digits in a box from −1 to 1. */
const GLYPHS = {
  0: [arc(0, 0, 0.85, 1, 0, 1)],
  1: [
    [
      [-0.5, -0.6],
      [0.1, -1],
      [0.1, 1],
    ],
  ],
  2: [[...arc(0, -0.45, 0.8, 0.55, 0.5, 1.1), [-0.8, 1], [0.85, 1]]],
  3: [[...arc(0, -0.5, 0.75, 0.5, 0.55, 1.25), ...arc(0, 0.45, 0.85, 0.55, -0.25, 0.45)]],
  5: [[[0.75, -1], [-0.6, -1], [-0.7, -0.15], ...arc(0, 0.35, 0.85, 0.65, -0.35, 0.42)]],
  6: [arc(0, 0.4, 0.8, 0.6, 0, 1), arc(0.15, 0.2, 0.95, 1.2, 0.5, 0.78)],
  8: [arc(0, -0.5, 0.7, 0.5, 0, 1), arc(0, 0.5, 0.85, 0.5, 0, 1)],
  S: [[...arc(0, -0.5, 0.75, 0.5, 0.95, 0.25), ...arc(0, 0.5, 0.8, 0.5, -0.25, 0.45)]],
  T: [
    [
      [-0.85, -1],
      [0.85, -1],
    ],
    [
      [0, -1],
      [0, 1],
    ],
  ],
  O: [arc(0, 0, 0.85, 1, 0, 1)],
  P: [[[-0.65, 1], [-0.65, -1], ...arc(0, -0.45, 0.8, 0.55, -0.25, 0.25), [-0.65, 0.1]]],
  "!": [
    [
      [0, -1],
      [0, 0.35],
    ],
    [
      [0, 0.85],
      [0, 0.95],
    ],
  ],
};

/** A word in a box around the middle, as wide and high as said. */
export const word = (letters, { width, height, line, y: middle = 0 }) => {
  const step = width / letters.length;
  return either(
    ...[...letters].flatMap((letter, i) =>
      GLYPHS[letter].map((points) =>
        stroke(
          points.map(([x, y]) => [
            (i + 0.5) * step - width / 2 + x * (step / 2 - line * 0.75),
            middle + (y * height) / 2,
          ]),
          line,
        ),
      ),
    ),
  );
};

/** A line with a head at its end. */
export const arrow = (points, line) => {
  const [[ax, ay], [bx, by]] = points.slice(-2);
  const length = Math.hypot(bx - ax, by - ay);
  const [ux, uy] = [(bx - ax) / length, (by - ay) / length];
  const head = 1.6 * line;
  const corner = (side) => [bx - uy * head * side, by + ux * head * side];
  return either(stroke(points, line), polygon([corner(1), corner(-1), [bx + ux * head * 1.3, by + uy * head * 1.3]]));
};
