/** Hears words in sound that keeps coming: for Node and for a page. */
import { CLASSES, FEATURES, featuresOf, RATE } from "./sounds.mjs";

/** Seconds from one window to the next; windows that have a say together; how sure they must be; seconds from one word to the next. */
const [EVERY, TOGETHER, SURE, APART] = [0.1, 2, 0.8, 0.5];
const [STEP, NOTHING] = [Math.round(EVERY * RATE), CLASSES.length - 1];

/**
 * A listener with the net of a session: give it samples as they come, and it says which words it heard, `{ word, at, sure }`, `at` in
 * seconds from the start.
 */
export function listener(session) {
  const window = new Float32Array(FEATURES.length);
  let [filled, seen, last] = [0, 0, { at: -APART }];
  const votes = [];

  async function judge() {
    const { shape, ...features } = featuresOf(window);
    const { logits } = await session.run({ input: { ...features, shape: [1, ...shape] } });
    votes.push(softmax(logits.data));
    if (votes.length < TOGETHER) return undefined;
    if (votes.length > TOGETHER) votes.shift();
    const means = CLASSES.map((_, c) => votes.reduce((sum, vote) => sum + vote[c], 0) / TOGETHER);
    const best = means.indexOf(Math.max(...means));
    // The middle of the windows that have a say.
    const at = (seen - FEATURES.length / 2) / RATE - (EVERY * (TOGETHER - 1)) / 2;
    if (best === NOTHING) last = { at: last.at };
    if (best === NOTHING || means[best] < SURE || best === last.best || at - last.at < APART) return undefined;
    last = { best, at };
    return { word: CLASSES[best], at: Math.max(0, at), sure: means[best] };
  }

  return {
    /** Listens on; samples are numbers from −1 to 1, RATE of them a second. */
    async hear(samples) {
      const heard = [];
      for (let i = 0; i < samples.length; ) {
        const count = Math.min(STEP - filled, samples.length - i);
        window.copyWithin(0, count);
        window.set(samples.subarray(i, i + count), window.length - count);
        [i, filled, seen] = [i + count, filled + count, seen + count];
        if (filled < STEP) continue;
        filled = 0;
        const word = await judge();
        if (word !== undefined) heard.push(word);
      }
      return heard;
    },
  };
}

function softmax(scores) {
  const most = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Of the words said in a stream, the share that was heard, and how many were heard that nobody said then. */
export function judged(heard, said) {
  const left = [...heard];
  let found = 0;
  for (const { word, from, to } of said) {
    const place = left.findIndex((one) => one.word === word && one.at > from - 0.3 && one.at < to + 0.3);
    if (place < 0) continue;
    left.splice(place, 1);
    found++;
  }
  return { found: found / said.length, wrong: left.length };
}
