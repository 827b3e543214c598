/**
 * One training step (forward, backward, SGD with momentum), beside PyTorch: the same nets, batches and threads, one process
 * each, taking turns step by step. Times are the smallest of all turns; memory is the peak of a process of its own.
 * `recompute` is Minnow computing activations again in the backward pass.
 *
 *     npm run build && PYTHON=venv/bin/python node bench/train/step.mjs [NET …] [--threads 1,2] [--turns 10] [--compile]
 *
 * PYTHON has torch, torchvision and transformers; `--compile` takes torch.compile as well, which needs a C++ compiler and
 * minutes a net. Writes bench/results/training-step.json, where each machine has its own rows.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { NETS } from "./nets.mjs";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: "string", default: "1,2" },
    turns: { type: "string", default: "10" },
    compile: { type: "boolean" },
  },
});
const python = process.env.PYTHON ?? "python3";
const peers = ["contiguous", "channels_last", ...(values.compile ? ["compile"] : [])];

/** A process that runs one step for each line it is sent, and answers with what it measured. */
function stepper(command, args, threads) {
  const env = { ...process.env, OMP_NUM_THREADS: String(threads) };
  const child = spawn(command, args, { env, stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(what) {
      child.stdin.write(`${what}\n`);
      const { value, done } = await lines.next();
      return done ? undefined : JSON.parse(value);
    },
    async end() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
    },
  };
}

const results = at("../results/training-step.json");
const { machines } = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : { machines: [] };
const model = cpus()[0]?.model;
const machine = machines.find((one) => one.machine === model) ?? { machine: model, peakGflops: {}, rows: [] };
if (!machines.includes(machine)) machines.push(machine);
const { rows } = machine;
for (const threads of values.threads.split(",").map(Number)) {
  const peak = (await stepperOnce("peak", threads)).gflops;
  machine.peakGflops[threads] = peak;
  for (const net of positionals.length > 0 ? positionals : Object.keys(NETS)) {
    const all = {
      minnow: stepper(process.execPath, [at("one-step.mjs"), net, String(threads)], threads),
      recompute: stepper(process.execPath, [at("one-step.mjs"), net, String(threads), "recompute"], threads),
      ...Object.fromEntries(
        peers.map((form) => [form, stepper(python, [at("../peers/train_step.py"), net, form], threads)]),
      ),
    };
    const least = {};
    for (let turn = 0; turn < Number(values.turns) + 2; turn++)
      for (const [name, process] of Object.entries(all)) {
        const answer = await process.ask("step");
        if (answer !== undefined && turn >= 2) least[name] = Math.min(least[name] ?? Infinity, answer.ms);
      }
    const info = {};
    for (const [name, process] of Object.entries(all)) {
      info[name] = await process.ask("memory");
      await process.end();
    }
    const best = peers.filter((name) => least[name] !== undefined).reduce((a, b) => (least[a] < least[b] ? a : b));
    const row = {
      net,
      threads,
      ms: least,
      ratio: least[best] / least.minnow,
      peer: best,
      peakMB: Object.fromEntries(
        Object.entries(info).map(([name, value]) => [name, value && Math.round(value.peakMB)]),
      ),
      share: (6 * info.minnow.macs) / least.minnow / 1e6 / peak,
    };
    console.log(JSON.stringify(row));
    const place = rows.findIndex((other) => other.net === net && other.threads === threads);
    if (place < 0) rows.push(row);
    else rows[place] = row;
    machine.date = new Date().toISOString().slice(0, 10);
    writeFileSync(results, `${JSON.stringify({ machines }, null, 2)}\n`);
  }
}

async function stepperOnce(what, threads) {
  const one = stepper(process.execPath, [at("one-step.mjs"), "peak", String(threads)], threads);
  const answer = await one.ask(what);
  await one.end();
  return answer;
}

for (const threads of new Set(rows.map((row) => row.threads))) {
  const ratios = rows.filter((row) => row.threads === threads).map((row) => row.ratio);
  const mean = Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length);
  console.log(
    `${threads} threads: geometric mean of PyTorch ÷ Minnow ${mean.toFixed(2)}, least ${Math.min(...ratios).toFixed(2)}`,
  );
}
