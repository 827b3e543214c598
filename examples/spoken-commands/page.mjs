import { readWav, resample } from "minnow/data";
import { openSession } from "minnow/runtime";
import { listener } from "./listen.mjs";
import { RATE, WORDS } from "./sounds.mjs";

const at = (id) => document.getElementById(id);
const [HEIGHT, BARS_A_SECOND, SHOWN_LIVE] = [112, 10, 12];

/** What is shown: loudness, a number for each tenth of a second, and words with their times. */
let [levels, words] = [[], []];
let [session, ear, microphone, drawn] = [];
/** Chunks are heard one after the other. */
let hearing = Promise.resolve();

for (const [number, word] of WORDS.entries()) {
  const lamp = document.createElement("li");
  lamp.className = "card";
  lamp.innerHTML = `<b>${number}</b>${word}`;
  at("lamps").append(lamp);
}

function begin(message) {
  [levels, words, ear] = [[], [], listener(session)];
  at("said").textContent = message;
  draw();
}

/** Listens on, and shows what came. */
function hear(samples) {
  hearing = hearing.then(async () => {
    const step = RATE / BARS_A_SECOND;
    for (let i = 0; i < samples.length; i += step)
      levels.push(samples.subarray(i, i + step).reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    words.push(...(await ear.hear(samples)));
    draw();
  });
  return hearing;
}

/** Draws at the next frame: the words so far, or up to where a file is played. */
function draw() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    const { currentTime, paused, hidden } = at("audio");
    const playing = !hidden && !(paused && currentTime === 0);
    const now = words.filter(({ at }) => !playing || at <= currentTime);
    for (const [i, lamp] of [...at("lamps").children].entries())
      lamp.classList.toggle("on", now.filter(({ word }) => word === WORDS[i]).length % 2 === 1);
    drawSound();
    at("heard").innerHTML = now
      .toReversed()
      .slice(0, 30)
      .map(
        ({ word, at, sure }) =>
          `<li><span>${at.toFixed(1)} s</span><b>${word}</b><span>${(100 * sure).toFixed(0)} %</span></li>`,
      )
      .join("");
  });
}

function drawSound() {
  const width = at("wave").clientWidth;
  at("wave").setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const end = levels.length / BARS_A_SECOND;
  const start = microphone ? Math.max(0, end - SHOWN_LIVE) : 0;
  const length = microphone ? SHOWN_LIVE : Math.max(1, end);
  const x = (time) => ((time - start) / length) * width;
  const most = Math.max(0.05, ...levels);
  const bars = levels.map((level, i) => {
    const [place, half] = [x((i + 0.5) / BARS_A_SECOND), Math.max(1, (38 * level) / most)];
    return place < 0 ? "" : `M${place.toFixed(1)} ${70 - half}v${2 * half}`;
  });
  const marks = words
    .filter(({ at }) => at >= start)
    .map(
      (heard, i) => `<path class="word" d="M${x(heard.at).toFixed(1)} ${28 - 12 * (i % 2)}V${HEIGHT}"/>
        <text class="said" text-anchor="middle" x="${x(heard.at).toFixed(1)}" y="${24 - 12 * (i % 2)}">${heard.word}</text>`,
    );
  at("span").textContent =
    end === 0 ? "Sound" : `Sound, ${start.toFixed(0)} to ${Math.max(end, length + start).toFixed(0)} s`;
  at("wave").innerHTML = `<path class="level" d="${bars.join("")}"/>${marks.join("")}`;
}

async function hearFile(blob, name) {
  await stop();
  const { channels, sampleRate } = readWav(new Uint8Array(await blob.arrayBuffer()), name);
  begin(`Hearing ${name} …`);
  const from = performance.now();
  const samples = resample(channels[0], sampleRate, RATE);
  for (let i = 0; i < samples.length; i += RATE) await hear(samples.subarray(i, i + RATE));
  const [seconds, took] = [samples.length / RATE, performance.now() - from];
  at("said").textContent = `Heard ${seconds.toFixed(1)} s of ${name} in ${(took / 1000).toFixed(2)} s.`;
  at("audio").src = URL.createObjectURL(blob);
  at("audio").hidden = false;
}

async function listen() {
  const sound = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: true },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("worklet.js");
  const chunks = new AudioWorkletNode(context, "chunks");
  at("audio").hidden = true;
  microphone = { sound, context };
  begin("Listening. Say a number.");
  at("listen").textContent = "Stop";
  chunks.port.onmessage = ({ data }) => microphone && hear(resample(data, context.sampleRate, RATE));
  context.createMediaStreamSource(sound).connect(chunks);
}

async function stop() {
  if (microphone === undefined) return;
  for (const track of microphone.sound.getTracks()) track.stop();
  await microphone.context.close();
  microphone = undefined;
  at("listen").textContent = "Listen";
  at("said").textContent = "";
  draw();
}

/** Runs what a button asks for; says what went wrong. */
const asked = (work) => async () => {
  try {
    await work();
  } catch (error) {
    at("said").textContent = error.message;
  }
};

addEventListener("resize", draw);
at("audio").ontimeupdate = draw;
at("listen").onclick = asked(() => (microphone ? stop() : listen()));
at("file").onchange = asked(async () => {
  const [file] = at("file").files;
  if (file) await hearFile(file, file.name);
  at("file").value = "";
});
at("example").onclick = asked(async () => hearFile(await (await fetch("made/example.wav")).blob(), "example.wav"));

await asked(async () => {
  const file = await fetch("made/commands.onnx");
  if (!file.ok) throw new Error("There is no net yet: run node examples/spoken-commands/make.mjs first.");
  const bytes = new Uint8Array(await file.arrayBuffer());
  session = await openSession(bytes, { runtime: "wasm" });
  at("said").textContent = `The net has ${(bytes.length / 1000).toFixed(0)} kB.`;
  for (const id of ["listen", "example"]) at(id).disabled = false;
})();
draw();
