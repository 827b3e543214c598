/** What the nets are fed with and what they tell apart: for Node and for a page. */
import { arrays } from "minnow/data";

export const CLASSES = ["normal", "pneumonia"];
export const SIDE = 28;

/** Grey pictures of 28 × 28; mean and deviation are those of the training pictures. */
export const PICTURES = { preprocess: { size: SIDE, channels: "gray", mean: 0.571, std: 0.168 }, labels: CLASSES };

/** A share from 0 to 1 for the distance of two scores. */
export const shareOf = (margin) => 1 / (1 + Math.exp(-margin));

/**
 * Stand-ins for X-rays, so that all of this runs without any: two dark ovals on a bright ground, of which every second example has one
 * that is clouded.
 */
export function standIns(count, seed) {
  let state = seed + 1;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const data = new Uint8Array(count * SIDE * SIDE);
  for (let i = 0; i < count; i++) {
    const [cloudy, side] = [i % 2, next() < 0.5];
    const [top, light] = [12 + 3 * next(), 150 + 40 * next()];
    for (let y = 0; y < SIDE; y++)
      for (let x = 0; x < SIDE; x++) {
        const lung = ([middle]) => Math.max(0, 1 - ((x - middle) / 5.5) ** 2 - ((y - top) / 9) ** 2);
        const [left, right] = [lung([8]), lung([19.5])];
        const dark = left * (cloudy && side ? 0.5 : 1) + right * (cloudy && !side ? 0.5 : 1);
        data[(i * SIDE + y) * SIDE + x] = light - 110 * dark + 20 * (next() - 0.5);
      }
  }
  const labels = Array.from({ length: count }, (_, i) => i % 2);
  return arrays({ x: { dtype: "uint8", shape: [count, SIDE, SIDE], data }, y: labels }, PICTURES);
}
