/** The words, what the nets are fed with, and sounds made of recordings: windows to learn from, a stream to listen to. */
import { dataset, resolveFeatures, soundFeatures } from "minnow/data";

export const WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/** What a window can hold: one of the words, or nothing of them. */
export const CLASSES = [...WORDS, "nothing"];
const NOTHING = WORDS.length;

/** Samples a second, frames of a window (0.8 s of sound), mel filters. */
export const [RATE, FRAMES, MELS] = [8000, 39, 10];
export const FEATURES = resolveFeatures({ sampleRate: RATE, seconds: 0.8 }, ["N", 1, FRAMES, MELS]);

/** What a net is fed with of one window of samples. */
export const featuresOf = (samples) => soundFeatures({ sampleRate: RATE, channels: [samples] }, FEATURES);

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function chance(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const between = (next, low, high) => low + (high - low) * next();
const loudnessOf = (samples) => Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);

/** So many samples of noise, from hissing to rumbling, of this loudness (root of the mean square). */
function noise(next, length, loudness) {
  const [samples, dark] = [new Float32Array(length), between(next, 0, 0.95)];
  for (let i = 0, last = 0; i < length; i++) samples[i] = last = dark * last + (2 * next() - 1);
  const scale = loudness / loudnessOf(samples);
  return samples.map((x) => x * scale);
}

/** Adds what fits of a recording to the samples, beginning at `from`, which may lie before them. */
function lay(samples, recording, from) {
  for (let i = Math.max(0, -from); i < recording.length && from + i < samples.length; i++)
    samples[from + i] += recording[i];
}

/** A window with the word somewhere in it, up to the share `outside` of it beyond an end, in noise that is 10 to 40 dB softer. */
function wordWindow(next, word, outside) {
  const loudness = loudnessOf(word) * 10 ** (-between(next, 10, 40) / 20);
  const samples = noise(next, FEATURES.length, loudness);
  const beyond = outside * word.length;
  lay(samples, word, Math.round(between(next, -beyond, FEATURES.length - word.length + beyond)));
  return samples;
}

/** A window of noise, or one that holds the very end or the very beginning of a word: up to a third. */
function emptyWindow(next, word) {
  const loudness = loudnessOf(word) * 10 ** (-between(next, 10, 40) / 20);
  const samples = noise(next, FEATURES.length, loudness);
  const [way, part] = [next(), Math.round((word.length * next()) / 3)];
  if (way < 0.35) lay(samples, word, part - word.length);
  else if (way < 0.7) lay(samples, word, FEATURES.length - part);
  return samples;
}

/**
 * Windows to learn from or to judge by: each recording `{ word, samples }` in so many versions, each at another place in other noise,
 * and one window in seven with no word. Up to the share `outside` of a word lies beyond the window, as happens where windows slide over
 * words. The same for the same seed.
 */
export function windows(recordings, { versions, seed, outside = 0 }) {
  const words = recordings.length * versions;
  const size = words + Math.ceil(words / 6);
  const order = chance(seed);
  const picked = Array.from({ length: size - words }, () => Math.floor(order() * recordings.length));
  const of = (i) => recordings[i < words ? i % recordings.length : picked[i - words]];
  const labels = Array.from({ length: size }, (_, i) => (i < words ? of(i).word : NOTHING));
  return dataset({
    size,
    labels,
    classes: CLASSES,
    async at(i) {
      const next = chance(seed * 1_000_003 + i);
      const samples = (i < words ? wordWindow : emptyWindow)(next, of(i).samples, outside);
      return { feeds: { input: featuresOf(samples) }, label: labels[i] };
    },
  });
}

/** The list in another order, the same for the same seed. */
export function shuffled(list, seed) {
  const next = chance(seed);
  const places = list.map((one) => ({ one, place: next() }));
  return places.sort((a, b) => a.place - b.place).map(({ one }) => one);
}

/** All recordings one after the other in soft noise, with pauses, each as loud as the others; and when each word begins and ends. */
export function stream(recordings, { seed }) {
  const next = chance(seed);
  const [said, pauses] = [[], recordings.map(() => Math.round(between(next, 0.4, 1.2) * RATE))];
  const length = recordings.reduce((sum, { samples }, i) => sum + samples.length + pauses[i], RATE);
  const samples = noise(next, length, 0.002);
  let at = 0;
  for (const [i, { word, samples: own }] of recordings.entries()) {
    at += pauses[i];
    const scale = 0.06 / loudnessOf(own);
    lay(
      samples,
      own.map((x) => x * scale),
      at,
    );
    said.push({ word: WORDS[word], from: at / RATE, to: (at + own.length) / RATE });
    at += own.length;
  }
  return { samples, said };
}

/** Stand-ins for recordings, so that all of this runs without any: ten gliding tones, a little different each time. */
export function standIns(takes, seed = 0) {
  return WORDS.flatMap((_, word) =>
    Array.from({ length: takes }, (_, take) => {
      const next = chance(seed + word * 1000 + take);
      const [length, shift] = [Math.round(between(next, 0.3, 0.6) * RATE), between(next, 0.93, 1.07)];
      const [from, to] = [300 + 300 * (word % 5), 300 + 700 * Math.floor(word / 2)].map((hertz) => hertz * shift);
      let turn = 0;
      const samples = Float32Array.from({ length }, (_, i) => {
        turn += (from + ((to - from) * i) / length) / RATE;
        return 0.3 * Math.sin(2 * Math.PI * turn) * Math.sin((Math.PI * i) / length);
      });
      return { word, take, samples };
    }),
  );
}
