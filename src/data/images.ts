import { decodeImage, listFolder } from "#platform";
import { MinnowError } from "../errors.ts";
import { isImageName, type RawImage } from "../files/image.ts";
import type { Dim } from "../ir/dim.ts";
import { type Dataset, dataset, type Examples, type Skipped } from "./dataset.ts";
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
import { type Preprocess, type PreprocessOptions, type Preset, preprocess, resolvePreprocess } from "./preprocess.ts";

/** How pictures become examples. */
export interface ImageOptions {
  /** A preset or more; what it leaves open follows from the model's input once the dataset is bound to it. */
  readonly preprocess?: Preset | PreprocessOptions | undefined;
  /** The name of the feed. Default "input"; a dataset of one feed fits a model of one input whatever it is called. */
  readonly input?: string | undefined;
}

export interface ImageFolderOptions extends ImageOptions, FolderOptions {}

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
  return openImages(listingOf(path, await listFolder(path)), options);
}

/** As {@link imageFolder}, of what a page's user chose or dropped: files with their `webkitRelativePath`. */
export function imageFiles(files: Iterable<File>, options: ImageFolderOptions = {}): Dataset {
  const listing = chosen(files);
  const { data, parts } = openImages(listing, options);
  return options.split === undefined ? data : partOf(parts, options.split, listing.at);
}

const openImages = (listing: Listing, options: ImageFolderOptions): Opened =>
  openClassFolders(
    listing,
    {
      plural: "images",
      files: "PNG, JPEG or WebP files",
      is: isImageName,
      make: (files, known) =>
        imageDataset(
          {
            size: files.length,
            names: files.map(({ path }) => path),
            at: (index) => readPicture(files[index] as ListedFile),
            ...known,
          },
          options,
        ),
    },
    options,
  );

async function readPicture(file: ListedFile): Promise<RawImage | Skipped> {
  try {
    return await decodeImage(await file.read());
  } catch (error) {
    if (error instanceof MinnowError) return { skipped: error.what, name: file.path };
    throw error;
  }
}
