/**
 * Listens to a .wav file, or to what a microphone sends, and prints what it hears and when:
 *
 *     node examples/spoken-commands/use.mjs [FILE.wav] [--model FILE.onnx]
 *     arecord -q -t raw -f S16_LE -r 8000 | node examples/spoken-commands/use.mjs -
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openSession } from "minnow";
import { readWav, resample } from "minnow/data";
import { listener } from "./listen.mjs";
import { RATE } from "./sounds.mjs";

const made = (name) => fileURLToPath(new URL(`made/${name}`, import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { model: { type: "string" } } });
const [file = made("example.wav")] = positionals;

/** The samples of a file, a twentieth of a second at a time. */
async function* ofFile(path) {
  const { channels, sampleRate } = readWav(await readFile(path), path);
  const samples = resample(channels[0], sampleRate, RATE);
  for (let i = 0; i < samples.length; i += RATE / 20) yield samples.subarray(i, i + RATE / 20);
}

/** Samples of 16 bits as they come in. */
async function* ofInput() {
  let rest = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    const bytes = Buffer.concat([rest, chunk]);
    const count = bytes.length >> 1;
    yield Float32Array.from({ length: count }, (_, i) => bytes.readInt16LE(2 * i) / 32768);
    rest = bytes.subarray(2 * count);
  }
}

const session = await openSession(values.model ?? made("commands.onnx"));
const { hear } = listener(session);
for await (const samples of file === "-" ? ofInput() : ofFile(file))
  for (const { word, at, sure } of await hear(samples))
    console.log(`${at.toFixed(1).padStart(6)} s  ${word.padEnd(6)} ${(100 * sure).toFixed(0)} %`);
await session.close();
