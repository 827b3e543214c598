import { MinnowError } from "../errors.ts";
import type { Emitter, Operand } from "../ops/emit.ts";
import type { Optimizer } from "./step.ts";

export interface SgdOptions {
  /** μ, the share of the last direction that is kept. Default 0. */
  readonly momentum?: number;
  /** Looks ahead along the new direction (Nesterov 1983, in the form of Sutskever et al. 2013). */
  readonly nesterov?: boolean;
}

/**
 * Stochastic gradient descent as in PyTorch: g ← g + λw; v ← μv + g; w ← w − η·v, or − η·(g + μv) with Nesterov's momentum.
 *
 * @example
 * train(model, { optimizer: sgd({ momentum: 0.9, nesterov: true }), weightDecay: 5e-4, … });
 */
export function sgd({ momentum = 0, nesterov = false }: SgdOptions = {}): Optimizer {
  check("momentum", momentum);
  if (nesterov && momentum === 0) throw wrong("Nesterov's momentum of 0", "Give a momentum, 0.9 for example.");
  return {
    name: "sgd",
    slots: momentum > 0 ? ["momentum"] : [],
    update(g, { weight, gradient, slots: [v], lr, weightDecay }) {
      const slope = g.add(gradient, decay(g, weight, weightDecay));
      if (v === undefined) return { weight: g.sub(weight, g.mul(slope, lr)), slots: [] };
      const next = g.add(g.mul(v, momentum), slope);
      const direction = nesterov ? g.add(slope, g.mul(next, momentum)) : next;
      return { weight: g.sub(weight, g.mul(direction, lr)), slots: [next] };
    },
  };
}

export interface AdamWOptions {
  /** Decay rates of the mean and of the mean square. Default 0.9 and 0.999. */
  readonly betas?: readonly [number, number];
  /** ε, added to the root. Default 1e-8. */
  readonly epsilon?: number;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019; Kingma and Ba 2015): m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²;
 * w ← (1 − ηλ)·w − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε).
 */
export function adamW({ betas = [0.9, 0.999], epsilon = 1e-8 }: AdamWOptions = {}): Optimizer {
  const [b1, b2] = betas;
  check("beta", b1);
  check("beta", b2);
  return {
    name: "adamW",
    slots: ["mean", "square"],
    update(g, { weight, gradient, slots: [m = "", v = ""], lr, step, weightDecay }) {
      const rate = g.div(lr, g.sub(1, g.pow(g.scalar(b1), step)));
      const root = g.op("Sqrt", [g.sub(1, g.pow(g.scalar(b2), step))]);
      const mean = towards(g, m, gradient, b1);
      const square = towards(g, v, g.mul(gradient, gradient), b2);
      const spread = g.add(g.div(g.op("Sqrt", [square]), root), epsilon);
      const kept = decayed(g, weight, lr, weightDecay);
      return { weight: g.sub(kept, g.div(g.mul(mean, rate), spread)), slots: [mean, square] };
    },
  };
}

export interface RmspropOptions {
  /** α, the decay rate of the mean square. Default 0.99. */
  readonly alpha?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Default 0. */
  readonly momentum?: number;
}

/**
 * RMSprop as in PyTorch (Tieleman and Hinton 2012): g ← g + λw; v ← αv + (1 − α)g²; d = g / (√v + ε); b ← μb + d;
 * w ← w − η·b, or − η·d without momentum.
 */
export function rmsprop({ alpha = 0.99, epsilon = 1e-8, momentum = 0 }: RmspropOptions = {}): Optimizer {
  check("alpha", alpha);
  check("momentum", momentum);
  return {
    name: "rmsprop",
    slots: momentum > 0 ? ["square", "momentum"] : ["square"],
    update(g, { weight, gradient, slots: [v = "", b], lr, weightDecay }) {
      const slope = g.add(gradient, decay(g, weight, weightDecay));
      const square = towards(g, v, g.mul(slope, slope), alpha);
      const direction = g.div(slope, g.add(g.op("Sqrt", [square]), epsilon));
      const moved = b === undefined ? direction : g.add(g.mul(b, momentum), direction);
      return { weight: g.sub(weight, g.mul(moved, lr)), slots: b === undefined ? [square] : [square, moved] };
    },
  };
}

export interface LionOptions {
  /** Default 0.9 and 0.99. */
  readonly betas?: readonly [number, number];
}

/**
 * Lion (Chen et al. 2023): w ← (1 − ηλ)·w − η·sign(β₁m + (1 − β₁)g); m ← β₂m + (1 − β₂)g. One state a weight; its rate is
 * usually a third to a tenth of AdamW's, its decay as much larger.
 */
export function lion({ betas: [b1, b2] = [0.9, 0.99] }: LionOptions = {}): Optimizer {
  check("beta", b1);
  check("beta", b2);
  return {
    name: "lion",
    slots: ["mean"],
    update(g, { weight, gradient, slots: [m = ""], lr, weightDecay }) {
      const sign = g.op("Sign", [towards(g, m, gradient, b1)]);
      const kept = decayed(g, weight, lr, weightDecay);
      return { weight: g.sub(kept, g.mul(sign, lr)), slots: [towards(g, m, gradient, b2)] };
    },
  };
}

/** βa + (1 − β)b, in three nodes: b + β(a − b). */
const towards = (g: Emitter, a: string, b: string, beta: number): string => g.add(b, g.mul(g.sub(a, b), beta));

/** λw, or 0. */
const decay = (g: Emitter, weight: string, lambda: number): Operand => (lambda === 0 ? 0 : g.mul(weight, lambda));

/** (1 − ηλ)·w */
const decayed = (g: Emitter, weight: string, lr: string, lambda: number): string =>
  lambda === 0 ? weight : g.mul(weight, g.sub(1, g.mul(lr, lambda)));

function check(name: string, value: number): void {
  if (!(value >= 0 && value < 1)) throw wrong(`A ${name} of ${value}`, "It can be from 0 to below 1.");
}

const wrong = (what: string, mend: string): MinnowError =>
  new MinnowError(`${what} is not possible.`, { code: "train/optimizer-options", mend });
