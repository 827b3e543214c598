import { beforeAll, describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import { type Dataset, dataset, type Example, mapExamples } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats } from "../ir/tensor.ts";
import { normal, random } from "../numeric/random.ts";
import { quantizeStatic } from "../quantize/index.ts";
import { openSession } from "../runtime/index.ts";
import { type DistillationOptions, distillation } from "./distillation.ts";
import { crossEntropy } from "./losses.ts";
import { adamW, sgd } from "./optimizers.ts";
import { bindSizes, readyToTrain } from "./prepare.ts";
import { constant } from "./schedules.ts";
import { trainingStep } from "./step.ts";
import { openStepper } from "./stepper.ts";
import { ensemble, openTeacher, type Teacher, type TeacherOptions } from "./teacher.ts";
import { train } from "./train.ts";

const CLASSES = 4;

function picturesOf(count: number, side = 6, seed = 0): { images: Float32Array; y: number[]; data: Dataset } {
  const next = random(seed);
  const y = Array.from({ length: count }, (_, i) => i % CLASSES);
  const images = Float32Array.from({ length: count * side * side }, () => normal(next));
  return { images, y, data: arrays({ x: { dtype: "float32", shape: [count, 1, side, side], data: images }, y }) };
}

type End = "scores" | "Softmax" | "Sigmoid";

