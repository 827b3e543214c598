import { defineOp, type OpRule } from "./define.ts";
import { fact, namedType, required } from "./facts.ts";

const drawn = { frozen: "its numbers are drawn at random, by position" };

/** Random numbers in a shape that an attribute gives. */
const filled = (name: string): OpRule =>
  defineOp({
    name,
    since: 1,
    infer: (n) => [fact(namedType(n, "dtype", "float32"), n.ints("shape"))],
    axes: () => drawn,
    deterministic: false,
  });

/** Random numbers in the shape of the input, and of its type where none is named. */
const like = (name: string, since: number): OpRule =>
  defineOp({
    name,
    since,
    infer: (n) => [fact(namedType(n, "dtype", required(n, 0).dtype), required(n, 0).shape)],
    axes: () => drawn,
    deterministic: false,
  });

export const random: readonly OpRule[] = [
  like("Bernoulli", 15),
  defineOp({
    name: "Multinomial",
    since: 7,
    infer: (n) => {
      const { shape } = required(n, 0);
      if (shape && shape.length !== 2) n.fail(`its input has rank ${shape.length}; it takes [batch, classes].`);
      return [fact(namedType(n, "dtype", "int32"), shape && [shape[0] ?? 1, n.int("sample_size", 1)])];
    },
    axes: () => drawn,
    deterministic: false,
  }),
  filled("RandomNormal"),
  like("RandomNormalLike", 1),
  filled("RandomUniform"),
  like("RandomUniformLike", 1),
];
