/**
 * `node examples/road-signs/use.mjs [PICTURE]` names the signs in a picture, or in a road that it draws, and leaves found.png beside
 * the net with a box around each.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openSession } from "minnow";
import sharp from "sharp";
import { findSigns } from "./find.mjs";
import { drawScene } from "./signs.mjs";

async function read(path) {
  const resized = sharp(path).rotate().resize({ width: 400, height: 400, fit: "inside", withoutEnlargement: true });
  const { data, info } = await resized.removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { made: { type: "string", default: fileURLToPath(new URL("made", import.meta.url)) } },
});
const [path] = positionals;
const { width, height, data } = path === undefined ? drawScene(Date.now() % 100_000) : await read(path);
const session = await openSession(`${values.made}/signs.onnx`);
const boxes = await findSigns(async (input) => (await session.run({ input })).scores, { width, height, data });
await session.close();
for (const { name, sure, x, y, size } of boxes)
  console.log(
    `${name}, ${(100 * sure).toFixed(1)} % sure, ${size.toFixed(0)} pixels wide at ${x.toFixed(0)}, ${y.toFixed(0)}`,
  );
if (boxes.length === 0) console.log("No sign found.");
const frame = ({ x, y, size }) =>
  `<rect x="${x - 0.6 * size}" y="${y - 0.6 * size}" width="${1.2 * size}" height="${1.2 * size}" fill="none" stroke="#ffd43b" stroke-width="2"/>`;
const frames = Buffer.from(`<svg width="${width}" height="${height}">${boxes.map(frame).join("")}</svg>`);
await sharp(data, { raw: { width, height, channels: 3 } })
  .composite([{ input: frames }])
  .png()
  .toFile(`${values.made}/found.png`);