/** A small net over pictures; `batch` and the name of its input vary from one exporter to the next. */
function net(
  seed: number,
  {
    side = 6,
    out = CLASSES,
    end = "scores",
    batch = "N",
    input = "image",
  }: {
    side?: number;
    out?: number;
    end?: End;
    batch?: string | number;
    input?: string;
  } = {},
): Model {
  const net = new Net({ seed });
  let x = net.input(input, [batch, 1, side, side]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv", out: 3, kernel: 3 }), { name: "bn" }));
  x = net.linear(net.flatten(x), { name: "fc", out });
  return net.model({ y: end === "scores" ? x : net.op(end, [x], { name: "end" }) }, "net");
}

const softmax = (row: readonly number[]): number[] => {
  const most = Math.max(...row);
  const powers = row.map((v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
};

/** The formula, number by number. */
function formula(student: number[][], teacher: number[][], y: readonly number[], T: number, alpha: number): number {
  let loss = 0;
  for (const [i, s] of student.entries()) {
    const p = softmax((teacher[i] as number[]).map((v) => v / T));
    const q = softmax(s.map((v) => v / T));
    const kl = p.reduce((sum, pc, c) => sum + pc * Math.log(pc / (q[c] as number)), 0);
    const hard = -Math.log(softmax(s)[y[i] as number] as number);
    loss += (alpha * T * T * kl + (1 - alpha) * hard) / student.length;
  }
  return loss;
}

async function scoresOf(
  model: Model,
  { images, y }: { images: Float32Array; y: readonly number[] },
): Promise<number[][]> {
  const session = await openSession(model);
  const [name = ""] = session.inputs;
  const side = Math.sqrt(images.length / y.length);
  const out: number[][] = [];
  for (let i = 0; i < y.length; i++) {
    const data = images.slice(i * side * side, (i + 1) * side * side);
    const result = await session.run({ [name]: { dtype: "float32", shape: [1, 1, side, side], data } });
    out.push(Array.from(Object.values(result)[0]?.data as Float32Array));
  }
  await session.close();
  return out;
}

const frozen = { epochs: 1, batch: 8, schedule: constant(0), optimizer: sgd({ momentum: 0 }) };

/** The loss of one epoch in which nothing is learned, in inference mode, as training with an output of losses would have it. */
async function lossOf(student: Model, data: Dataset, options: DistillationOptions): Promise<number> {
  const { history } = await train(student, { ...frozen, data, loss: distillation(options), freeze: ["bn*"] });
  return history[0]?.loss as number;
}

const relative = (a: number, b: number) => Math.abs(a - b) / Math.max(1e-6, Math.abs(b));

async function withTeacher<T>(
  model: Model,
  options: TeacherOptions,
  use: (teacher: Teacher) => Promise<T>,
): Promise<T> {
  const teacher = await openTeacher(model, options);
  try {
    return await use(teacher);
  } finally {
    await teacher.close();
  }
}

describe("distillation", () => {
  const some = picturesOf(16);
  const [student, float] = [net(1), net(2)];
  let [own, taught]: number[][][] = [[], []];
  beforeAll(async () => {
    [own, taught] = [await scoresOf(student, some), await scoresOf(float, some)];
  });

  it("is its formula, whatever the temperature and the share of the labels", async () => {
    for (const [temperature, alpha] of [
      [1, 1],
      [4, 0.9],
      [20, 0.3],
      [2, 0],
    ] as const) {
      const loss = await withTeacher(float, {}, (teacher) =>
        lossOf(student, some.data, { teacher, temperature, alpha }),
      );
      expect(relative(loss, formula(own as number[][], taught as number[][], some.y, temperature, alpha))).toBeLessThan(
        1e-4,
      );
    }
  });

  it("is the same in the step, in a session apart, and with a teacher of another form", async () => {
    const images = arrays({ x: { dtype: "float32", shape: [16, 1, 6, 6], data: some.images } });
    const quantized = (await quantizeStatic({ data: images }).run(float)).model;
    const rounded = await scoresOf(quantized, some);
    const expected = formula(own as number[][], taught as number[][], some.y, 4, 0.9);
    const cases: [Model, TeacherOptions, string, number][] = [
      [float, {}, "in the graph of the step", expected],
      [float, { where: "session" }, "in a session of its own: as asked for", expected],
      [net(2, { end: "Softmax" }), {}, "in the graph", expected],
      [net(2, { end: "Softmax" }), { where: "session" }, "in a session", expected],
      [net(2, { batch: 1 }), {}, "takes batches of 1", expected],
      [net(2, { batch: 5, end: "Softmax" }), {}, "takes batches of 5", expected],
      [net(2, { input: "pixels" }), {}, "in the graph", expected],
      [{ ...float, opsets: new Map([["", 22]]) }, {}, "opset 18", expected],
      [quantized, {}, "in the graph", formula(own as number[][], rounded, some.y, 4, 0.9)],
      [quantized, { where: "session" }, "session", formula(own as number[][], rounded, some.y, 4, 0.9)],
    ];
    const old = { ...net(2, { end: "Softmax" }), opsets: new Map([["", 11]]) };
    cases.push([old, {}, "in the graph", expected], [old, { where: "session" }, "in a session", expected]);
    for (const [model, options, where, loss] of cases)
      await withTeacher(model, options, async (teacher) => {
        const found = await lossOf(student, some.data, { teacher });
        expect(teacher.where).toContain(where);
        expect(relative(found, loss), `${where} ${JSON.stringify(options)}`).toBeLessThan(1e-4);
      });
  });

  it("reads what the teacher sees in another size from the examples, without labels too", async () => {
    const large = picturesOf(16, 9, 5);
    const teacherModel = net(3, { side: 9, input: "large" });
    const both: Dataset = dataset({
      size: 16,
      at: async (i) => {
        const [a, b] = [(await some.data.at(i)) as Example, (await large.data.at(i)) as Example];
        const [image, picture] = [Object.values(a.feeds)[0], Object.values(b.feeds)[0]];
        return { feeds: { image: image as never, "teacher.large": picture as never } };
      },
    });
    const expected = formula(own as number[][], await scoresOf(teacherModel, large), some.y, 4, 1);
    for (const where of ["step", "session"] as const)
      await withTeacher(teacherModel, { where }, async (teacher) => {
        expect(relative(await lossOf(student, both, { teacher, alpha: 1 }), expected)).toBeLessThan(1e-4);
      });
    await withTeacher(teacherModel, {}, async (teacher) => {
      const lacking = lossOf(student, some.data, { teacher, alpha: 1 });
      await expect(lacking).rejects.toThrow('The loss asks for "teacher.large", which the data does not have.');
    });
  });

  it("takes each score of a final Sigmoid for a choice between two classes", async () => {
    const [a, b] = [net(1, { end: "Sigmoid", out: 3 }), net(2, { end: "Sigmoid", out: 3 })];
    const choices = (rows: number[][]) => rows.flat().map((p) => [Math.log(p / (1 - p)), 0]);
    const [s, t] = [choices(await scoresOf(a, some)), choices(await scoresOf(b, some))];
    const expected = formula(
      s,
      t,
      s.map(() => 0),
      2,
      1,
    );
    for (const where of ["step", "session"] as const)
      await withTeacher(b, { where }, async (teacher) => {
        expect(relative(await lossOf(a, some.data, { teacher, temperature: 2, alpha: 1 }), expected)).toBeLessThan(
          1e-3,
        );
      });
  });

  it("averages the scores of an ensemble by their weights", async () => {
    const third = net(7);
    const more = await scoresOf(third, some);
    const mean = taught?.map((row, i) => row.map((v, c) => 0.75 * v + 0.25 * (more[i]?.[c] as number))) as number[][];
    const [a, b] = [await openTeacher(float, { name: "a" }), await openTeacher(third, { name: "b", where: "session" })];
    const teacher = ensemble([a, b], [3, 1]);
    const loss = await lossOf(student, some.data, { teacher, temperature: 3 });
    await teacher.close();
    expect(relative(loss, formula(own as number[][], mean, some.y, 3, 0.9))).toBeLessThan(1e-4);
    expect(() => ensemble([a, a])).toThrow("An ensemble of the teachers a, a cannot be made.");
  });

  it("teaches a net what the teacher knows without any label, and changes nothing in the teacher", async () => {
    const many = picturesOf(256, 6, 3);
    const unlabelled = mapExamples(many.data, ({ feeds }) => ({ feeds }));
    const before = await agreement(student, float, many);
    const weights = await readFloats(float.graph.weights.get("fc.weight") as never);
    const { model } = await withTeacher(float, {}, (teacher) =>
      train(student, {
        data: dataset({ ...unlabelled, labels: undefined }),
        epochs: 20,
        batch: 16,
        optimizer: adamW(),
        schedule: constant(0.01),
        loss: distillation({ teacher, temperature: 1, alpha: 1 }),
      }),
    );
    expect(await agreement(model, float, many)).toBeGreaterThan(before + 0.3);
    expect(await readFloats(float.graph.weights.get("fc.weight") as never)).toEqual(weights);
    expect(model.graph.nodes.length).toBe((await readyToTrain(student)).model.graph.nodes.length);
  });

  it("runs the teacher in inference mode while the student is in training mode", async () => {
    const ready = await bindSizes((await readyToTrain(student)).model, 8);
    const teacher = await openTeacher(student);
    const loss = distillation({ teacher, alpha: 1, temperature: 1 });
    const step = trainingStep(ready, { loss, optimizer: sgd(), batch: 8 });
    const taught = step.model.graph.nodes.filter(({ inputs }) => inputs.some((name) => name.startsWith("teacher.")));
    expect(taught.map(({ op, outputs }) => `${op} ${outputs.length}`)).toEqual([
      "Conv 1",
      "BatchNormalization 1",
      "Gemm 1",
    ]);
    const stepper = await openStepper(step);
    const data = some.images.slice(0, 8 * 36);
    const { loss: found } = await stepper.run(
      { image: { dtype: "float32", shape: [8, 1, 6, 6], data } },
      { lr: 0, update: 1 },
    );
    await stepper.close();
    // Batch statistics are not the running ones: a student that equals its teacher differs from it in training mode.
    expect(found).toBeGreaterThan(1e-4);
  });

  it("shows mixed pictures to student and teacher alike, and compares with shares of classes", async () => {
    const pixels = { layout: "nchw", black: [-1], white: [1], luma: [1] } as const;
    const mixing = { ...frozen, pixels, freeze: ["bn*"], augment: { mixup: 0.5 }, data: some.data };
    for (const options of [{}, { where: "session" }] as const)
      await withTeacher(student, options, async (teacher) => {
        const learnFrom = async (options: Partial<DistillationOptions>) =>
          (await train(student, { ...mixing, loss: distillation({ teacher, ...options }) })).history[0]?.loss as number;
        // A net has nothing to learn from itself, unless one of the two sees other pictures.
        expect(await learnFrom({ alpha: 1 })).toBeLessThan(1e-6);
        const { history } = await train(student, { ...mixing, loss: crossEntropy({ soft: true }) });
        const told = await learnFrom({ alpha: 0.5, soft: true });
        expect(relative(told, 0.5 * (history[0]?.loss as number))).toBeLessThan(1e-5);
        await expect(learnFrom({ alpha: 0.5 })).rejects.toThrow("Mixup needs a loss that compares with shares");
      });
  });

  it("says what is wrong with a teacher that does not fit", async () => {
    const wrong: [Model, TeacherOptions, string][] = [
      [net(2, { out: 5 }), {}, 'The student answers [8,4], and its teacher "teacher" [8,5].'],
      [net(2, { out: 5 }), { where: "session" }, "[8,5]"],
      [net(2, { batch: 1 }), { where: "step" }, "cannot become part of a step: it takes batches of 1"],
    ];
    for (const [model, options, words] of wrong)
      await withTeacher(model, options, async (teacher) => {
        await expect(lossOf(student, some.data, { teacher })).rejects.toThrow(words);
      });
    const broken = { ...float, graph: { ...float.graph, weights: new Map(float.graph.weights) } };
    broken.graph.weights.set("fc.bias", float32s([CLASSES], [0, Number.NaN, 0, 0]));
    await withTeacher(broken, { where: "session" }, async (teacher) => {
      await expect(lossOf(student, some.data, { teacher })).rejects.toThrow("a number that is none: NaN or infinite");
    });
    await withTeacher(float, {}, async (teacher) => {
      expect(() => distillation({ teacher, temperature: 0 })).toThrow("A temperature of 0");
      expect(() => distillation({ teacher, alpha: 2 })).toThrow("a share of 2");
      const other = lossOf(student, some.data, { teacher, teacherOutput: "z" });
      await expect(other).rejects.toThrow('The teacher has no value "z".');
    });
  });
});

async function agreement(a: Model, b: Model, some: ReturnType<typeof picturesOf>): Promise<number> {
  const [x, y] = [await scoresOf(a, some), await scoresOf(b, some)];
  const best = (row: number[] = []) => row.indexOf(Math.max(...row));
  return x.filter((row, i) => best(row) === best(y[i])).length / x.length;
}
