import type { Sample } from "./sample.ts";

export const samples: readonly Sample[] = [
  { op: "Relu", inputs: [{ shape: [2, 3, 4] }] },
  { op: "Sigmoid", inputs: [{ shape: [2, 3, 4] }] },
];
