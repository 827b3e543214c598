import { preprocess, resolvePreprocess } from "minnow/data";

/** Sides of the pictures the net has learned from, and of what it is given. */
export const [LEARNED, SIDE] = [32, 64];

const wanted = resolvePreprocess({ preset: "imagenet" }, [1, 3, SIDE, SIDE]);

/**
 * What the net takes of a picture of bytes [height, width, 3]: the middle square, scaled as it was in training. Make it LEARNED pixels
 * large before, or it is sharper than anything the net has seen.
 */
export function inputOf({ width, height, data }) {
  const { shape, data: numbers } = preprocess({ width, height, channels: 3, data }, wanted);
  return { dtype: "float32", shape: [1, ...shape], data: numbers };
}

/** The classes with their probabilities, the likeliest first. */
export function ranked(scores, classes) {
  const most = Math.max(...scores);
  const odds = Array.from(scores, (score) => Math.exp(score - most));
  const sum = odds.reduce((a, b) => a + b, 0);
  return classes.map((name, i) => ({ name, share: odds[i] / sum })).sort((a, b) => b.share - a.share);
}
