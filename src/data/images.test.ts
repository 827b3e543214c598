import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeImage } from "../platform.node.ts";
import { batches } from "./batches.ts";
import { isSkipped } from "./dataset.ts";
import { imageFiles, imageFolder, openImageFolder } from "./images.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "minnow-images-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Red, green and blue that differ from pixel to pixel. */
const pixels = (width: number, height: number, channels: number) =>
  Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 37 + Math.floor(i / 7)) % 256);
const picture = (width = 8, height = 6, channels: 1 | 3 | 4 = 3) =>
  sharp(pixels(width, height, channels), { raw: { width, height, channels } });

/** Writes files below a new folder: pictures where nothing is given. */
async function folder(name: string, files: Readonly<Record<string, Uint8Array | undefined>>): Promise<string> {
  const path = join(root, name);
  await mkdir(path);
  for (const [below, bytes] of Object.entries(files)) {
    await mkdir(join(path, below.endsWith("/") ? below : dirname(below)), { recursive: true });
    if (!below.endsWith("/")) await writeFile(join(path, below), bytes ?? (await picture().png().toBuffer()));
  }
  return path;
}
const size = { preprocess: { size: 4 } };

describe("a folder of class folders", () => {
  it("gives labels in the order of the alphabet, hidden and other files left out", async () => {
    const path = await folder("classes", {
      "cat/1.png": undefined,
      "cat/deep/2.PNG": undefined,
      "ant/1.png": undefined,
      "ant/.hidden.png": undefined,
      ".cache/1.png": undefined,
      "cat/notes.txt": Uint8Array.of(1),
      "stray.png": undefined,
    });
    const { data, how } = await openImageFolder(path, size);
    const names = await Promise.all([0, 1, 2].map(async (i) => (await data.at(i)).name));
    expect(names.toSorted()).toEqual(["ant/1.png", "cat/1.png", "cat/deep/2.PNG"]);
    expect(data.classes).toEqual(["ant", "cat"]);
    expect(data.labels).toEqual(names.map((name) => (name?.startsWith("cat") ? 1 : 0)));
    expect(how).toBe("3 images in 2 classes (matched alphabetically); 1 outside the class folders are left out");
  });

  it("may lie in a folder of its own, as archives are unpacked", async () => {
    const path = await folder("unpacked", {
      "pets/photos/cat/1.png": undefined,
      "pets/photos/ant/1.png": undefined,
      "pets/photos/ant/2.png": undefined,
      "pets/README.txt": Uint8Array.of(1),
    });
    const { data } = await openImageFolder(path, size);
    expect(data.classes).toEqual(["ant", "cat"]);
    expect(data.labels?.toSorted()).toEqual([0, 0, 1]);
    const parts = await folder("unpacked parts", {
      "pets/train/ant/1.png": undefined,
      "pets/val/ant/1.png": undefined,
    });
    expect([...(await openImageFolder(parts, size)).parts.keys()]).toEqual(["train", "val"]);
    const single = await folder("one class", { "ant/1.png": undefined, "ant/2.png": undefined });
    expect((await openImageFolder(single, size)).data.classes).toEqual(["ant"]);
  });

  it("is matched to the model's labels by name", async () => {
    const path = await folder("named", { "tabby_cat/1.png": undefined, "Ant/1.png": undefined });
    const data = await imageFolder(path, { ...size, labels: ["background", "ant, emmet", "tabby, tabby cat"] });
    expect(data.labels?.toSorted()).toEqual([1, 2]);
    expect(data.classes?.[2]).toBe("tabby, tabby cat");
  });

  it("stands in an order in which every beginning is a fair sample", async () => {
    const files = Array.from({ length: 40 }, (_, i) => [`${i < 20 ? "a" : "b"}/${i}.png`, undefined] as const);
    const path = await folder("fair", Object.fromEntries(files));
    const data = await imageFolder(path, size);
    expect(data.take(10).labels?.filter((label) => label === 0)).toHaveLength(5);
    expect((await imageFolder(path, size)).labels).toEqual(data.labels);
    expect(await (await imageFolder(path, { ...size, seed: 1 })).at(0)).not.toEqual(await data.at(0));
  });

  it("may lie behind links", async () => {
    const path = await folder("links", { "a/1.png": undefined });
    await symlink(join(path, "a"), join(path, "b"));
    expect((await imageFolder(path, size)).size).toBe(2);
  });

  it("with damaged pictures skips those and says which", async () => {
    const jpeg = await picture(64, 64).jpeg().toBuffer();
    const path = await folder("damaged", {
      "a/good.jpg": jpeg,
      "a/cut.jpg": jpeg.subarray(0, jpeg.length * 0.9),
      "a/empty.png": new Uint8Array(0),
      "a/text.png": new TextEncoder().encode("no picture"),
    });
    for await (const batch of batches(await imageFolder(path, size), 8)) {
      expect(batch.indices).toHaveLength(1);
      expect(batch.skipped.map((s) => s.name).toSorted()).toEqual(["a/cut.jpg", "a/empty.png", "a/text.png"]);
    }
  });
});

describe("a folder divided into train, val and test", () => {
  it("is all of it, or the part that is asked for", async () => {
    const path = await folder("divided", {
      "train/a/1.png": undefined,
      "train/b/1.png": undefined,
      "validation/a/1.png": undefined,
      "test/b/1.png": undefined,
    });
    const { data, parts, how } = await openImageFolder(path, size);
    expect([data.size, ...[...parts].map(([name, part]) => `${name} ${part.size}`)]).toEqual([
      4,
      "train 2",
      "val 1",
      "test 1",
    ]);
    expect(how).toBe("4 images in 2 classes (matched alphabetically): train 2, val 1, test 1");
    expect(await (await imageFolder(path, { ...size, split: "test" })).at(0)).toMatchObject({
      name: "test/b/1.png",
      label: 1,
    });
    await expect(imageFolder(path, { split: "holdout" })).rejects.toThrow("There are train, val, test.");
  });
});

