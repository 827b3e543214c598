import { imageFiles } from "minnow/data";
import { openSession } from "minnow/runtime";
import { CLASSES, PICTURES, SIDE, shareOf } from "./pictures.mjs";

const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(0)} %`;
let [session, about] = [];

/** What was made, or a word on how to make it. */
async function made(name) {
  const answer = await fetch(`made/${name}`);
  if (!answer.ok) throw new Error("There is no net yet: run node examples/chest-x-rays/make.mjs first.");
  return answer;
}

/** How much rather the net says pneumonia. */
async function marginOf(data) {
  const { logits } = await session.run({ input: { dtype: "float32", shape: [1, 1, SIDE, SIDE], data } });
  return logits.data[1] - logits.data[0];
}

/** Prepares the picture as in training, shows it so, and says what the net says. */
async function look(file) {
  const example = await imageFiles([file], PICTURES).at(0);
  if ("skipped" in example) throw new Error(`${file.name}: ${example.skipped}`);
  const pixels = example.feeds.input.data;
  const from = performance.now();
  const margin = await marginOf(pixels);
  const took = performance.now() - from;
  const found = margin >= about.threshold;
  show(pixels);
  at("share").style.width = `${100 * shareOf(margin)}%`;
  at("answer").classList.toggle("found", found);
  at("verdict").textContent = `Looks like ${found ? "pneumonia" : "healthy lungs"}.`;
  at("said").textContent = `${file.name}: ${took.toFixed(1)} ms.`;
}

function show(pixels) {
  const { mean, std } = PICTURES.preprocess;
  const picture = new ImageData(SIDE, SIDE);
  for (const [i, x] of pixels.entries()) {
    const grey = 255 * (x * std + mean);
    picture.data.set([grey, grey, grey, 255], 4 * i);
  }
  at("seen").getContext("2d").putImageData(picture, 0, 0);
}

/** Runs what is asked for; says what went wrong. */
const asked =
  (work) =>
  async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      at("said").textContent = error.message;
    }
  };

async function offer(name) {
  const picture = await (await made(`${name}.png`)).blob();
  const button = document.createElement("button");
  button.type = "button";
  button.innerHTML = `<img alt="" src="made/${name}.png">${name}`;
  button.onclick = asked(() => look(new File([picture], `${name}.png`)));
  at("examples").append(button);
}

at("file").onchange = asked(async () => {
  const [file] = at("file").files;
  if (file) await look(file);
  at("file").value = "";
});
at("answer").ondragover = (event) => {
  event.preventDefault();
  at("answer").classList.add("over");
};
at("answer").ondragleave = () => at("answer").classList.remove("over");
at("answer").ondrop = asked(async (event) => {
  event.preventDefault();
  at("answer").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) await look(file);
});

await asked(async () => {
  about = await (await made("about.json")).json();
  const bytes = new Uint8Array(await (await made("lungs.onnx")).arrayBuffer());
  session = await openSession(bytes, { runtime: "wasm" });
  await marginOf(new Float32Array(SIDE * SIDE)); // the first run takes longer
  at("threshold").style.left = `${100 * shareOf(about.threshold)}%`;
  at("threshold").hidden = false;
  at("figures").textContent =
    `Of ${about.judged} pictures it had never seen, it found ${percent(about.sensitivity)} of those with pneumonia and took ${percent(1 - about.specificity)} of the healthy ones for ill.${about.standIn ? " These were drawn stand-ins, not X-rays." : ""}`;
  at("said").textContent = `The net has ${(bytes.length / 1000).toFixed(0)} kB.`;
  for (const name of CLASSES) for (const n of [1, 2, 3]) await offer(`${name}-${n}`);
})();
