import { MinnowError } from "../errors.ts";

/** Recorded sound: each channel's samples, from −1 to 1. */
export interface Sound {
  /** Samples a second. */
  readonly sampleRate: number;
  /** One array for each channel, all of one length. */
  readonly channels: readonly Float32Array[];
}

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/** How the samples of a file lie: numbers of `width` bytes, those of one moment beside each other. */
interface Format {
  readonly kind: number;
  readonly channels: number;
  readonly sampleRate: number;
  readonly width: number;
}

/**
 * The sound of a .wav file (Microsoft's RIFF WAVE): PCM of 8 (unsigned), 16, 24 or 32 bits, or IEEE float of 32 or 64,
 * any number of channels, at any rate. PCM is divided by 2^(bits − 1), as libsndfile and torchaudio do. A recording that was
 * cut off is read as far as it goes. Throws `files/wav` for what is no such file, or one that is compressed.
 *
 * @example
 * const { sampleRate, channels: [left] } = readWav(await readFile("seven.wav"), "seven.wav");
 */
export function readWav(bytes: Uint8Array, at?: string): Sound {
  const fail = (what: string, mend = "Convert it to 16-bit PCM: ffmpeg -i in -c:a pcm_s16le out.wav.") =>
    new MinnowError(what, { code: "files/wav", at, mend });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || word(bytes, 0) !== "RIFF" || word(bytes, 8) !== "WAVE") throw fail("It is no .wav file.");
  let format: Format | undefined;
  for (let place = 12; place + 8 <= bytes.length; ) {
    const [name, said] = [word(bytes, place), view.getUint32(place + 4, true)];
    const from = place + 8;
    const size = Math.min(said, bytes.length - from);
    if (name === "fmt ") {
      if (size < 16) throw fail("Its header is damaged.");
      format = formatOf(view, from, size);
      if (readerOf(format) === undefined)
        throw fail(`Its samples are of format ${format.kind} with ${8 * format.width} bits, not PCM or float.`);
      if (format.channels === 0 || format.sampleRate === 0)
        throw fail(`Its header says ${format.channels} channels and ${format.sampleRate} Hz.`);
    }
    if (name === "data") {
      if (format === undefined) throw fail("Its samples come before what they are is said.");
      return soundOf(view, from, size, format);
    }
    place = from + size + (size % 2);
  }
  throw fail("It holds no samples.", "Record or fetch it again.");
}

const word = (bytes: Uint8Array, at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));

function formatOf(view: DataView, at: number, size: number): Format {
  const said = view.getUint16(at, true);
  const channels = view.getUint16(at + 2, true);
  // A frame holds all channels of one moment; its size tells the bytes of a sample where some bits are unused.
  const width = channels > 0 ? view.getUint16(at + 12, true) / channels : 0;
  const kind = said === EXTENSIBLE && size >= 26 ? view.getUint16(at + 24, true) : said;
  return { kind, channels, sampleRate: view.getUint32(at + 4, true), width };
}

type Reader = (view: DataView, at: number) => number;

/** What reads one sample as a number from −1 to 1. */
function readerOf({ kind, width }: Format): Reader | undefined {
  const pcm: Readonly<Record<number, Reader>> = {
    1: (view, at) => (view.getUint8(at) - 128) / 2 ** 7,
    2: (view, at) => view.getInt16(at, true) / 2 ** 15,
    3: (view, at) => (view.getUint8(at) + view.getInt16(at + 1, true) * 256) / 2 ** 23,
    4: (view, at) => view.getInt32(at, true) / 2 ** 31,
  };
  const float: Readonly<Record<number, Reader>> = {
    4: (view, at) => view.getFloat32(at, true),
    8: (view, at) => view.getFloat64(at, true),
  };
  return kind === PCM ? pcm[width] : kind === FLOAT ? float[width] : undefined;
}

function soundOf(view: DataView, from: number, size: number, format: Format): Sound {
  const { channels: count, sampleRate, width } = format;
  const read = readerOf(format) as Reader;
  const length = Math.floor(size / (count * width));
  const channels = Array.from({ length: count }, (_, channel) => {
    const samples = new Float32Array(length);
    for (let i = 0; i < length; i++) samples[i] = read(view, from + (i * count + channel) * width);
    return samples;
  });
  return { sampleRate, channels };
}

/** The mean of a sound's channels. */
export function mono({ channels }: Sound): Float32Array {
  const [first = new Float32Array(0), ...others] = channels;
  if (others.length === 0) return first;
  return first.map((sample, i) => others.reduce((sum, other) => sum + (other[i] as number), sample) / channels.length);
}
