import FFT from "fft.js";

/** What a mel spectrogram is made with. Times are in samples. */
export interface MelOptions {
  readonly sampleRate: number;
  /** Samples of a frame, which lie under a Hann window. */
  readonly window: number;
  /** Samples from one frame to the next. */
  readonly hop: number;
  /** Number of filters. */
  readonly mels: number;
}

/** How many whole frames lie in so many samples. */
export const framesIn = (length: number, { window, hop }: Pick<MelOptions, "window" | "hop">): number =>
  length < window ? 0 : 1 + Math.floor((length - window) / hop);

/**
 * The power of a sound in each frame and mel filter, [frames, mels], a frame wherever one lies wholly inside the sound: torchaudio's
 * `MelSpectrogram` with `center=False`, its HTK mel scale and triangular filters without normalization, the transform being as
 * long as the next power of two.
 */
export function melSpectrogram(samples: Float32Array, options: MelOptions): Float32Array {
  const { window, hop, mels } = options;
  const { size, fft, hann, filters } = toolsFor(options);
  const frames = framesIn(samples.length, options);
  const [input, spectrum] = [new Array<number>(size).fill(0), fft.createComplexArray() as number[]];
  const out = new Float32Array(frames * mels);
  for (let frame = 0; frame < frames; frame++) {
    for (let i = 0; i < window; i++) input[i] = (samples[frame * hop + i] as number) * (hann[i] as number);
    fft.realTransform(spectrum, input);
    for (let mel = 0; mel < mels; mel++) {
      const { first, weights } = filters[mel] as Filter;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) {
        const [re, im] = [spectrum[2 * (first + i)] as number, spectrum[2 * (first + i) + 1] as number];
        sum += (weights[i] as number) * (re * re + im * im);
      }
      out[frame * mels + mel] = sum;
    }
  }
  return out;
}

/** What all sounds of one kind share. */
interface Tools {
  readonly size: number;
  readonly fft: FFT;
  readonly hann: Float64Array;
  readonly filters: readonly Filter[];
}

let [lastKey, lastTools]: [string?, Tools?] = [];

/** The tools for these options; those of the last call are kept, since a dataset or a stream asks for the same ones each time. */
function toolsFor({ sampleRate, window, mels }: MelOptions): Tools {
  const key = `${sampleRate} ${window} ${mels}`;
  if (lastTools !== undefined && lastKey === key) return lastTools;
  const size = Math.max(2, 2 ** Math.ceil(Math.log2(window)));
  const hann = Float64Array.from({ length: window }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / window));
  const tools = { size, fft: new FFT(size), hann, filters: melFilters(size, sampleRate, mels) };
  [lastKey, lastTools] = [key, tools];
  return tools;
}

interface Filter {
  /** The first frequency it lets through. */
  readonly first: number;
  readonly weights: Float64Array;
}

/** mel(f) = 2595 · log10(1 + f / 700), as in HTK. */
const toMel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
const toHertz = (mel: number): number => 700 * (10 ** (mel / 2595) - 1);

/** Triangles over the frequencies 0 … rate / 2, their corners evenly spaced in mel, each 1 at its middle. */
function melFilters(size: number, sampleRate: number, mels: number): Filter[] {
  const top = toMel(sampleRate / 2);
  const corners = Array.from({ length: mels + 2 }, (_, i) => toHertz((top * i) / (mels + 1)));
  return Array.from({ length: mels }, (_, mel) => {
    const [left = 0, middle = 0, right = 0] = corners.slice(mel, mel + 3);
    const height = (bin: number) => {
      const hertz = (bin * sampleRate) / size;
      return Math.min((hertz - left) / (middle - left), (right - hertz) / (right - middle));
    };
    const inside = Array.from({ length: size / 2 + 1 }, (_, bin) => bin).filter((bin) => height(bin) > 0);
    return { first: inside[0] ?? 0, weights: Float64Array.from(inside, height) };
  });
}
