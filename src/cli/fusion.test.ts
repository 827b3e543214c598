import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { randomExamples } from "../measure/index.ts";
import { load } from "../onnx/index.ts";
import { quantizeStatic } from "../quantize/index.ts";
import { unfusedNodes } from "./fusion.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

describe("what does not fuse", () => {
  it("is nothing in a net as quantizeStatic makes it, is listed where a range goes beyond a Relu, and not where it was excluded", async () => {
    const model = await load(DIGITS);
    const data = randomExamples(model);
    const usual = await quantizeStatic({ data }).run(model);
    expect(await unfusedNodes(usual.model)).toEqual([]);
    const symmetric = await quantizeStatic({ data, activationType: "int8", activationSymmetric: true }).run(model);
    const listed = await unfusedNodes(symmetric.model);
    expect(listed.some((title) => title.startsWith("Conv"))).toBe(true);
    const names = listed.map((title) => /"(.*)"/.exec(title)![1]!);
    expect(await unfusedNodes(symmetric.model, names)).toEqual([]);
  });
});
