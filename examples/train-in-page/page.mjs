import { chart, VIEW_BOX } from "./chart.mjs";

const at = (id) => document.getElementById(id);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const asked = new URL(location.href).searchParams;
const options = { examples: Number(asked.get("examples") ?? 12000), epochs: Number(asked.get("epochs") ?? 4) };

/** What is shown: { running, curve: [[update, loss, accuracy]], tests: [[update, accuracy]], steps, stepsPerEpoch }. */
let state;
let drawn = false;

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;

const incoming = {
  state(next) {
    state = next;
    at("go").textContent = state.done ? "Done" : state.running ? "Stop" : state.curve.length === 0 ? "Start" : "Resume";
    at("go").disabled = state.done;
    at("anew").disabled = state.running || state.curve.length === 0;
    at("runtime").disabled = state.running;
    at("said").textContent = state.done
      ? "It has learned all epochs."
      : state.curve.length > 0 && !state.running
        ? "Stopped; its state is kept in this browser."
        : "";
    draw();
  },
  progress({ point, samplesPerSecond, secondsLeft, steps, stepsPerEpoch }) {
    state.curve.push(point);
    Object.assign(state, { steps, stepsPerEpoch });
    at("rate").textContent = Math.round(samplesPerSecond).toLocaleString("en");
    at("left").textContent = clock(secondsLeft);
    draw();
  },
  test({ point }) {
    state.tests.push(point);
    draw();
  },
  model({ bytes }) {
    at("model").href = URL.createObjectURL(new Blob([bytes]));
    at("model").hidden = false;
  },
  error({ message }) {
    at("said").textContent = message;
  },
};
worker.onmessage = ({ data }) => incoming[data.type](data);
worker.onerror = ({ message }) => incoming.error({ message });

/** Draws at the next frame what is known by then. */
function draw() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    const { curve, tests, steps = 1, stepsPerEpoch = 1 } = state;
    const last = tests.at(-1);
    at("test").textContent = last ? percent(last[1]) : "–";
    const [step, loss] = curve.at(-1) ?? [];
    at("epoch").textContent = step ? `${Math.ceil(step / stepsPerEpoch)} of ${Math.round(steps / stepsPerEpoch)}` : "–";
    at("loss").textContent = step ? loss.toFixed(3) : "–";
    const ends =
      curve.length === 0
        ? []
        : Array.from({ length: Math.round(steps / stepsPerEpoch) }, (_, i) => (i + 1) * stepsPerEpoch);
    const losses = curve.map(([step, loss]) => [step, loss]);
    const most = Math.max(1, Math.ceil(2 * Math.max(0, ...losses.map(([, loss]) => loss))) / 2);
    at("losses").innerHTML = chart({
      curve: losses,
      steps,
      ends,
      most,
      name: "loss",
      label: (value) => value.toFixed(2),
    });
    const right = curve.map(([step, , accuracy]) => [step, accuracy]);
    at("accuracies").innerHTML = chart({
      curve: right,
      points: tests,
      steps,
      ends,
      most: 1,
      name: "accuracy",
      label: (value) => `${100 * value} %`,
    });
  });
}

document.querySelector("form").onsubmit = (event) => {
  event.preventDefault();
  if (state.running) worker.postMessage({ type: "stop" });
  else
    worker.postMessage({
      type: "start",
      ...options,
      runtime: at("runtime").value,
      threads: Math.min(4, navigator.hardwareConcurrency),
    });
};
at("anew").onclick = () => {
  at("model").hidden = true;
  for (const id of ["rate", "left"]) at(id).textContent = "–";
  worker.postMessage({ type: "reset" });
};
for (const id of ["losses", "accuracies"]) at(id).setAttribute("viewBox", VIEW_BOX);
if (await navigator.gpu?.requestAdapter()) at("runtime").append(new Option("WebGPU", "webgpu"));
