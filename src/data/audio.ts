import { listFolder } from "#platform";
import { MinnowError } from "../errors.ts";
import { mono, readWav, type Sound } from "../files/wav.ts";
import type { Dim } from "../ir/dim.ts";
import type { TensorData } from "../ir/tensor.ts";
import { type Dataset, dataset } from "./dataset.ts";
import {
  chosen,
  type FolderOptions,
  type ListedFile,
  type Listing,
  listingOf,
  type Opened,
  openClassFolders,
  partOf,
} from "./folders.ts";
import { framesIn, melSpectrogram } from "./mel.ts";
import { resample } from "./resample.ts";

/** How sounds become what a model is fed with. */
export interface SoundOptions {
  /** Samples a second that every sound is brought to. Default 16000. */
  readonly sampleRate?: number | undefined;
  /** Length every sound is cut or, with silence, filled to. Default 1, or what the model's input holds of a wave. */
  readonly seconds?: number | undefined;
  /**
   * `mel`: the logarithm of a mel spectrogram, a row for each frame, by default scaled so that each sound has mean 0 and
   * deviation 1; `wave`: the samples. Default what the model's input looks like: two axes, or [N, 1, T], are a wave.
   */
  readonly features?: "mel" | "wave" | undefined;
  /** Mel filters. Default the last axis of the model's input, else 40. */
  readonly mels?: number | undefined;
  /** Length of a frame in seconds. Default 0.03. */
  readonly window?: number | undefined;
  /** Seconds from one frame to the next. Default 0.02, or so that the model's frames cover the sound. */
  readonly hop?: number | undefined;
  /** Fixed numbers to scale log-mel features with, (x − mean) / std, in place of each sound's own. */
  readonly mean?: number | undefined;
  readonly std?: number | undefined;
}

/** {@link SoundOptions} in full, times in samples. */
export interface Features {
  readonly sampleRate: number;
  readonly length: number;
  readonly kind: "mel" | "wave";
  readonly mels: number;
  readonly window: number;
  readonly hop: number;
  readonly frames: number;
  readonly scaling: { readonly mean: number; readonly std: number } | undefined;
  /** Whether the model's input has an axis of one channel before these. */
  readonly channel: boolean;
}

/** Features in full for an input of this shape, batch included: what `options` say, else what the shape says. */
export function resolveFeatures(options: SoundOptions = {}, inputShape: readonly Dim[] = []): Features {
  const { sampleRate = 16_000, mean, std } = options;
  const rank = inputShape.length;
  const waves = rank === 2 || (rank === 3 && inputShape[1] === 1);
  const kind = options.features ?? (waves ? "wave" : "mel");
  const size = (axis: number): number | undefined => {
    const dim = inputShape.at(axis);
    return typeof dim === "number" ? dim : undefined;
  };
  const asked = options.seconds ?? (kind === "wave" && rank > 0 ? (size(-1) ?? sampleRate) / sampleRate : 1);
  const length = Math.round(asked * sampleRate);
  const window = Math.round((options.window ?? 0.03) * sampleRate);
  const mels = options.mels ?? (kind === "mel" ? size(-1) : undefined) ?? 40;
  const usual = Math.round((options.hop ?? 0.02) * sampleRate);
  const wanted = options.hop === undefined && kind === "mel" ? size(-2) : undefined;
  const fits = wanted === undefined || framesIn(length, { window, hop: usual }) === wanted;
  const hop = fits ? usual : Math.max(1, Math.floor((length - window) / Math.max(1, wanted - 1)));
  const frames = wanted ?? framesIn(length, { window, hop });
  const counts = { sampleRate, "seconds · sampleRate": length, ...(kind === "mel" && { mels, window, hop, frames }) };
  for (const [name, value] of Object.entries(counts))
    if (!(Number.isInteger(value) && value >= 1 && value <= 2 ** 28))
      throw new MinnowError(`Sounds with ${name} ${value} are not possible.`, {
        code: "data/sound-options",
        mend: "Give whole rates and filters from 1 on, and seconds that hold at least one frame.",
      });
  if (std === 0 || (kind === "mel" && framesIn(length, { window, hop }) < frames))
    throw new MinnowError(
      std === 0
        ? "A std of 0 is not possible."
        : `${length / sampleRate} s hold no ${frames} frames of ${window / sampleRate} s.`,
      { code: "data/sound-options", mend: "Give longer sounds (seconds), shorter frames (window), or another std." },
    );
  const scaling = mean === undefined && std === undefined ? undefined : { mean: mean ?? 0, std: std ?? 1 };
  return { sampleRate, length, kind, mels, window, hop, frames, scaling, channel: rank === (kind === "mel" ? 4 : 3) };
}