describe("a flat folder", () => {
  it("has no labels", async () => {
    const data = await imageFolder(await folder("flat", { "1.png": undefined, "2.png": undefined }), size);
    expect([data.size, data.labels, data.classes]).toEqual([2, undefined, undefined]);
    expect(await data.at(0)).not.toHaveProperty("label");
  });
});

describe("a folder that will not do", () => {
  it("is missing", () => expect(imageFolder(join(root, "nowhere"))).rejects.toThrow("There is no such folder. Check"));
  it("is a file", async () => {
    const path = await folder("file", { "1.png": undefined });
    await expect(imageFolder(join(path, "1.png"))).rejects.toThrow("It is a file, not a folder.");
  });
  it("holds no images", async () => {
    await expect(imageFolder(await folder("empty", { "a/": undefined, "b/x.txt": Uint8Array.of(1) }))).rejects.toThrow(
      "There are no images in it. Give a folder with one folder",
    );
  });
  it("has an empty class", async () => {
    await expect(imageFolder(await folder("hole", { "a/1.png": undefined, "b/": undefined }))).rejects.toThrow(
      'The class folder "b" holds no images. Put images into it or remove it.',
    );
  });
  it("needs a size before it can be read", async () => {
    const data = await imageFolder(await folder("sizeless", { "1.png": undefined }));
    await expect(data.at(0)).rejects.toThrow("size: 224");
    const prepared = data.prepare?.({ preset: "raw" }, ["N", 1, 5, 7]);
    expect(await prepared?.at(0)).toMatchObject({ feeds: { input: { shape: [1, 5, 7] } } });
  });
});

describe("a chosen folder in a page", () => {
  it("is the same dataset", async () => {
    const bytes = new Uint8Array(await picture().png().toBuffer());
    const files = ["photos/b/1.png", "photos/a/1.png", "photos/a/.x.png"].map((path) => {
      const file = new File([bytes], path.split("/").at(-1) as string);
      return Object.defineProperty(file, "webkitRelativePath", { value: path });
    });
    const data = imageFiles(files, size);
    expect([data.size, data.classes]).toEqual([2, ["a", "b"]]);
    expect(isSkipped(await data.at(0))).toBe(false);
  });
});

describe("a picture", () => {
  const rgb = pixels(8, 6, 3);
  it.each(["png", "webp"] as const)("comes back from %s as it was", async (format) => {
    const image = await decodeImage(await picture().toFormat(format, { lossless: true }).toBuffer());
    expect([image.width, image.height, image.channels]).toEqual([8, 6, 3]);
    expect(Uint8Array.from(image.data)).toEqual(rgb);
  });

  it("in grey has three equal channels", async () => {
    const { channels, data } = await decodeImage(await picture(8, 6, 1).toColourspace("b-w").png().toBuffer());
    expect(channels).toBe(3);
    expect(Uint8Array.from(data)).toEqual(
      Uint8Array.from({ length: 144 }, (_, i) => pixels(8, 6, 1)[Math.floor(i / 3)] as number),
    );
  });

  it("with 16 bits keeps the upper 8", async () => {
    const raw = Uint16Array.from({ length: 48 }, (_, i) => i * 1300);
    const png = await sharp(raw, { raw: { width: 8, height: 6, channels: 1 } })
      .toColourspace("grey16")
      .png()
      .toBuffer();
    const { data } = await decodeImage(png);
    expect(data.filter((_, i) => i % 3 === 0)).toEqual(Buffer.from(raw.map((v) => v >> 8)));
  });

  it("that is transparent lies on white", async () => {
    const clear = Uint8Array.of(10, 20, 30, 0, 10, 20, 30, 255, 100, 0, 255, 128, 0, 0, 0, 1);
    const png = await sharp(clear, { raw: { width: 4, height: 1, channels: 4 } })
      .png()
      .toBuffer();
    const expected = [255, 255, 255, 10, 20, 30, 50 + 127, 127, 128 + 127, 254, 254, 254];
    expect([...(await decodeImage(png)).data]).toEqual(expected);
  });

  it("in CMYK becomes red, green and blue as Pillow has it", async () => {
    const cmyk = picture(8, 6).toColourspace("cmyk").jpeg({ quality: 100 });
    const bytes = await cmyk.toBuffer();
    const ink = await sharp(bytes).pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer();
    const { channels, data } = await decodeImage(bytes);
    const expected = Array.from({ length: 144 }, (_, i) => {
      const [colour, black] = [
        ink[Math.floor(i / 3) * 4 + (i % 3)] as number,
        ink[Math.floor(i / 3) * 4 + 3] as number,
      ];
      return Math.round(((255 - colour) * (255 - black)) / 255);
    });
    expect(channels).toBe(3);
    expect([...data]).toEqual(expected);
  });

  it("is turned as its EXIF data says", async () => {
    const turned = await decodeImage(await picture().withMetadata({ orientation: 6 }).png().toBuffer());
    expect([turned.width, turned.height]).toEqual([6, 8]);
    expect([...turned.data.subarray(0, 3)]).toEqual([...rgb.subarray(5 * 24, 5 * 24 + 3)]);
  });
});
