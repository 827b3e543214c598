import { describe, expect, it } from "vitest";
import { float32s } from "../ir/index.ts";
import { random } from "../numeric/random.ts";
import { type Grid, matrixOf, type Rounding } from "./blocks.ts";
import { Packer, packBlocks } from "./packed.ts";
import { roundToNearest } from "./rounding/rtn.ts";
import { isStriped } from "./strips.ts";

/** The same rounding under another name, which goes block by block. */
const blockByBlock: Rounding = (...all) => roundToNearest(...all);

const drawn = (rows: number, columns: number, seed: number): Float32Array => {
  const next = random(seed);
  return Float32Array.from({ length: rows * columns }, () => {
    const value = 2 * next() - 1;
    return next() < 0.02 ? 0 : value ** 3 * 10 ** (4 * next() - 2);
  });
};

const packed = async (values: Float32Array, rows: number, columns: number, grid: Grid, rounding: Rounding) => {
  const matrix = matrixOf("w", float32s([columns, rows], values), true);
  expect(isStriped(matrix, grid)).toBe(true);
  const { levels, scales } = await packBlocks(new Packer(2 ** 20), { matrix, grid, rounding });
  return { levels: await levels.read(), scales: await scales.read() };
};

describe("rounding a turned matrix in strips", () => {
  it("gives the bits of rounding it block by block, at any size, a block of zeros and ties of sign among them", async () => {
    for (const [i, [rows, columns, blockSize]] of (
      [
        [1, 16, 16],
        [3, 64, 32],
        [257, 32, 16],
        [514, 96, 32],
        [1030, 64, 64],
      ] as const
    ).entries())
      for (const bits of [4, 8] as const) {
        const values = drawn(rows, columns, i);
        for (let c = 0; c < blockSize; c++) values[c * rows] = 0;
        if (rows > 1) for (let c = 0; c < blockSize; c++) values[c * rows + 1] = c % 2 === 0 ? 0.5 : -0.5;
        const grid = { bits, symmetric: true, blockSize };
        const strips = await packed(values, rows, columns, grid, roundToNearest);
        expect(strips).toEqual(await packed(values, rows, columns, grid, blockByBlock));
      }
  });

  it("names the first number that is not finite", async () => {
    for (const broken of [Number.NaN, Infinity, -Infinity]) {
      const values = drawn(300, 64, 1);
      values[40 * 300 + 299] = broken;
      const grid = { bits: 4, symmetric: true, blockSize: 32 } as const;
      await expect(packed(values, 300, 64, grid, roundToNearest)).rejects.toMatchObject({
        code: "quantize/broken-weight",
        message: expect.stringContaining(`${broken} at element ${40 * 300 + 299}`),
      });
    }
  });
});
