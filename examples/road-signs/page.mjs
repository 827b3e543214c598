import * as ort from "onnxruntime-web";
import { findSigns } from "./find.mjs";
import { drawScene } from "./signs.mjs";

const at = (id) => document.getElementById(id);
const WIDTH = 960;

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("made/signs.onnx").catch(() => {
  at("said").textContent = "There is no net yet: node examples/road-signs/make.mjs";
});

async function run({ data, shape }) {
  const { scores } = await session.run({ input: new ort.Tensor("float32", data, shape) });
  return { data: scores.data, shape: scores.dims };
}

/** A canvas that holds a picture of bytes, [height, width, 3]. */
function canvasOf({ width, height, data }) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...data.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A picture file as bytes, not larger than the roads that the net knows. */
async function pictureOf(file) {
  const bitmap = await createImageBitmap(file);
  const by = Math.min(1, 400 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.round(bitmap.width * by), Math.round(bitmap.height * by)];
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return {
    width,
    height,
    data: Uint8Array.from({ length: 3 * width * height }, (_, i) => data[4 * Math.floor(i / 3) + (i % 3)]),
  };
}

function draw(source, boxes) {
  const canvas = at("picture");
  const by = WIDTH / source.width;
  Object.assign(canvas, { width: WIDTH, height: Math.round(source.height * by) });
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.lineWidth = 3;
  context.font = "600 20px system-ui, sans-serif";
  for (const { name, x, y, size } of boxes) {
    const [left, top, side] = [(x - 0.6 * size) * by, (y - 0.6 * size) * by, 1.2 * size * by];
    context.strokeStyle = "#ffd43b";
    context.strokeRect(left, top, side, side);
    const width = context.measureText(name).width + 16;
    const [begin, above] = [Math.min(Math.max(0, left - 1.5), WIDTH - width), Math.max(0, top - 29)];
    context.fillStyle = "#ffd43b";
    context.fillRect(begin, above, width, 28);
    context.fillStyle = "#14181b";
    context.fillText(name, begin + 8, above + 21);
  }
}

/** A card for each sign: how it looks to the net, its name, how sure the net is. */
function list(source, boxes) {
  const cards = boxes.map(({ name, sure, x, y, size }) => {
    const card = Object.assign(document.createElement("li"), { className: "card" });
    const crop = Object.assign(document.createElement("canvas"), { width: 112, height: 112 });
    crop.getContext("2d").drawImage(source, x - 0.65 * size, y - 0.65 * size, 1.3 * size, 1.3 * size, 0, 0, 112, 112);
    const words = Object.assign(document.createElement("div"), { textContent: name });
    words.append(
      document.createElement("br"),
      Object.assign(document.createElement("span"), { textContent: `${(100 * sure).toFixed(1)} % sure` }),
    );
    card.append(crop, words);
    return card;
  });
  at("signs").replaceChildren(...cards);
}

async function show(picture) {
  const source = canvasOf(picture);
  draw(source, []);
  const start = performance.now();
  const boxes = await findSigns(run, picture);
  const ms = performance.now() - start;
  draw(source, boxes);
  list(source, boxes);
  const wanted = picture.signs?.length;
  const count = wanted === undefined ? `${boxes.length} found` : `${boxes.length} found, ${wanted} drawn`;
  at("said").textContent = `${count}; ${ms.toFixed(0)} ms`;
}

if (session !== undefined) {
  let seed = Number(new URL(location.href).searchParams.get("seed") ?? 7);
  at("another").disabled = false;
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    return show(drawScene(++seed));
  };
  at("file").onchange = async ({ target }) => {
    if (target.files[0] !== undefined) await show(await pictureOf(target.files[0]));
  };
  await show(drawScene(seed));
}