/** `49 frames of 30 ms, 10 mel filters; 1 s at 16000 Hz`. */
export function describeFeatures({ kind, frames, window, mels, length, sampleRate }: Features): string {
  const what = kind === "mel" ? `${frames} frames of ${(1000 * window) / sampleRate} ms, ${mels} mel filters; ` : "";
  return `${what}${Number((length / sampleRate).toPrecision(4))} s at ${sampleRate} Hz`;
}

/** What is added to a power before its logarithm is taken. */
const FLOOR = 1e-6;

/** The sound as a model takes it, without the batch axis: float32 [1?, frames, mels], or [1?, samples] of a wave. */
export function soundFeatures(sound: Sound, features: Features): TensorData {
  const { sampleRate, length, kind, mels, frames, scaling, channel } = features;
  const wave = new Float32Array(length);
  wave.set(resample(mono(sound), sound.sampleRate, sampleRate).subarray(0, length));
  const ahead = channel ? [1] : [];
  if (kind === "wave") return { dtype: "float32", shape: [...ahead, length], data: wave };
  const data = melSpectrogram(wave, features).subarray(0, frames * mels);
  for (let i = 0; i < data.length; i++) data[i] = Math.log((data[i] as number) + FLOOR);
  const { mean, std } = scaling ?? spreadOf(data);
  for (let i = 0; i < data.length; i++) data[i] = ((data[i] as number) - mean) / std;
  return { dtype: "float32", shape: [...ahead, frames, mels], data };
}

/** Mean and deviation; a deviation of 1 where all are the same. */
function spreadOf(values: Float32Array): { mean: number; std: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, std: variance > 1e-12 ? Math.sqrt(variance) : 1 };
}

export interface SoundFolderOptions extends FolderOptions {
  readonly sound?: SoundOptions | undefined;
  /** The name of the feed. Default "input"; a dataset of one feed fits a model of one input whatever it is called. */
  readonly input?: string | undefined;
}

/**
 * The .wav files below a folder: class folders, or train/, val/ and test/ of such; or, with `labelPattern`, files whose names
 * tell their class. Ordered as {@link imageFolder} orders; features are made when an example is read, for the model's input
 * once the dataset is bound to it. A damaged file is skipped when it is read.
 *
 * @example
 * const digits = await soundFolder("recordings/", { labelPattern: /^(\d)_/, sound: { sampleRate: 8000 } });
 */
export async function soundFolder(path: string, options: SoundFolderOptions = {}): Promise<Dataset> {
  const { data, parts } = await openSoundFolder(path, options);
  return options.split === undefined ? data : partOf(parts, options.split, path);
}

/** As {@link soundFolder}, with the folder's own division and how it was understood. */
export async function openSoundFolder(path: string, options: SoundFolderOptions = {}): Promise<Opened> {
  return openSounds(listingOf(path, await listFolder(path)), options);
}

/** As {@link soundFolder}, of what a page's user chose or dropped: files with their `webkitRelativePath`. */
export function soundFiles(files: Iterable<File>, options: SoundFolderOptions = {}): Dataset {
  const listing = chosen(files);
  const { data, parts } = openSounds(listing, options);
  return options.split === undefined ? data : partOf(parts, options.split, listing.at);
}

/** Whether a file name says that it is a sound that can be read. */
export const isSoundName = (path: string): boolean => /\.wave?$/i.test(path);

const openSounds = (listing: Listing, options: SoundFolderOptions): Opened =>
  openClassFolders(
    listing,
    {
      plural: "sounds",
      files: "WAV files",
      is: isSoundName,
      make: (files, known) => soundDataset(files, known, options, undefined),
    },
    options,
  );

function soundDataset(
  files: readonly ListedFile[],
  known: { labels?: readonly number[]; classes?: readonly string[] },
  options: SoundFolderOptions,
  shape: readonly Dim[] | undefined,
): Dataset {
  const { input = "input", sound } = options;
  let features: Features | undefined;
  return dataset({
    ...known,
    size: files.length,
    prepare: (_pictures, inputShape) => soundDataset(files, known, options, inputShape ?? shape),
    async at(index) {
      features ??= resolveFeatures(sound, shape);
      const file = files[index] as ListedFile;
      const label = known.labels?.[index];
      try {
        const feeds = { [input]: soundFeatures(readWav(await file.read()), features) };
        return { feeds, name: file.path, ...(label !== undefined && { label }) };
      } catch (error) {
        if (error instanceof MinnowError) return { skipped: error.what, name: file.path };
        throw error;
      }
    },
  });
}
