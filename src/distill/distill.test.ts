import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net } from "../architectures/index.ts";
import { arrays } from "../data/arrays.ts";
import { type Dataset, dataset, mapExamples } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { float32s, readFloats, type Tensor } from "../ir/tensor.ts";
import { evaluate } from "../measure/evaluate.ts";
import { normal, random } from "../numeric/random.ts";
import { freezeQuantized, quantizationAware } from "../quantize/index.ts";
import { constant } from "../train/schedules.ts";
import { train } from "../train/train.ts";
import { type DistillOptions, distill } from "./distill.ts";
import { attentionTransfer, hints } from "./features.ts";
import { scoresSquared, softTargets } from "./logits.ts";
import { relational } from "./relations.ts";

let folder: string;
let teacher: Model;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-distill-"));
  const { model } = await train(net(1, 12), { data: pictures(240), epochs: 6, batch: 16, schedule: constant(0.05) });
  teacher = model;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Pictures in three classes: light on the left, in the middle or on the right, with noise; twice as large with `side` 12. */
function pictures(count: number, seed = 0, side = 6): Dataset {
  const next = random(seed);
  const y = Array.from({ length: count }, () => Math.floor(next() * 3));
  const noise = Float32Array.from({ length: count * 36 }, () => normal(next));
  const each = side * side;
  const data = Float32Array.from({ length: count * each }, (_, k) => {
    const [i, row, column] = [Math.floor(k / each), Math.floor((k % each) / side), k % side];
    const [r, c] = [Math.floor((row * 6) / side), Math.floor((column * 6) / side)];
    return Number(Math.floor(c / 2) === y[i]) + 0.7 * (noise[i * 36 + r * 6 + c] as number);
  });
  return arrays({ x: { dtype: "float32", shape: [count, 1, side, side], data }, y });
}

const unlabelled = (data: Dataset): Dataset =>
  dataset({ size: data.size, at: mapExamples(data, ({ feeds }) => ({ feeds })).at });

interface NetOptions {
  readonly side?: number;
  readonly out?: number;
  readonly end?: (net: Net, x: ReturnType<Net["input"]>) => ReturnType<Net["input"]>;
}

function net(seed: number, width: number, { side = 6, out = 3, end = (_, x) => x }: NetOptions = {}): Model {
  const net = new Net({ seed });
  let x = net.input("image", ["N", 1, side, side]);
  x = net.relu(net.batchNorm(net.conv(x, { name: "conv1", out: width, kernel: 3 }), { name: "bn1" }));
  x = net.maxPool(x, { kernel: 2, stride: 2, padding: 0 });
  x = net.relu(net.conv(x, { name: "conv2", out: width, kernel: 3, bias: true }));
  x = net.linear(net.flatten(net.globalAveragePool(x)), { name: "fc", out });
  return net.model({ scores: end(net, x) }, "net");
}

const weightsOf = async (model: Model): Promise<Record<string, readonly number[]>> =>
  Object.fromEntries(
    await Promise.all(
      [...model.graph.weights]
        .filter(([name]) => /^(conv|bn|fc)/.test(name))
        .map(async ([name, tensor]) => [name, [...(await readFloats(tensor))]] as const),
    ),
  );

const some: Pick<DistillOptions, "epochs" | "batch" | "schedule"> = { epochs: 3, batch: 16, schedule: constant(0.05) };
const pixels = { layout: "nchw", black: [0], white: [1], luma: [1] } as const;

/** Several terms together are steep: a rate at which rounding does not decide how it ends. */
const calm = { epochs: 8, schedule: constant(0.01), clipNorm: 5 };

