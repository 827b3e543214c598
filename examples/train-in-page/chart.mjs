const [WIDTH, HEIGHT, LEFT, BOTTOM] = [760, 170, 40, 20];
const LINES = 4;

/**
 * The inside of an SVG: a curve over updates and points on it. `most` is the top of the scale, `steps` its right end; epochs
 * end at the places of `ends`.
 */
export function chart({ curve, points = [], steps, most, ends, label, name }) {
  const x = (step) => LEFT + ((WIDTH - LEFT) * step) / steps;
  const y = (value) => 8 + (HEIGHT - BOTTOM - 8) * (1 - Math.min(value, most) / most);
  const place = ([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
  const rows = Array.from({ length: LINES + 1 }, (_, i) => (most * i) / LINES);
  return [
    ...rows.map(
      (value) => `<path class="grid" d="M${LEFT} ${y(value)}H${WIDTH}"/>
        <text x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${label(value)}</text>`,
    ),
    ...ends.map(
      (step, i) => `<path class="grid" stroke-dasharray="2 4" d="M${x(step)} 8V${HEIGHT - BOTTOM}"/>
        <text x="${x(step)}" y="${HEIGHT - 2}" text-anchor="end">epoch ${i + 1}</text>`,
    ),
    curve.length > 1 ? `<path class="curve ${name}" d="M${curve.map(place).join("L")}"/>` : "",
    ...points.map((at) => `<circle class="test" r="4" cx="${x(at[0])}" cy="${y(at[1])}"/>`),
  ].join("");
}

export const VIEW_BOX = `0 0 ${WIDTH} ${HEIGHT}`;
