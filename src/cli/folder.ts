import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { MinnowError } from "../errors.ts";
import { subgraphs } from "../ir/attrs.ts";
import type { Graph, Model } from "../ir/graph.ts";
import { load, save } from "../onnx/index.ts";
import { type Change, optimize, sequence } from "../passes/index.ts";
import { createSink } from "../platform.node.ts";
import { type Mode, quantizeMode, SUFFIXES, weightTypeOf } from "../quantize/index.ts";
import { modeOptions } from "./formats.ts";
import { fileBytes } from "./model.ts";
import { flag } from "./options.ts";
import type { Given } from "./verb.ts";

/** One file that was written. */
export interface Written {
  readonly output: string;
  readonly mode: Mode;
  readonly before: { readonly bytes: number };
  readonly after: { readonly bytes: number };
  readonly changes: readonly Change[];
}

/** The float models of a Hugging Face style folder: those under `onnx/` whose names end in no type. */
export function floatModels(folder: string): string[] {
  const within = join(folder, "onnx");
  if (!existsSync(within)) return [];
  const endings = Object.values(SUFFIXES).map((suffix) => `${suffix}.onnx`);
  return readdirSync(within)
    .filter((name) => name.endsWith(".onnx") && !endings.some((ending) => name.endsWith(ending)))
    .sort()
    .map((name) => join(within, name));
}

/**
 * Writes every float model of a folder in every type beside it, under the names Transformers.js looks for, then
 * `quantize_config.json`, and in `config.json` which of them have a data file. Nothing that is there is written over
 * without --force.
 */
export async function* quantizeFolder(given: Given, folder: string, modes: readonly Mode[]): AsyncGenerator<Written> {
  const files = floatModels(folder);
  const targets = files.flatMap((file) => modes.map((mode) => ({ file, mode, output: named(file, mode) })));
  const there = targets.find(({ output }) => existsSync(output));
  if (there !== undefined && !flag(given, "force"))
    throw new MinnowError("There is a file already.", {
      code: "cli/exists",
      at: there.output,
      mend: "Give --force to write over it.",
    });
  for (const { file, mode, output } of targets) {
    const model = await load(file);
    const { model: small, changes } = await sequence([optimize(), quantizeMode(mode, modeOptions(given))]).run(model);
    await replace(small, output, given);
    yield { output, mode, before: { bytes: fileBytes(file) }, after: { bytes: fileBytes(output) }, changes };
  }
  await noteExternal(
    folder,
    targets.map(({ output }) => output),
  );
  await noteOptions(given, folder, files, modes);
}

/** Writes a model, and takes away the data file of an earlier one that it has none in the place of. */
async function replace(model: Model, output: string, given: Given): Promise<void> {
  const data = `${output}_data`;
  const written = () => (existsSync(data) ? statSync(data).mtimeMs : undefined);
  const before = written();
  await save(model, output, { externalData: flag(given, "external-data"), signal: given.signal });
  if (before !== undefined && written() === before) rmSync(data);
}

const named = (file: string, mode: Mode): string => file.replace(/\.onnx$/, `${SUFFIXES[mode]}.onnx`);

const nameOf = (path: string): string => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);

/** Sets `transformers.js_config.use_external_data_format` for what has a data file, and takes it off what has none. */
async function noteExternal(folder: string, outputs: readonly string[]): Promise<void> {
  const path = join(folder, "config.json");
  if (!existsSync(path)) return;
  const config = readJson(path);
  const own = asObject(config["transformers.js_config"]);
  const before = asObject(own["use_external_data_format"]);
  const after = { ...before };
  for (const output of outputs) {
    if (existsSync(`${output}_data`)) after[nameOf(output)] = 1;
    else delete after[nameOf(output)];
  }
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  await writeJson(path, { ...config, "transformers.js_config": { ...own, use_external_data_format: after } });
}

/** What was made and how, as Transformers.js's script noted it; what else stands there stays. */
async function noteOptions(given: Given, folder: string, files: readonly string[], modes: readonly Mode[]) {
  const path = join(folder, "quantize_config.json");
  const before = existsSync(path) ? readJson(path) : {};
  const { blockSize, symmetric, accuracyLevel, reduceRange, opBlockList } = modeOptions(given);
  const perModel: Record<string, unknown> = { ...asObject(before["per_model_config"]) };
  for (const file of files) {
    const model = await load(file);
    perModel[nameOf(file).replace(/\.onnx$/, "")] = {
      op_types: opTypes(model),
      weight_type: weightTypeOf(model) === "int8" ? "QInt8" : "QUInt8",
    };
  }
  const known = Array.isArray(before["modes"]) ? (before["modes"] as string[]) : [];
  await writeJson(path, {
    ...before,
    modes: [...new Set([...known, ...modes])],
    per_channel: true,
    reduce_range: reduceRange,
    block_size: blockSize ?? null,
    is_symmetric: symmetric,
    accuracy_level: accuracyLevel ?? null,
    op_block_list: opBlockList?.length ? opBlockList : null,
    per_model_config: perModel,
  });
}

function opTypes({ graph }: Model): string[] {
  const names = new Set<string>();
  const visit = (inner: Graph) => {
    for (const node of inner.nodes) {
      names.add(node.op);
      for (const { graph } of subgraphs(node)) visit(graph);
    }
  };
  visit(graph);
  return [...names].sort();
}

const asObject = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

function readJson(path: string): Record<string, unknown> {
  try {
    return asObject(JSON.parse(readFileSync(path, "utf8")));
  } catch (cause) {
    throw new MinnowError("It is no JSON.", { code: "cli/config", at: path, mend: "Mend or remove it.", cause });
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  const sink = await createSink(path);
  await sink.write(new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`));
  await sink.commit();
}
