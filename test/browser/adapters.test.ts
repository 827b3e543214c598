import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Net } from "../../dist/architectures/index.js";
import type { TensorData } from "../../dist/ir/index.js";
import { toBytes } from "../../dist/onnx/index.js";
import { openSession } from "../../dist/runtime/index.js";
import { adapterOf, addLora, loraInputs, mergeLora } from "../../dist/train/index.js";
import { bundle, pageOf, serve } from "./serve.ts";

const PAGE = `
import { openSession } from "./dist/runtime/index.js";
const tensor = ({ shape, data }) => ({ dtype: "float32", shape, data: Float32Array.from(data) });
window.answer = async (bytes, calls) => {
  const session = await openSession(Uint8Array.from(bytes));
  const answers = [];
  for (const feeds of calls) {
    const given = Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, tensor(value)]));
    answers.push(Array.from((await session.run(given)).scores.data));
  }
  return answers;
};
window.ready = true;
`;

type Plain = Record<string, { shape: number[]; data: number[] }>;

interface Global {
  answer(bytes: number[], calls: Plain[]): Promise<number[][]>;
}

let browser: Browser;
let page: Page;
let site: Awaited<ReturnType<typeof serve>>;

beforeAll(async () => {
  site = await serve({ "/": pageOf(await bundle(PAGE)) });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking", "--no-first-run"],
  });
  page = await browser.newPage();
  await page.goto(site.url);
  await page.waitForFunction("window.ready === true");
});

afterAll(async () => {
  await browser?.close();
  site?.close();
});

const plain = (feeds: Readonly<Record<string, TensorData>>): Plain =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { shape, data }]) => [
      name,
      { shape: [...shape], data: [...(data as Float32Array)] },
    ]),
  );

function net() {
  const n = new Net({ seed: 4 });
  const x = n.relu(n.linear(n.input("x", ["N", 6]), { name: "first", out: 8 }));
  return n.model({ scores: n.linear(x, { name: "last", out: 3 }) }, "net");
}

/** An adapter whose second factors are no zeros. */
async function adapter(r: number, seed: number) {
  const made = await addLora(net(), { r, loraAlpha: 2 * r, targetModules: ["first", "last"] }, { seed });
  const { config, modules } = await adapterOf(made.model, made.adapter);
  for (const { b } of modules.values()) b.data.set(b.data.map((_, i) => Math.sin(i + seed)));
  return { config, modules };
}

describe("one model with its adapters as inputs", () => {
  it("answers in a page, call by call, as each merged model does in Node", async () => {
    const x: TensorData = {
      dtype: "float32",
      shape: [2, 6],
      data: Float32Array.from({ length: 12 }, (_, i) => Math.cos(i)),
    };
    const adapters = [await adapter(2, 1), await adapter(5, 2)];
    const { model, feeds, none } = loraInputs(net(), { r: 2, targetModules: ["first", "last"] });
    const calls = [none, ...(await Promise.all(adapters.map(feeds)))].map((more) => plain({ x, ...more }));
    const there = await page.evaluate(([bytes, given]) => (globalThis as unknown as Global).answer(bytes, given), [
      [...(await toBytes(model))],
      calls,
    ] as [number[], Plain[]]);
    const models = [net(), ...adapters.map((a) => mergeLora(net(), a))];
    for (const [i, merged] of models.entries()) {
      const session = await openSession(merged);
      const here = (await session.run({ x }))["scores"]?.data as Float32Array;
      await session.close();
      for (const [k, value] of here.entries()) expect(there[i]?.[k]).toBeCloseTo(value, 4);
    }
    expect(there[1]).not.toEqual(there[0]);
  });
});
