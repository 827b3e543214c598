import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { prepareDigits } from "../../examples/digits/data.mjs";
import { Net } from "../../src/architectures/index.ts";
import { save } from "../../src/onnx/index.ts";
import { minnow } from "./run.ts";

let folder: string;
const at = (name: string) => join(folder, name);
const common = ["--preprocess", "unit", "--batch", "30", "--json", "--quiet"];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-distill-"));
  await prepareDigits(at("digits"));
  for (const [name, width] of [
    ["large", 12],
    ["small", 5],
  ] as const) {
    const net = new Net({ seed: 3 });
    const half = { kernel: 2, stride: 2, padding: 0 };
    let x = net.input("image", ["N", 1, 28, 28]);
    x = net.relu(
      net.batchNorm(net.conv(net.maxPool(x, half), { name: "conv", out: width, kernel: 3 }), { name: "bn" }),
    );
    x = net.flatten(net.maxPool(x, half));
    await save(net.model({ scores: net.linear(x, { name: "fc", out: 10 }) }, "net"), at(`${name}.onnx`));
  }
  const learned = ["--data", at("digits"), "--limit", "600", "--epochs", "5", "-o", at("teacher.onnx")];
  expect((await minnow("train", at("large.onnx"), ...learned, ...common)).code).toBe(0);
  // A folder without classes.
  await mkdir(at("unlabelled"));
  for (const digit of await readdir(at("digits/train")))
    for (const file of (await readdir(at(`digits/train/${digit}`))).slice(0, 40))
      await cp(at(`digits/train/${digit}/${file}`), at(`unlabelled/${digit}-${file}`));
}, 90_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const distill = (...more: string[]) => minnow("distill", "--teacher", at("teacher.onnx"), ...more, ...common);

describe("distill", () => {
  it("teaches a student from pictures without labels, and keeps the teacher's answers", async () => {
    const options = ["--student", at("small.onnx"), "--data", at("unlabelled"), "--cache", at("answers.safetensors")];
    const { code, out, err } = await distill(...options, "--epochs", "8", "-o", at("a.onnx"));
    expect(code, err).toBe(0);
    expect(JSON.parse(out).epochs).toHaveLength(8);
    const judged = ["--data", at("digits/test"), "--limit", "500", "--preprocess", "unit", "--json"];
    const evaluated = await minnow("evaluate", at("a.onnx"), ...judged);
    expect(JSON.parse(evaluated.out).metrics.accuracy).toBeGreaterThan(0.7);
    expect(await readdir(folder)).toContain("answers.safetensors");
    expect(await readFile(at("a.report.html"), "utf8")).toContain("minnow distill");
  });

  it("learns from labels and several losses, and says their weights", async () => {
    const options = ["--student", at("small.onnx"), "--data", at("digits"), "--limit", "300", "--epochs", "2"];
    const { code, out, err } = await minnow(
      ...["distill", "--teacher", at("teacher.onnx"), ...options, "--losses", "soft,attention,relational=0.1"],
      ...["--preprocess", "unit", "--batch", "30", "--augment", "crop=2", "--json", "-o", at("b.onnx")],
    );
    expect(code, err).toBe(0);
    expect(err).toMatch(/Weights: softTargets 1\.00, attentionTransfer [\d.e+]+, relational 0\.100\./);
    expect(err).toContain("The teacher answers in every step: pictures are augmented");
    expect(JSON.parse(out).after.parameters).toBe(JSON.parse(out).before.parameters);
  });

  it("makes a student of the teacher, a part of its width", async () => {
    const options = ["--student", "macs=60%,round=2", "--data", at("digits"), "--limit", "300", "--epochs", "1"];
    const { code, out, err } = await distill(...options, "-o", at("c.onnx"));
    expect(code, err).toBe(0);
    const { after } = JSON.parse(out);
    const whole = JSON.parse((await minnow("inspect", at("teacher.onnx"), "--json")).out);
    expect(after.macs).toBeLessThanOrEqual(0.6 * whole.macs);
    expect(after.metrics.accuracy).toBeGreaterThan(0.5);
  });

  it("says what is missing or wrong on the command line", async () => {
    const data = ["--data", at("digits")];
    const cases: [string[], string][] = [
      [["distill", "--student", at("small.onnx"), ...data], "--teacher is missing."],
      [["distill", "--teacher", at("teacher.onnx"), ...data], "--student is missing."],
      [["distill", "--teacher", at("teacher.onnx"), "--student", "resnet2", ...data], "no net of that name"],
      [
        ["distill", "--teacher", at("teacher.onnx"), "--student", "x", "--losses", "hard", ...data],
        '--losses has "hard".',
      ],
    ];
    for (const [words, said] of cases) {
      const { code, err } = await minnow(...words);
      expect([code, err.includes(said)], err).toEqual([2, true]);
    }
  });
});
