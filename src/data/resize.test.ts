import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { RawImage } from "../files/image.ts";
import { type Interpolation, resize } from "./resize.ts";

interface Golden {
  pillow: string;
  cases: {
    channels: 1 | 3;
    from: [number, number];
    to: [number, number];
    interpolation: Interpolation;
    sha256: string;
    start: string;
  }[];
}
const golden = JSON.parse(readFileSync(new URL("../../test/golden/resize.json", import.meta.url), "utf8")) as Golden;

/** The picture of scripts/resize-golden.py. */
function picture(width: number, height: number, channels: 1 | 3): RawImage {
  const length = width * height * channels;
  const data = Uint8Array.from({ length }, (_, i) =>
    i % 7 < 3 ? Math.imul(i, 2654435761) >>> 24 : Math.floor((i * 255) / length),
  );
  return { width, height, channels, data };
}

describe("resize", () => {
  it.each(golden.cases)("equals Pillow bit for bit: $from to $to, $channels channels, $interpolation", (c) => {
    const out = resize(picture(...c.from, c.channels), ...c.to, c.interpolation);
    expect([out.width, out.height, out.channels]).toEqual([...c.to, c.channels]);
    expect(Buffer.from(out.data.subarray(0, 24)).toString("base64")).toBe(c.start);
    expect(createHash("sha256").update(out.data).digest("hex")).toBe(c.sha256);
  });

  it.each([
    [3, 40, 30],
    [1, 200, 333],
    [3, 100, 80],
    [3, 97, 80],
  ] as const)("makes a window of the result without the rest (%i channels, %i×%i)", (channels, width, height) => {
    const image = picture(97, 80, channels);
    const whole = resize(image, width, height, "bicubic");
    const part = resize(image, width, height, "bicubic", { left: 3, top: 5, width: 20, height: 11 });
    for (let y = 0; y < 11; y++) {
      const start = ((y + 5) * width + 3) * channels;
      expect(part.data.subarray(y * 20 * channels, (y + 1) * 20 * channels)).toEqual(
        whole.data.subarray(start, start + 20 * channels),
      );
    }
  });
});
