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
