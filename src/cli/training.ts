import { feedInputs } from "../data/bind.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { plural } from "../report/words.ts";
import type { AugmentOptions } from "../train/augment.ts";
import { binaryCrossEntropy, crossEntropy, huber, meanSquaredError } from "../train/losses.ts";
import { adamW, lion, rmsprop, sgd } from "../train/optimizers.ts";
import { constant, cosine, oneCycle, type Schedule, stepDecay, warmUp } from "../train/schedules.ts";
import type { Loss, Optimizer } from "../train/step.ts";
import type { TrainOptions } from "../train/train.ts";
import { choice, flag, number, numbers, text, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";

const LOSSES = ["cross-entropy", "bce", "mse", "huber", "reconstruction"] as const;
const SCHEDULES = ["cosine", "one-cycle", "step", "constant"] as const;
const AUGMENTATIONS: readonly (keyof AugmentOptions)[] = [
  "flip",
  "crop",
  "brightness",
  "contrast",
  "saturation",
  "cutout",
  "mixup",
  "views",
];

/** Optimizers by name, each with its usual learning rate. */
const OPTIMIZERS: Readonly<Record<string, { rate: number; make(momentum: number | undefined): Optimizer }>> = {
  sgd: { rate: 0.05, make: (momentum = 0.9) => sgd({ momentum, nesterov: momentum > 0 }) },
  adamw: { rate: 0.001, make: () => adamW() },
  rmsprop: { rate: 0.001, make: (momentum = 0) => rmsprop({ momentum }) },
  lion: { rate: 0.0001, make: () => lion() },
};

/** Verbs that train. */
export const TRAINING: OptionSpecs = {
  epochs: { type: "string", value: "N", help: "Times the data is gone through (10)." },
  batch: { type: "string", value: "N", help: "Examples of one step (64)." },
  optimizer: {
    type: "string",
    value: Object.keys(OPTIMIZERS).join("|"),
    help: "Which (sgd, with Nesterov's momentum).",
  },
  lr: { type: "string", value: "F", help: "Highest learning rate (sgd 0.05, adamw and rmsprop 0.001, lion 0.0001)." },
  momentum: { type: "string", value: "F", help: "Of sgd (0.9) and rmsprop (0)." },
  schedule: {
    type: "string",
    value: SCHEDULES.join("|"),
    help: "How the rate goes on (cosine); step: a tenth every third.",
  },
  warmup: {
    type: "string",
    value: "EPOCHS",
    help: "In how many epochs the rate rises at first (a tenth of all, 1 at most).",
  },
  "weight-decay": { type: "string", value: "F", help: "Of weights, not of biases and normalizations (0.0005)." },
  loss: { type: "string", value: LOSSES.join("|"), help: "What is made small (cross-entropy)." },
  "label-smoothing": { type: "string", value: "F", help: "Share of a target spread over all classes (0)." },
  "class-weights": { type: "string", value: "A,B,…|balanced", help: "What an example of each class counts for." },
  augment: {
    type: "string",
    value: "flip,crop=4,…",
    help: `Random changes of pictures: ${AUGMENTATIONS.join(", ")}; pixels, shares or alpha after =.`,
  },
  freeze: {
    type: "string",
    multiple: true,
    value: "GLOB",
    help: "Weights that stay as they are, by name; again for more.",
  },
  only: { type: "string", multiple: true, value: "GLOB", help: "The only weights that learn." },
  "clip-norm": { type: "string", value: "F", help: "Most the norm of all gradients may be." },
  accumulate: { type: "string", value: "N", help: "Batches whose gradients make one update (1)." },
  ema: { type: "string", value: "F", help: "Give back a moving average of the weights, of this decay: 0.999." },
  recompute: { type: "boolean", help: "Less memory, more time: compute inner values again for the backward pass." },
  patience: { type: "string", value: "N", help: "Stop after so many epochs without a better one; keep the best." },
};

/** What the options of {@link TRAINING} say, and the lines for people. */
export function trainingOptions(
  given: Given,
  model: Model,
  data: Dataset,
): { options: Omit<TrainOptions, "data">; lines: (readonly [string, string])[] } {
  const epochs = number(given, "epochs", { least: 1 }) ?? 10;
  const batch = number(given, "batch", { least: 1 }) ?? 64;
  const name = choice(given, "optimizer", Object.keys(OPTIMIZERS)) ?? "sgd";
  const { rate, make } = OPTIMIZERS[name] as (typeof OPTIMIZERS)[string];
  const fraction = (option: string) => number(given, option, { whole: false });
  const rounded = text(given, "qat") !== undefined;
  const lr = fraction("lr") ?? (rounded ? rate / 10 : rate);
  const weightDecay = fraction("weight-decay") ?? 0.0005;
  const augment = augmentOf(given);
  const warmup = fraction("warmup") ?? Math.min(1, epochs / 10);
  const kind = choice(given, "schedule", SCHEDULES) ?? "cosine";
  const loss = lossOf(given, model, data, augment);
  const [clipNorm, accumulate, ema] = [
    fraction("clip-norm") ?? (rounded ? 1 : undefined),
    number(given, "accumulate", { least: 1 }),
    fraction("ema"),
  ];
  const [patience, seed] = [number(given, "patience", { least: 1 }), number(given, "seed") ?? 0];
  const [freeze, only] = [list(given, "freeze"), list(given, "only")];
  const after = accumulate === undefined || accumulate === 1 ? "" : ` × ${accumulate}`;
  return {
    options: {
      epochs,
      batch,
      seed,
      loss,
      weightDecay,
      optimizer: make(fraction("momentum")),
      schedule: scheduleOf(kind, lr, warmup, epochs),
      ...(augment && { augment }),
      ...(clipNorm && { clipNorm }),
      ...(accumulate && { accumulate }),
      ...(ema && { ema }),
      ...(flag(given, "recompute") && { recompute: true }),
      ...(patience && { patience }),
      ...(freeze && { freeze }),
      ...(only && { only }),
    },
    lines: [
      ["training", `${plural(epochs, "epoch")}, batches of ${batch}${after}, ${loss.name}, seed ${seed}`],
      [
        "optimizer",
        `${name}, learning rate ${lr} (${kind}, ${plural(warmup, "epoch")} of warm-up), weight decay ${weightDecay}`,
      ],
      ...(augment === undefined ? [] : ([["augmentation", text(given, "augment") ?? ""]] as const)),
    ],
  };
}

function scheduleOf(kind: (typeof SCHEDULES)[number], lr: number, warmup: number, epochs: number): Schedule {
  if (kind === "one-cycle") return oneCycle(lr);
  const then =
    kind === "cosine"
      ? cosine(lr)
      : kind === "constant"
        ? constant(lr)
        : stepDecay(lr, { every: Math.max(1, epochs / 3) });
  return warmup > 0 ? warmUp(then, { epochs: warmup }) : then;
}

function lossOf(given: Given, model: Model, data: Dataset, augment: AugmentOptions | undefined): Loss {
  const kind = choice(given, "loss", LOSSES) ?? "cross-entropy";
  if (kind === "bce") return binaryCrossEntropy();
  if (kind === "mse") return meanSquaredError();
  if (kind === "huber") return huber();
  if (kind === "reconstruction") {
    const [input] = feedInputs(model.graph);
    return meanSquaredError({ target: input?.name ?? "" });
  }
  const labelSmoothing = number(given, "label-smoothing", { whole: false }) ?? 0;
  const classWeights = weightsOf(given, data);
  return crossEntropy({
    labelSmoothing,
    soft: augment?.mixup !== undefined,
    ...(classWeights && { classWeights }),
  });
}

/** `balanced`: examples / (classes · examples of the class), so that each class counts the same. */
function weightsOf(given: Given, data: Dataset): readonly number[] | undefined {
  if (text(given, "class-weights") !== "balanced") return numbers(given, "class-weights");
  if (data.labels === undefined)
    throw wrong("--class-weights is balanced, and the data has no labels.", "Leave it out.");
  const counts = new Array<number>(data.labels.reduce((a, b) => Math.max(a, b), 0) + 1).fill(0);
  for (const label of data.labels) counts[label] = (counts[label] ?? 0) + 1;
  return counts.map((count) => (count === 0 ? 0 : data.size / (counts.length * count)));
}

/** What `--augment` says. */
export function augmentOf(given: Given): AugmentOptions | undefined {
  const said = text(given, "augment");
  if (said === undefined) return undefined;
  const entries = said.split(",").map((word) => {
    const [name = "", value] = word.trim().split("=");
    const parsed = value === undefined ? Number.NaN : Number(value);
    const fits = name === "flip" ? value === undefined : Number.isFinite(parsed);
    if (!(AUGMENTATIONS as readonly string[]).includes(name) || !fits)
      throw wrong(
        `--augment has "${word}".`,
        `Give some of flip, ${AUGMENTATIONS.slice(1)
          .map((n) => `${n}=N`)
          .join(", ")}.`,
      );
    return [name, name === "flip" ? true : parsed] as const;
  });
  return Object.fromEntries(entries) as AugmentOptions;
}

function list(given: Given, name: string): readonly string[] | undefined {
  const value = given.options[name];
  return Array.isArray(value) ? value.filter((v): v is string => typeof v === "string") : undefined;
}
