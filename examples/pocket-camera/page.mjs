import * as ort from "onnxruntime-web";
import { inputOf, LEARNED, ranked } from "./look.mjs";

const at = (id) => document.getElementById(id);
const said = (text) => {
  at("said").textContent = text;
};

ort.env.wasm.numThreads = 1;
const net = await Promise.all([
  fetch("made/classes.json").then((response) => response.json()),
  ort.InferenceSession.create("made/camera.onnx"),
]).catch(() => said("There is no net yet: node examples/pocket-camera/make.mjs"));

/** The middle square of a picture or a video, in the size of the pictures that the net learned from; shown as it is. */
function squareOf(source, wide, high) {
  const side = Math.min(wide, high);
  const corner = [(wide - side) / 2, (high - side) / 2];
  const shown = at("picture");
  shown.getContext("2d").drawImage(source, ...corner, side, side, 0, 0, shown.width, shown.height);
  const canvas = (size) => Object.assign(document.createElement("canvas"), { width: size, height: size });
  let from = canvas(Math.max(LEARNED, Math.min(side, shown.width)));
  from.getContext("2d").drawImage(source, ...corner, side, side, 0, 0, from.width, from.width);
  // Halved until it is small: one step from a large picture to a small one would skip pixels.
  while (from.width > LEARNED) {
    const smaller = canvas(Math.max(LEARNED, Math.round(from.width / 2)));
    smaller.getContext("2d").drawImage(from, 0, 0, smaller.width, smaller.width);
    from = smaller;
  }
  const { data } = from.getContext("2d").getImageData(0, 0, LEARNED, LEARNED);
  return { width: LEARNED, height: LEARNED, data: new Uint8Array(data.filter((_, i) => i % 4 < 3)) };
}

function list(answers) {
  const rows = answers.slice(0, 5).map(({ name, share }) => {
    const row = document.createElement("li");
    const words = document.createElement("div");
    words.append(name, Object.assign(document.createElement("span"), { textContent: `${(100 * share).toFixed(0)} %` }));
    const bar = document.createElement("b");
    bar.style.width = `${100 * share}%`;
    const track = document.createElement("i");
    track.append(bar);
    row.append(words, track);
    return row;
  });
  at("answers").replaceChildren(...rows);
}

async function look(source, wide, high) {
  const [classes, session] = net;
  const { data, shape } = inputOf(squareOf(source, wide, high));
  const start = performance.now();
  const { logits } = await session.run({ input: new ort.Tensor("float32", data, shape) });
  const ms = performance.now() - start;
  list(ranked(logits.data, classes));
  said(`${ms.toFixed(1)} ms`);
}

/** The camera's video while it is on. */
let video;

function stop() {
  for (const track of video?.srcObject.getTracks() ?? []) track.stop();
  video = undefined;
  at("camera").textContent = "Camera";
}

async function start() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  at("camera").textContent = "Stop";
  while (video !== undefined) {
    await look(video, video.videoWidth, video.videoHeight);
    await new Promise(requestAnimationFrame);
  }
}

if (net !== undefined) {
  at("camera").disabled = at("file").disabled = false;
  said("");
  at("camera").onclick = () =>
    video === undefined ? start().catch(({ message }) => said(`No camera: ${message}`)) : stop();
  at("file").onchange = async ({ target }) => {
    if (target.files[0] === undefined) return;
    stop();
    const bitmap = await createImageBitmap(target.files[0]);
    await look(bitmap, bitmap.width, bitmap.height);
  };
}
