import { openPath } from "#platform";
import { MinnowError } from "../errors.ts";
import { matchClasses } from "./classes.ts";
import { type Dataset, spread } from "./dataset.ts";

/** A file of a listing: its path below the folder, and its bytes. */
export interface ListedFile {
  readonly path: string;
  read(): Promise<Uint8Array>;
}

export interface FolderOptions {
  /** "train", "val" or "test" of a folder that is divided so; by default all of it. */
  readonly split?: string | undefined;
  /** The model's labels, to which classes are matched by name. */
  readonly labels?: readonly string[] | undefined;
  /** Added to labels that are not matched by name: 1 where the model's class 0 is background. */
  readonly labelOffset?: number | undefined;
  /** What in the path of a file below the folder is its class, by the first group, rather than the folder it lies in. */
  readonly labelPattern?: RegExp | undefined;
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

/** "train", "val" or "test", by any usual name. */
export const canonicalSplit = (folder: string): string | undefined => SPLITS[folder.toLowerCase()];

/** What the files of a listing are to be. */
export interface Kind {
  /** What they are called: "images". */
  readonly plural: string;
  /** What they can be, for messages: "PNG, JPEG or WebP files". */
  readonly files: string;
  is(path: string): boolean;
  /** The dataset of these files, in this order. */
  make(files: readonly ListedFile[], known: { labels?: readonly number[]; classes?: readonly string[] }): Dataset;
}

/** A listing of files as one. */
export interface Listing {
  readonly files: readonly ListedFile[];
  readonly folders: readonly string[];
  /** How messages call it. */
  readonly at: string;
}

/** What lies below a path in Node. */
export const listingOf = (path: string, { files, folders }: { files: string[]; folders: string[] }): Listing => ({
  files: files.map((below) => ({ path: below, read: () => bytesOf(`${path}/${below}`) })),
  folders,
  at: path,
});

async function bytesOf(path: string): Promise<Uint8Array> {
  const source = await openPath(path);
  try {
    return await source.read(0, source.size);
  } finally {
    await source.close?.();
  }
}

/** What a page's user chose or dropped: files with their `webkitRelativePath`. */
export function chosen(files: Iterable<File>): Listing {
  const listed = Array.from(files, (file) => {
    const path = file.webkitRelativePath;
    return {
      path: path === "" ? file.name : path.slice(path.indexOf("/") + 1),
      read: async () => new Uint8Array(await file.arrayBuffer()),
    };
  }).filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  return { files: listed, folders: [], at: "the chosen files" };
}

/**
 * The dataset of a listing with one folder for each class, or train/, val/ and test/ of such, or no folders and then no
 * labels. Its order is random by the seed, and every beginning holds each class in its share.
 */
export function openClassFolders(listing: Listing, kind: Kind, options: FolderOptions): Opened {
  const { files, folders, at } = options.labelPattern === undefined ? unwrapped(listing, kind) : listing;
  const taken = files.filter(({ path }) => kind.is(path) && !path.startsWith("__MACOSX/"));
  if (taken.length === 0)
    throw new MinnowError(`There are no ${kind.plural} in it.`, {
      code: `data/no-${kind.plural}`,
      at,
      mend: `Give a folder with one folder of ${kind.files} for each class, or one with such files alone.`,
    });
  const tops = new Set(taken.map(({ path }) => path.split("/").slice(0, -1)[0]));
  const divided = [...tops].every((top) => top !== undefined && canonicalSplit(top) !== undefined);
  const depth = divided ? 1 : 0;
  const { labelPattern: pattern } = options;
  const classOf = (path: string): string | undefined => {
    const below = path.split("/").slice(depth);
    return pattern === undefined ? below.slice(0, -1)[0] : pattern.exec(below.join("/"))?.[1];
  };
  const named = taken.map(({ path }) => classOf(path));
  const classes = [...new Set(named.filter((name) => name !== undefined))].sort();
  if (pattern === undefined) checkEmptyClasses(folders, taken, depth, at, kind);
  else if (classes.length === 0) throw withoutClass(pattern, taken[0]?.path ?? "", at);
  const labelled = classes.length > 0 ? taken.filter((_, i) => named[i] !== undefined) : taken;
  const match = matchClasses(classes, options.labels, options.labelOffset);
  const labelOf = new Map(classes.map((name, i) => [name, match.map[i] as number]));
  const labels = labelled.map(({ path }) => labelOf.get(classOf(path) ?? "") ?? 0);
  const order = spread(labels, options.seed ?? 0);
  const ordered = order.map((i) => labelled[i] as ListedFile);
  const known = classes.length > 0 && {
    labels: order.map((i) => labels[i] as number),
    classes: (match.how === "by name" ? options.labels : undefined) ?? classNames(labelOf),
  };
  const data = kind.make(ordered, known || {});
  const parts = new Map<string, Dataset>();
  if (divided)
    for (const part of ["train", "val", "test"]) {
      const indices = ordered.flatMap(({ path }, i) =>
        canonicalSplit(path.split("/")[0] as string) === part ? [i] : [],
      );
      if (indices.length > 0) parts.set(part, data.subset(indices));
    }
  const left = taken.length - labelled.length;
  const stray = left === 0 ? "" : `; ${left} ${pattern ? "without a class" : "outside the class folders"} are left out`;
  return { data, parts, how: `${describe(data, parts, kind.plural, classes.length, match.how)}${stray}` };
}

/** The listing of the one folder that holds every class folder or part, where an archive was unpacked into a folder of its own. */
function unwrapped({ files, folders, at }: Listing, kind: Kind): Listing {
  const taken = files.filter(({ path }) => kind.is(path)).map(({ path }) => path.split("/"));
  const top = taken[0]?.[0];
  if (
    top === undefined ||
    canonicalSplit(top) !== undefined ||
    !taken.every((parts) => parts[0] === top && parts.length > 2)
  )
    return { files, folders, at };
  const inside = (path: string) => path.startsWith(`${top}/`);
  const below = (path: string) => path.slice(top.length + 1);
  return unwrapped(
    {
      files: files.filter(({ path }) => inside(path)).map((file) => ({ ...file, path: below(file.path) })),
      folders: folders.filter(inside).map(below),
      at: `${at}/${top}`,
    },
    kind,
  );
}

/** Names by label; labels nothing stands for have their number as name. */
export function classNames(labelOf: ReadonlyMap<string, number>): string[] {
  const names = Array.from({ length: Math.max(-1, ...labelOf.values()) + 1 }, (_, label) => `${label}`);
  for (const [name, label] of labelOf) names[label] = name;
  return names;
}

const withoutClass = (pattern: RegExp, path: string, at: string): MinnowError =>
  new MinnowError(`${pattern} finds no class in any file name, such as "${path}".`, {
    code: "data/label-pattern",
    at,
    mend: "Its first group is to be the class: ^(\\d)_ for 7_anna_3.wav.",
  });

function checkEmptyClasses(
  folders: readonly string[],
  taken: readonly ListedFile[],
  depth: number,
  at: string,
  { plural }: Kind,
): void {
  const level = (path: string) => path.split("/").length;
  const hasFolders = taken.some(({ path }) => level(path) > depth + 1);
  if (!hasFolders) return;
  const start = (path: string) =>
    path
      .split("/")
      .slice(0, depth + 1)
      .join("/");
  const filled = new Set(taken.map(({ path }) => start(path)));
  const empty = folders.filter((folder) => level(folder) === depth + 1 && !filled.has(folder) && folder !== "__MACOSX");
  if (empty.length > 0)
    throw new MinnowError(`The class folder "${empty[0]}" holds no ${plural}.`, {
      code: "data/empty-class",
      at,
      mend: `Put ${plural} into it or remove it.`,
    });
}

/** `1000 images in 40 classes (matched by name): train 800, test 200`. */
export function describe(
  data: Dataset,
  parts: ReadonlyMap<string, Dataset>,
  plural: string,
  classes: number,
  how: string,
): string {
  const where = classes === 0 ? ", without labels" : ` in ${classes} classes (matched ${how})`;
  const divided = [...parts].map(([name, part]) => `${name} ${part.size}`).join(", ");
  return `${data.size} ${plural}${where}${divided === "" ? "" : `: ${divided}`}`;
}
