import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { Budget } from "../compress/budget.ts";
import type { CompressResult } from "../compress/compress.ts";
import { isSkipped } from "../data/dataset.ts";
import type { Model } from "../ir/graph.ts";
import { costOf, type LayerCost } from "../measure/cost.ts";
import { optimize, upgrade } from "../passes/index.ts";
import { type ChangedAnswer, compressReport } from "../report/compress-report.ts";
import type { DataGiven } from "./data.ts";
import type { Opened } from "./model.ts";
import { DATA, text } from "./options.ts";
import type { Given } from "./verb.ts";
import { VERSION } from "./version.ts";

interface Made {
  readonly given: Given;
  readonly opened: Opened;
  readonly result: CompressResult;
  readonly budget: Budget;
  readonly output: string;
  readonly data: DataGiven;
}

/** The HTML of a finished search. */
export async function writeReport({ given, opened, result, budget, output, data }: Made): Promise<string> {
  const before = (await optimize().run(opened.model)).model;
  return compressReport({
    result,
    budget,
    model: opened.path,
    output: result.model === undefined ? undefined : output,
    lines: data.lines,
    layers: {
      before: layersOf(before),
      after: result.model === undefined ? [] : layersOf((await upgrade().run(result.model)).model),
    },
    classes: data.all.classes,
    changed: await changedAnswers(result, picturesIn(given)),
    command: commandLine("compress", given),
    machine: await machineWords(),
    date: new Date().toISOString().slice(0, 10),
  });
}

const layersOf = (model: Model): readonly LayerCost[] => costOf(model).layers;

const engineVersion = async (): Promise<string> => {
  const { env } = (await import("onnxruntime-node")) as unknown as { env: { versions: { common: string } } };
  return env.versions.common;
};

/** Processor and versions: what measured times hold for. */
export const machineWords = async (): Promise<string> =>
  `${cpus()[0]?.model ?? "unknown processor"} · Node ${process.versions.node} · ONNX Runtime ${await engineVersion()} · minnow ${VERSION}`;

/** Only the options that say how data is read: another command reads the same. */
export const readingOf = (given: Given): Given => ({
  ...given,
  options: Object.fromEntries(Object.entries(given.options).filter(([name]) => name in DATA)),
});

/** The command that was given, as it can be pasted again. */
export function commandLine(verb: string, { paths, options }: Given): string {
  const quote = (word: string) => (/^[\w./:=,%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const given = Object.entries(options).flatMap(([name, value]) =>
    value === true
      ? [`--${name}`]
      : [value ?? []].flat().flatMap((v) => (typeof v === "string" ? [`--${name}`, quote(v)] : [])),
  );
  return [`minnow ${verb}`, ...paths.map(quote), ...given].join(" ");
}

/** Where the picture of an example lies, if its data is a folder. */
const picturesIn = (given: Given) => (name: string) =>
  join(text(given, "test-data") ?? text(given, "data") ?? "", name);

const MOST = 24;

/** The examples whose answer changed: the ones that became wrong first. */
async function changedAnswers(
  { verdicts, final }: CompressResult,
  pathOf: (name: string) => string,
): Promise<ChangedAnswer[]> {
  const before = verdicts.before.judgement;
  const after = verdicts.after?.judgement;
  if (before === undefined || after === undefined) return [];
  const changed = [...before.predictions.keys()].filter((i) => before.predictions[i] !== after.predictions[i]);
  const harm = (i: number) => (before.ranks[i] === 0 ? 0 : after.ranks[i] === 0 ? 1 : 2);
  const shown = changed.sort((a, b) => harm(a) - harm(b)).slice(0, MOST);
  const answers: ChangedAnswer[] = [];
  for (const i of shown) {
    const example = await final.at(before.indices[i] ?? 0);
    const name = isSkipped(example) ? undefined : example.name;
    const picture = name === undefined ? undefined : await pictureOf(pathOf(name));
    answers.push({
      name: name ?? `example ${before.indices[i]}`,
      label: before.labels[i] ?? -1,
      before: before.predictions[i] ?? -1,
      after: after.predictions[i] ?? -1,
      ...(picture && { picture }),
    });
  }
  return answers;
}

/** The picture at a path, small enough for a page; undefined where there is none. */
async function pictureOf(path: string): Promise<ChangedAnswer["picture"]> {
  try {
    const { default: sharp } = await import("sharp");
    const image = sharp(await readFile(path)).rotate();
    const { width = 0, height = 0 } = await image.metadata();
    const small = await image
      .resize(192, 192, { fit: "inside", withoutEnlargement: true })
      .webp({ quality: 82 })
      .toBuffer();
    return { address: `data:image/webp;base64,${small.toString("base64")}`, tiny: Math.max(width, height) <= 64 };
  } catch {
    return undefined;
  }
}
