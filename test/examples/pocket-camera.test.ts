import { mkdir, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { inputOf, LEARNED, ranked } from "../../examples/pocket-camera/look.mjs";
import { evaluate, imageFolder, load, resolvePreprocess } from "../../src/index.ts";
import { random } from "../../src/numeric/random.ts";
import { rowsIn, run } from "./process.ts";

let folder: string;
let ran: Awaited<ReturnType<typeof run>>;
const at = (name: string) => join(folder, name);

/** Pictures of two kinds: warm noise and cold noise. */
async function writePictures() {
  const next = random(1);
  for (const part of ["train", "test"])
    for (const [kind, colour] of Object.entries({ cold: [40, 80, 200], warm: [210, 90, 30] })) {
      await mkdir(at(`pictures/${part}/${kind}`), { recursive: true });
      for (let i = 0; i < (part === "train" ? 24 : 12); i++) {
        const data = Uint8Array.from(
          { length: 3 * LEARNED ** 2 },
          (_, k) => (colour[k % 3] as number) + 90 * next() - 45,
        );
        const raw = { width: LEARNED, height: LEARNED, channels: 3 } as const;
        await sharp(data, { raw })
          .jpeg()
          .toFile(at(`pictures/${part}/${kind}/${i}.jpg`));
      }
    }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-camera-"));
  await writePictures();
  ran = await run("pocket-camera/make.mjs", [at("pictures"), "--quick", "--out", folder]);
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the pocket camera", () => {
  it("is made from class folders to a table, whose figures are those of the files", async () => {
    expect(ran.code, ran.err).toBe(0);
    const rows = rowsIn(ran.out);
    expect([...rows.keys()]).toEqual(["teacher", "student, taught", "… in 8 bits"]);
    const bytes = (row: string) => Number(rows.get(row)?.["bytes"]?.replaceAll(" ", ""));
    expect(bytes("… in 8 bits")).toBe((await stat(at("camera.onnx"))).size);
    expect(bytes("… in 8 bits")).toBeLessThan(0.3 * bytes("student, taught"));
    const test = await imageFolder(at("pictures/test"), { preprocess: "imagenet" });
    const { metrics } = await evaluate(await load(at("camera.onnx")), test);
    expect(rows.get("… in 8 bits")?.["accuracy"]).toBe(`${(100 * (metrics.accuracy as number)).toFixed(2)} %`);
    expect(JSON.parse(await readFile(at("classes.json"), "utf8"))).toEqual(["cold", "warm"]);
  });

  it("tells what pictures show", async () => {
    const paths = [at("pictures/test/cold/0.jpg"), at("pictures/test/warm/0.jpg")];
    const { code, out, err } = await run("pocket-camera/use.mjs", [...paths, "--made", folder]);
    expect(code, err).toBe(0);
    expect(
      out
        .split("\n")
        .slice(0, 2)
        .every((line) => /: (?:cold|warm) \(\d+\.\d %\), else /.test(line)),
    ).toBe(true);
  });

  it("scales what it looks at as its training did", async () => {
    const test = await imageFolder(at("pictures/test"), { preprocess: "imagenet" });
    const shape = [1, 3, 64, 64];
    const first = await test.prepare?.(undefined, shape).at(0);
    const path = first !== undefined && "name" in first ? `${first.name}` : "";
    const data = await sharp(at(join("pictures/test", path)))
      .raw()
      .toBuffer();
    const input = inputOf({ width: LEARNED, height: LEARNED, data });
    expect(input.shape).toEqual(shape);
    expect(first !== undefined && "feeds" in first && first.feeds["input"]?.data).toEqual(input.data);
    expect(resolvePreprocess({ preset: "imagenet" }, shape).size).toEqual([64, 64]);
  });

  it("ranks classes by their probabilities, which are one in sum", () => {
    const answers = ranked([1, 3, 2], ["a", "b", "c"]);
    expect(answers.map(({ name }: { name: string }) => name)).toEqual(["b", "c", "a"]);
    expect(answers.reduce((sum: number, { share }: { share: number }) => sum + share, 0)).toBeCloseTo(1);
    expect(answers[0].share / answers[1].share).toBeCloseTo(Math.E);
  });
});
