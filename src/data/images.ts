import { decodeImage, listFolder, openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { isImageName, type RawImage } from "../files/image.ts";
import type { Dim } from "../ir/dim.ts";
import { matchClasses } from "./classes.ts";
import { type Dataset, dataset, type Examples, type Skipped, spread } from "./dataset.ts";
import { type Preprocess, type PreprocessOptions, type Preset, preprocess, resolvePreprocess } from "./preprocess.ts";

/** How pictures become examples. */
export interface ImageOptions {
  /** A preset or more; what it leaves open follows from the model's input once the dataset is bound to it. */
  readonly preprocess?: Preset | PreprocessOptions | undefined;
  /** The name of the feed. Default "input"; a dataset of one feed fits a model of one input whatever it is called. */
  readonly input?: string | undefined;
}

export interface ImageFolderOptions extends ImageOptions {
  /** "train", "val" or "test" of a folder that is divided so; by default all of it. */
  readonly split?: string | undefined;
  /** The model's labels, to which class folders are matched by name. */
  readonly labels?: readonly string[] | undefined;
  /** Added to labels that are not matched by name: 1 where the model's class 0 is background. */
  readonly labelOffset?: number | undefined;
  /** Seed of the order. Default 0. */
  readonly seed?: number | undefined;
}

/** What a path holds. */
export interface Opened {
  readonly data: Dataset;
  /** Its own division (train, val, test), by name; empty where it has none. They are subsets of `data`. */
  readonly parts: ReadonlyMap<string, Dataset>;
  /** How it was understood, for people: `1000 images in 40 classes (matched by name)`. */
  readonly how: string;
}

/** Pictures by index, of which {@link imageDataset} makes examples. */
export interface Pictures extends Omit<Examples, "at" | "prepare"> {
  readonly names?: readonly string[];
  at(index: number): Promise<RawImage | Skipped>;
}

/** A dataset of pictures: each is read and preprocessed when it is asked for. It can be bound to any model that takes pictures. */
export function imageDataset(pictures: Pictures, options: ImageOptions = {}): Dataset {
  const { input = "input" } = options;
  const given = typeof options.preprocess === "string" ? { preset: options.preprocess } : options.preprocess;
  const make = (said: PreprocessOptions | undefined, shape: readonly Dim[] | undefined): Dataset => {
    let resolved: Preprocess | undefined;
    return dataset({
      ...pictures,
      preprocess: () => (resolved ??= resolvePreprocess(said, shape)),
      prepare: (other, inputShape) => make(other ?? said, inputShape ?? shape),
      async at(index) {
        resolved ??= resolvePreprocess(said, shape);
        const name = pictures.names?.[index];
        const label = pictures.labels?.[index];
        const picture = await pictures.at(index);
        if ("skipped" in picture) return picture;
        return {
          feeds: { [input]: preprocess(picture, resolved) },
          ...(label !== undefined && { label }),
          ...(name !== undefined && { name }),
        };
      },
    });
  };
  return make(given, undefined);
}

/** A file of a listing: its path below the folder, and its bytes. */
export interface ListedFile {
  readonly path: string;
  read(): Promise<Uint8Array>;
}

/**
 * The pictures (PNG, JPEG, WebP, AVIF, GIF, and TIFF in Node) below a folder: class folders, or train/, val/ and test/ of
 * such, or no folders and then no labels. They stand in a seeded random order of which every beginning holds each class in
 * its share, so `take(200)` is a fair sample. A missing folder, one without pictures and an empty class are errors; a damaged
 * picture is skipped when it is read.
 */
export async function imageFolder(path: string, options: ImageFolderOptions = {}): Promise<Dataset> {
  const { data, parts } = await openImageFolder(path, options);
  return options.split === undefined ? data : partOf(parts, options.split, path);
}

/** As {@link imageFolder}, with the folder's own division and how it was understood. */
export async function openImageFolder(path: string, options: ImageFolderOptions = {}): Promise<Opened> {
  const { files, folders } = await listFolder(path);
  const read = async (below: string): Promise<Uint8Array> => {
    const source = await openPath(`${path}/${below}`);
    try {
      return await source.read(0, source.size);
    } finally {
      await source.close?.();
    }
  };
  return openImages(
    files.map((below) => ({ path: below, read: () => read(below) })),
    folders,
    path,
    options,
  );
}

/** As {@link imageFolder}, of what a page's user chose or dropped: files with their `webkitRelativePath`. */
export function imageFiles(files: Iterable<File>, options: ImageFolderOptions = {}): Dataset {
  const listed = Array.from(files, (file) => {
    const path = file.webkitRelativePath;
    return {
      path: path === "" ? file.name : path.slice(path.indexOf("/") + 1),
      read: async () => new Uint8Array(await file.arrayBuffer()),
    };
  }).filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  const { data, parts } = openImages(listed, [], "the chosen files", options);
  return options.split === undefined ? data : partOf(parts, options.split, "the chosen files");
}

/** The part of that name ("validation" is "val"), or an error that says which there are. */
export function partOf(parts: ReadonlyMap<string, Dataset>, split: string, at: string): Dataset {
  const part = parts.get(canonicalSplit(split) ?? split);
  if (part !== undefined) return part;
  const there = parts.size === 0 ? "It is not divided." : `There are ${[...parts.keys()].join(", ")}.`;
  throw new MinnowError(`There is no part "${split}".`, { code: "data/no-split", at, mend: there });
}

const SPLITS: Readonly<Record<string, string>> = {
  train: "train",
  training: "train",
  val: "val",
  valid: "val",
  validation: "val",
  test: "test",
  testing: "test",
};

const canonicalSplit = (folder: string): string | undefined => SPLITS[folder.toLowerCase()];

function openImages(
  files: readonly ListedFile[],
  folders: readonly string[],
  at: string,
  options: ImageFolderOptions,
): Opened {
  const images = files.filter(({ path }) => isImageName(path) && !path.startsWith("__MACOSX/"));
  if (images.length === 0)
    throw new MinnowError("There are no images in it.", {
      code: "data/no-images",
      at,
      mend: "Give a folder with one folder of PNG, JPEG or WebP files for each class, or one with such files alone.",
    });
  const tops = new Set(images.map(({ path }) => path.split("/").slice(0, -1)[0]));
  const divided = [...tops].every((top) => top !== undefined && canonicalSplit(top) !== undefined);
  const depth = divided ? 1 : 0;
  const classOf = (path: string) => path.split("/").slice(depth, -1)[0];
  const named = images.map(({ path }) => classOf(path));
  const classes = [...new Set(named.filter((name) => name !== undefined))].sort();
  checkEmptyClasses(folders, images, depth, at);
  const labelled = classes.length > 0 ? images.filter((_, i) => named[i] !== undefined) : images;
  const match = matchClasses(classes, options.labels, options.labelOffset);
  const labelOf = new Map(classes.map((name, i) => [name, match.map[i] as number]));
  const labels = labelled.map(({ path }) => labelOf.get(classOf(path) ?? "") ?? 0);
  const order = spread(labels, options.seed ?? 0);
  const ordered = order.map((i) => labelled[i] as ListedFile);
  const data = imageDataset(
    {
      size: ordered.length,
      names: ordered.map(({ path }) => path),
      at: (index) => readPicture(ordered[index] as ListedFile),
      ...(classes.length > 0 && {
        labels: order.map((i) => labels[i] as number),
        classes: match.how === "by name" ? options.labels : classNames(labelOf),
      }),
    },
    options,
  );
  const parts = new Map<string, Dataset>();
  if (divided)
    for (const part of ["train", "val", "test"]) {
      const indices = ordered.flatMap(({ path }, i) =>
        canonicalSplit(path.split("/")[0] as string) === part ? [i] : [],
      );
      if (indices.length > 0) parts.set(part, data.subset(indices));
    }
  return { data, parts, how: describe(data, parts, images.length - labelled.length, classes.length, match.how) };
}

/** Names by label; labels no folder stands for have their number as name. */
function classNames(labelOf: ReadonlyMap<string, number>): string[] {
  const names = Array.from({ length: Math.max(-1, ...labelOf.values()) + 1 }, (_, label) => `${label}`);
  for (const [name, label] of labelOf) names[label] = name;
  return names;
}

function checkEmptyClasses(folders: readonly string[], images: readonly ListedFile[], depth: number, at: string): void {
  const level = (path: string) => path.split("/").length;
  const hasFolders = images.some(({ path }) => level(path) > depth + 1);
  if (!hasFolders) return;
  const filled = new Set(
    images.map(({ path }) =>
      path
        .split("/")
        .slice(0, depth + 1)
        .join("/"),
    ),
  );
  const empty = folders.filter((folder) => level(folder) === depth + 1 && !filled.has(folder) && folder !== "__MACOSX");
  if (empty.length > 0)
    throw new MinnowError(`The class folder "${empty[0]}" holds no images.`, {
      code: "data/empty-class",
      at,
      mend: "Put images into it or remove it.",
    });
}

async function readPicture(file: ListedFile): Promise<RawImage | Skipped> {
  try {
    return await decodeImage(await file.read());
  } catch (error) {
    if (error instanceof MinnowError) return { skipped: error.what, name: file.path };
    throw error;
  }
}

function describe(
  data: Dataset,
  parts: ReadonlyMap<string, Dataset>,
  left: number,
  classes: number,
  how: string,
): string {
  const where = classes === 0 ? ", without labels" : ` in ${classes} classes (matched ${how})`;
  const divided = [...parts].map(([name, part]) => `${name} ${part.size}`).join(", ");
  const stray = left === 0 ? "" : `; ${left} outside the class folders are left out`;
  return `${data.size} images${where}${divided === "" ? "" : `: ${divided}`}${stray}`;
}
