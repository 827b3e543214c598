/** A picture in memory: rows from the top, pixels from the left, 1 (grey) or 3 (red, green, blue) bytes each. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** Pixels of red, green, blue and (where `channels` is 4) opacity, as a picture on a white ground. */
export function onWhite(width: number, height: number, channels: 3 | 4, pixels: Uint8Array): RawImage {
  if (channels === 3) return { width, height, channels: 3, data: pixels };
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    const alpha = pixels[from + 3] as number;
    for (let c = 0; c < 3; c++) {
      const value = pixels[from + c] as number;
      data[to + c] = alpha === 255 ? value : Math.round((value * alpha) / 255) + 255 - alpha;
    }
  }
  return { width, height, channels: 3, data };
}

/** Pixels of cyan, magenta, yellow and black as a picture: (255 − c) · (255 − k) / 255, as Pillow has it; browsers come within one level. */
export function fromCmyk(width: number, height: number, pixels: Uint8Array): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    const light = 255 - (pixels[from + 3] as number);
    for (let c = 0; c < 3; c++) data[to + c] = light - Math.round(((pixels[from + c] as number) * light) / 255);
  }
  return { width, height, channels: 3, data };
}

/** Whether the bytes are a JPEG of four components, by its frame header (ITU-T T.81, B.2.2). */
export function isCmykJpeg(bytes: Uint8Array): boolean {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1] as number;
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return bytes[at + 9] === 4;
    at += marker === 0xff ? 1 : 2 + (bytes[at + 2] as number) * 256 + (bytes[at + 3] as number);
  }
  return false;
}

/** The brightness of each pixel by ITU-R 601-2, rounded as Pillow's `convert("L")` does; a grey picture stays as it is. */
export function toGray(image: RawImage): RawImage {
  if (image.channels === 1) return image;
  const { width, height, data: rgb } = image;
  const data = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < data.length; i++, at += 3) {
    const [r, g, b] = [rgb[at] as number, rgb[at + 1] as number, rgb[at + 2] as number];
    data[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels: 1, data };
}

const EXTENSIONS = /\.(?:png|jpe?g|jfif|webp|avif|gif|bmp|tiff?)$/i;

/** Whether a file name says that it is a picture. */
export const isImageName = (name: string): boolean => EXTENSIONS.test(name);
