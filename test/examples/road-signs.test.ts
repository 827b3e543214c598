import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript without types
import { findSigns, inputOf, shrink } from "../../examples/road-signs/find.mjs";
// @ts-expect-error plain JavaScript without types
import { CLASSES, drawExamples, drawScene, SIDE } from "../../examples/road-signs/signs.mjs";
import { arrays, evaluate, load, openSession } from "../../src/index.ts";
import { rowsIn, run } from "./process.ts";

let made: string;
let ran: Awaited<ReturnType<typeof run>>;

beforeAll(async () => {
  made = await mkdtemp(join(tmpdir(), "minnow-signs-"));
  ran = await run("road-signs/make.mjs", ["--quick", "--out", made]);
}, 60_000);
afterAll(() => rm(made, { recursive: true, force: true }));

/** The part of a picture that begins at a place. */
function crop({ width, data }: { width: number; data: Uint8Array }, left: number, top: number) {
  const rows = Array.from({ length: SIDE }, (_, y) => {
    const from = 3 * ((top + y) * width + left);
    return [...data.subarray(from, from + 3 * SIDE)];
  });
  return { width: SIDE, height: SIDE, data: Uint8Array.from(rows.flat()) };
}

describe("the road signs", () => {
  it("are learned from drawn pictures to a table, whose figures are those of the files", async () => {
    expect(ran.code, ran.err).toBe(0);
    const rows = rowsIn(ran.out);
    expect([...rows.keys()]).toEqual(["teacher", "student alone", "student, taught", "… in 8 bits"]);
    const small = rows.get("… in 8 bits") as Record<string, string>;
    const bytes = (row: string) => Number(rows.get(row)?.["bytes"]?.replaceAll(" ", ""));
    expect(bytes("… in 8 bits")).toBe((await stat(join(made, "signs.onnx"))).size);
    expect(bytes("… in 8 bits")).toBeLessThan(0.4 * bytes("student, taught"));
    const test = arrays(drawExamples(46, 2), { labels: CLASSES, preprocess: { preset: "tf", size: SIDE } });
    const { metrics } = await evaluate(await load(join(made, "signs.onnx")), test);
    expect(small["accuracy"]).toBe(`${(100 * (metrics.accuracy as number)).toFixed(2)} %`);
    expect(small["found"]).toMatch(/^\d+\.\d\d %$/);
  });

  it("are judged by a net that slides: what it says at a place of a picture is what it says of that part alone", async () => {
    const session = await openSession(join(made, "signs.float.onnx"));
    const say = async (picture: object) => (await session.run({ input: inputOf(picture) }))["scores"];
    const road = drawScene(3, { width: 72, height: 56 });
    const all = await say(road);
    expect(all?.shape).toEqual([1, CLASSES.length, 7, 11]);
    for (const [column, row] of [
      [0, 0],
      [5, 2],
      [10, 6],
    ] as const) {
      const alone = await say(crop(road, 4 * column, 4 * row));
      for (let c = 0; c < CLASSES.length; c++)
        expect(all?.data[c * 77 + row * 11 + column]).toBeCloseTo(alone?.data[c] as number, 4);
    }
    await session.close();
  });

  it("are found where a net is sure of them, at each size, and once", async () => {
    const road = drawScene(5);
    const [left, top, by] = [80, 64, 0.8 ** 2];
    // A net that is sure of class 3 where a picture of one size is brightest, and of "no sign" elsewhere.
    const net = async ({ shape }: { shape: readonly number[] }) => {
      const [rows, columns] = [(shape[2] as number) / 4 - 7, (shape[3] as number) / 4 - 7].map(Math.floor) as [
        number,
        number,
      ];
      const data = new Float32Array(CLASSES.length * rows * columns).fill(-20);
      const place =
        shape[3] === Math.floor(road.width * by) ? [0, 1].map((k) => (top / 4) * columns + left / 4 + k) : [];
      for (let i = 0; i < rows * columns; i++) data[(place.includes(i) ? 3 : 0) * rows * columns + i] = 20;
      return { data, shape: [1, CLASSES.length, rows, columns] };
    };
    const [box, ...others] = await findSigns(net, road);
    expect(others).toEqual([]);
    expect(box.name).toBe(CLASSES[3]);
    expect(box.sure).toBeCloseTo(1);
    expect(box.x).toBeCloseTo((left + SIDE / 2) / by);
    expect(box.y).toBeCloseTo((top + SIDE / 2) / by);
  });

  it("are drawn alike for a seed, and differently for another", () => {
    const { x, y } = drawExamples(23, 1);
    expect(drawExamples(23, 1).x.data).toEqual(x.data);
    expect(drawExamples(23, 2).x.data).not.toEqual(x.data);
    expect(new Set(y).size).toBe(CLASSES.length);
    const { signs, ...road } = drawScene(9);
    expect(signs.length).toBeGreaterThan(0);
    for (const { name } of signs) expect(CLASSES).toContain(name);
    const half = shrink(road, 0.5);
    expect([half.width, half.height, half.data.length]).toEqual([160, 104, 160 * 104 * 3]);
    const mean = (data: Uint8Array) => data.reduce((a, b) => a + b, 0) / data.length;
    expect(Math.abs(mean(half.data) - mean(road.data))).toBeLessThan(1);
  });

  it("are named in a picture by a script, which leaves the picture with boxes", async () => {
    const { code, out, err } = await run("road-signs/use.mjs", ["--made", made]);
    expect(code, err).toBe(0);
    expect(out).toMatch(/^(?:No sign found\.|[\w ]+, \d+\.\d % sure, \d+ pixels wide at \d+, \d+)\n/);
    expect((await stat(join(made, "found.png"))).size).toBeGreaterThan(1000);
  });
});
