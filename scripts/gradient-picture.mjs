/** Draws a small graph and what `differentiate` makes of it: docs/pictures/differentiated.svg. */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { edit, int } from "../dist/ir/index.js";
import { float32s } from "../dist/ir/tensor.js";
import { differentiate } from "../dist/train/index.js";

/** mean (tanh(x·w) − t)² of two examples. */
function model() {
  const input = (name, shape) => ({ name, type: { kind: "tensor", dtype: "float32", shape } });
  const graph = {
    name: "small",
    inputs: [input("x", [2, 3]), input("t", [2, 1])],
    outputs: [],
    weights: new Map(),
    nodes: [],
    valueInfo: new Map(),
  };
  const e = edit(graph);
  const w = e.weight("w", float32s([3, 1], [0.1, 0.2, 0.3]));
  const node = (op, inputs, output, attrs = {}) => e.add({ op, inputs, outputs: [output], name: output, attrs });
  node("MatMul", ["x", w], "a");
  node("Tanh", ["a"], "y");
  node("Sub", ["y", "t"], "d");
  node("Mul", ["d", "d"], "d²");
  node("ReduceMean", ["d²"], "loss", { keepdims: int(0) });
  e.setOutputs([{ name: "loss" }]);
  return { graph: e.done(), opsets: new Map([["", 18]]), irVersion: 8, functions: [] };
}

const [WIDE, HIGH, ROW, COLUMN] = [104, 30, 62, 140];

/**
 * Nodes in columns: the forward ones from left to right, and under each the backward ones of its rule. What sums up the
 * gradients of a value stands under the node that wrote it.
 */
function placed(nodes, forward) {
  const columns = forward.map(() => 0);
  const column = new Map();
  const columnOf = (node) => {
    const own = forward.findIndex(({ name }) => name === node.name.replace(/^grad\//, "").replace(/\/.*$/, ""));
    if (own >= 0) return own;
    return (
      Math.min(...node.inputs.map((name) => column.get(nodes.find(({ outputs }) => outputs.includes(name))) ?? 1)) - 1
    );
  };
  return new Map(
    nodes.map((node) => {
      const backward = !forward.some(({ name }) => name === node.name);
      const at = columnOf(node);
      column.set(node, at);
      return [node, { x: 30 + at * COLUMN, y: backward ? 170 + columns[at]++ * ROW : 60, backward }];
    }),
  );
}

function picture(nodes, forward, title, shift) {
  const places = placed(nodes, forward);
  const writer = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
  const arrows = nodes.flatMap((node) =>
    [...new Set(node.inputs)].flatMap((name) => {
      const from = places.get(writer.get(name));
      const to = places.get(node);
      if (from === undefined) return [];
      const same = from.x === to.x;
      const [x1, y1] = same
        ? [from.x + WIDE / 2, from.y + (to.y > from.y ? HIGH : 0)]
        : [from.x + (to.x > from.x ? WIDE : 0), from.y + HIGH / 2];
      const [x2, y2] = same
        ? [to.x + WIDE / 2, to.y + (to.y > from.y ? 0 : HIGH)]
        : [to.x + (to.x > from.x ? 0 : WIDE), to.y + HIGH / 2];
      const bend = same ? 0 : (x2 - x1) / 2;
      const path = `M${x1},${y1} C${x1 + bend},${y1 + (same ? (y2 - y1) / 2 : 0)} ${x2 - bend},${y2 - (same ? (y2 - y1) / 2 : 0)} ${x2},${y2}`;
      return [
        `<path class="${to.backward ? "back" : "on"}" d="${path}" marker-end="url(#${to.backward ? "b" : "f"})"/>`,
      ];
    }),
  );
  const boxes = [...places].map(
    ([node, { x, y, backward }]) =>
      `<g class="${backward ? "back" : "on"}"><rect x="${x}" y="${y}" width="${WIDE}" height="${HIGH}" rx="6"/><text x="${x + WIDE / 2}" y="${y + 20}">${node.op}</text></g>`,
  );
  const height = Math.max(...[...places.values()].map(({ y }) => y)) + HIGH;
  return {
    svg: `<g transform="translate(0,${shift})"><text class="title" x="30" y="34">${title}</text>${arrows.join("")}${boxes.join("")}</g>`,
    height,
  };
}

const before = model();
const { model: after } = differentiate(before, { loss: "loss", wrt: ["w"] });
const inside = picture(before.graph.nodes, before.graph.nodes, "before: loss = mean (tanh(x·w) − t)²", 0);
const whole = picture(
  after.graph.nodes,
  before.graph.nodes,
  "after: the same, and what the loss gains by w",
  inside.height + 20,
);
const [width, height] = [30 + 5 * COLUMN, inside.height + whole.height + 50];
const arrow = (id, kind) =>
  `<marker id="${id}" class="${kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker>`;
const style = `text{font:13px system-ui,sans-serif;text-anchor:middle;fill:#1d2a3a}.title{text-anchor:start;font-weight:600}rect{stroke-width:1.5}
path{fill:none;stroke-width:1.4}.on rect{fill:#e6f0fb;stroke:#2f6db3}.on,path.on{stroke:#2f6db3}.back rect{fill:#fdeee2;stroke:#c4641a}path.back{stroke:#c4641a}
marker.on path{fill:#2f6db3;stroke:none}marker.back path{fill:#c4641a;stroke:none}g text{stroke:none}`;
mkdirSync(fileURLToPath(new URL("../docs/pictures/", import.meta.url)), { recursive: true });
writeFileSync(
  fileURLToPath(new URL("../docs/pictures/differentiated.svg", import.meta.url)),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="A graph of five nodes, and the same with its backward pass"><style>${style}</style><defs>${arrow("f", "on")}${arrow("b", "back")}</defs><rect width="${width}" height="${height}" fill="#fff" stroke="none"/>${inside.svg}${whole.svg}</svg>\n`,
);