describe("distill", () => {
  it("teaches without any label, and gives back the student's own inputs, outputs and weights", async () => {
    const [student, test] = [net(7, 4), pictures(120, 9)];
    const losses = [softTargets(), hints(), attentionTransfer(), relational()];
    const data = unlabelled(pictures(160, 3));
    const result = await distill(student, { ...some, ...calm, teacher, losses, data });
    const { metrics } = await evaluate(result.model, test);
    expect(metrics.accuracy).toBeGreaterThan(0.85);
    expect(result.model.graph.outputs.map(({ name }) => name)).toEqual(["scores"]);
    expect(Object.keys(await weightsOf(result.model)).sort()).toEqual(Object.keys(await weightsOf(student)).sort());
    expect([...result.model.graph.weights.keys()].filter((name) => name.includes("projection"))).toEqual([]);
    // Unlabelled data judges too, by the loss, wherever the teacher runs.
    const judged = { data: unlabelled(pictures(48, 3)), validation: unlabelled(pictures(40, 8)), epochs: 2 };
    const histories = await Promise.all(
      [true, false].map(async (cache) => (await distill(student, { ...some, ...judged, teacher, cache })).history),
    );
    const validated = histories.map((history) => history.map((epoch) => (epoch.metrics.loss as number).toPrecision(4)));
    expect(validated[0]).toEqual(validated[1]);
    const plain = await train(student, { ...some, epochs: 1, data: pictures(32) });
    expect(result.model.graph.nodes.map(({ op }) => op)).toEqual(plain.model.graph.nodes.map(({ op }) => op));
  });

  it("lets each term weigh as much as the first where no weight is given, and keeps weights that are", async () => {
    const losses = [softTargets(), { term: scoresSquared(), weight: 0.25 }, attentionTransfer()];
    const options = {
      ...some,
      epochs: 1,
      teacher,
      data: pictures(64, 2),
      schedule: constant(0),
      alpha: 1,
      freeze: ["bn1*"],
    };
    const all = await distill(net(7, 4), { ...options, losses });
    const alone = async (term: NonNullable<DistillOptions["losses"]>[number]) =>
      (await distill(net(7, 4), { ...options, losses: [term] })).history[0]?.loss as number;
    const [soft, squares, attention] = [
      await alone(losses[0] as never),
      await alone(scoresSquared()),
      await alone(attentionTransfer()),
    ];
    expect(all.weights).toMatchObject({ softTargets: 1, scoresSquared: 0.25 });
    // The weight was measured on the first two batches, the loss on all four.
    expect((all.weights.attentionTransfer as number) * attention).toBeGreaterThan(0.5 * soft);
    expect((all.weights.attentionTransfer as number) * attention).toBeLessThan(2 * soft);
    const sum = soft + 0.25 * squares + (all.weights.attentionTransfer as number) * attention;
    expect(Math.abs((all.history[0]?.loss as number) - sum)).toBeLessThan(1e-4 * sum);
  });

  it("computes the teacher's answers once, keeps them in a file, and finds them again by what was asked", async () => {
    const cache = join(folder, "answers.safetensors");
    const options = { ...some, teacher, data: pictures(64, 2), cache };
    const first = await distill(net(7, 4), options);
    expect(first.answers).toEqual({ computed: 64, found: 128 });
    const again = await distill(net(7, 4), options);
    expect(again.answers).toEqual({ computed: 0, found: 192 });
    const inStep = await distill(net(7, 4), { ...options, cache: false });
    expect(again.history).toMatchObject(first.history.map(({ loss }) => ({ loss })));
    expect(inStep.history.map(({ loss }) => loss.toPrecision(4))).toEqual(
      first.history.map(({ loss }) => loss.toPrecision(4)),
    );
    expect(inStep.notes.join("\n")).toContain("The teacher ran in the graph of the step.");
    // Augmented pictures are others in each epoch; the same seed brings the same ones back.
    const augmented = {
      ...options,
      augment: { crop: 1, brightness: 0.2 },
      pixels,
      cache: join(folder, "augmented.safetensors"),
    };
    expect((await distill(net(7, 4), augmented)).answers).toEqual({ computed: 192, found: 0 });
    expect((await distill(net(8, 3), augmented)).answers).toEqual({ computed: 0, found: 192 });
    expect((await distill(net(8, 3), { ...augmented, seed: 1 })).answers?.computed).toBeGreaterThan(150);
    // Examples that were left over by one epoch are all that the next one asks for.
    const odd = { ...options, cache: true, data: pictures(60, 4) };
    expect((await distill(net(7, 4), odd)).answers?.computed).toBeLessThanOrEqual(60);
    const views = { ...options, cache: true, augment: { crop: 1, brightness: 0.2, views: 2 }, pixels };
    expect((await distill(net(7, 4), views)).answers).toEqual({ computed: 128, found: 64 });
    const other = await distill(net(7, 4), { ...options, teacher: net(2, 3), alpha: 1 });
    expect(other.answers).toEqual({ computed: 64, found: 128 });
  });

  it("learns from a teacher that sees the same pictures in another size", async () => {
    const large = net(4, 8, { side: 12 });
    const trained = (await train(large, { ...some, epochs: 5, data: pictures(240, 0, 12) })).model;
    const seen = { data: unlabelled(pictures(160, 3)), teacherData: pictures(160, 3, 12) };
    const options = { ...some, epochs: 6, teacher: trained, ...seen };
    await expect(distill(net(7, 4), { ...options, augment: { mixup: 0.2 } })).rejects.toThrow("cannot answer to mixed");
    const { model, notes, teacherMetrics } = await distill(net(7, 4), options);
    const { metrics } = await evaluate(model, pictures(120, 9));
    expect(metrics.accuracy).toBeGreaterThan(0.85);
    expect(teacherMetrics.accuracy).toBeGreaterThan(0.85);
    expect(notes.join("\n")).toContain("kept in memory");
    expect(notes.join("\n")).toMatch(/The teacher is at accuracy \d+\.\d\d %/);
  });

  it("takes probabilities for what they are, whatever computes them, and averages several teachers", async () => {
    const options = { ...some, epochs: 1, data: pictures(64, 2), alpha: 1, schedule: constant(0), freeze: ["bn1*"] };
    const lossOf = async (given: DistillOptions["teacher"]) =>
      (await distill(net(7, 4), { ...options, teacher: given })).history[0]?.loss as number;
    const scores = net(2, 3);
    const hidden = net(2, 3, { end: (n, x) => n.op("Mul", [n.op("Softmax", [x]), n.scalar(1)]) });
    const loss = await lossOf(scores);
    // Inner values are compared with the first of several teachers, whatever the others look like.
    const several = { ...options, teacher: [scores, net(3, 5)], losses: [softTargets(), hints()] };
    expect((await distill(net(7, 4), several)).history).toHaveLength(1);
    for (const given of [hidden, [scores, hidden]])
      expect(Math.abs((await lossOf(given)) - loss)).toBeLessThan(1e-4 * loss);
  });

  it("lets a float model teach what was quantized from it, by itself and with no label", async () => {
    const [data, test] = [unlabelled(pictures(120, 3)), pictures(120, 9)];
    const aware = (await quantizationAware({ data: data.take(32), weightType: "int4" }).run(teacher)).model;
    const options = {
      ...some,
      alpha: 1,
      cache: false,
      schedule: constant(0.005),
      clipNorm: 1,
      losses: [softTargets({ temperature: 1 })],
    };
    const { model, history, notes } = await distill(aware, { ...options, teacher, data, validation: unlabelled(test) });
    const [start, end] = [history[0]?.metrics.loss as number, history.at(-1)?.metrics.loss as number];
    expect(end).toBeLessThan(start);
    expect(notes).toContain("The teacher ran in the graph of the step.");
    const { metrics } = await evaluate((await freezeQuantized().run(model)).model, test);
    const float = await evaluate(teacher, test);
    expect(metrics.accuracy).toBeGreaterThan((float.metrics.accuracy as number) - 0.03);
  });

  it("says when the student is better than its teacher, and which classes have no example", async () => {
    const all = pictures(90, 5);
    const kept = [...Array(90).keys()].filter((i) => all.labels?.[i] !== 2);
    const { notes } = await distill(teacher, {
      ...some,
      epochs: 1,
      teacher: net(2, 3),
      data: all.subset(kept),
      validation: all,
    });
    expect(notes.join("\n")).toContain("The student is better than its teacher before anything is learned: accuracy");
    expect(notes.join("\n")).toContain("No example of class 2");
  });

  it("says what is wrong with teachers, students and what is compared", async () => {
    const data = pictures(32);
    const weights = new Map(teacher.graph.weights);
    weights.set("fc.bias", float32s((weights.get("fc.bias") as Tensor).shape, [0, Number.NaN, 0]));
    const broken: Model = { ...teacher, graph: { ...teacher.graph, weights } };
    const pairs = [{ student: "nowhere", teacher: "scores" }];
    const named = (model: Model, labels: string): Model => ({ ...model, metadata: new Map([["labels", labels]]) });
    const other = distill(named(net(7, 4), '["left","right"]'), {
      ...some,
      data,
      teacher: named(teacher, "left\nmiddle"),
    });
    await expect(other).rejects.toThrow('number 1 is "right" there and "middle" here');
    const wrong: [Partial<DistillOptions>, string][] = [
      [{ teacher: net(2, 4, { out: 5 }) }, 'The student answers [16,3], and its teacher "teacher" [16,5].'],
      [{ teacher: broken }, 'The teacher "teacher" answers 32 of 32 examples with numbers that are none'],
      [{ teacher: [] }, "There is no teacher."],
      [{ teacher: net(2, 4, { side: 12 }) }, 'the model\'s input "image" takes float32 [1,12,12]'],
      [{ freeze: ["*"] }, "None of its"],
      [{ losses: [hints({ pairs })] }, 'The student has no value "nowhere".'],
      [{ alpha: 2 }, "The teacher's share is 2."],
    ];
    for (const [options, words] of wrong)
      await expect(distill(net(7, 4), { ...some, teacher, data, ...options }), words).rejects.toThrow(words);
  });
});
