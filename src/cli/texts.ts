import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { feedInputs } from "../data/bind.ts";
import { type Dataset, isSkipped } from "../data/dataset.ts";
import { textsOf, tokenized } from "../data/text.ts";
import { openTokenizer, type Tokenizer, type TokenizerJson, vocabularyOf } from "../data/tokenizer.ts";
import { MinnowError } from "../errors.ts";
import { isFloat } from "../ir/dtype.ts";
import type { Model } from "../ir/graph.ts";
import { createSink } from "../platform.node.ts";

/** Tokens of a text where the model leaves it open, and of a vocabulary where its table cannot be told. */
const [LENGTH, TOKENS] = [128, 8000];

/** Whether the data is texts and the model takes numbers, so that a tokenizer has to stand between them. */
export async function isTexts(data: Dataset, { graph }: Model): Promise<boolean> {
  if (data.prepare !== undefined || data.size === 0) return false;
  if (feedInputs(graph).some(({ type }) => type?.dtype === "string")) return false;
  const first = await data.at(0);
  return !isSkipped(first) && Object.values(first.feeds).some(({ dtype }) => dtype === "string");
}

/** The tokenizer of the `tokenizer.json` beside a model, or above its `onnx/`; undefined where there is none. */
export async function tokenizerBeside(modelPath: string): Promise<Tokenizer | undefined> {
  const folders = [dirname(modelPath), dirname(dirname(modelPath))];
  const path = folders.map((folder) => join(folder, "tokenizer.json")).find((file) => existsSync(file));
  if (path === undefined) return undefined;
  let json: TokenizerJson;
  try {
    json = JSON.parse(await readFile(path, "utf8")) as TokenizerJson;
  } catch (cause) {
    throw new MinnowError("It is no JSON.", { code: "cli/tokenizer", at: path, mend: "Fetch it again.", cause });
  }
  return openTokenizer(json, path);
}

/** How texts become tokens for a model. */
export interface AsTokens {
  tokens(data: Dataset): Dataset;
  /** Sizes of its symbolic axes. */
  readonly sizes: ReadonlyMap<string, number>;
  readonly line: readonly [string, string];
}

/** Texts as a model takes them. A MinnowError without a tokenizer, and where the model has fewer embeddings than that has tokens. */
export function asTokens(tokenizer: Tokenizer | undefined, model: Model, modelPath: string): AsTokens {
  if (tokenizer === undefined)
    throw new MinnowError("There is no tokenizer.json beside it, so texts cannot be turned into token numbers.", {
      code: "cli/no-tokenizer",
      at: modelPath,
      mend: "Put the tokenizer.json the model was trained with into its folder.",
    });
  const { input, rows, length } = tokenInput(model);
  if (rows !== undefined && tokenizer.size > rows)
    throw new MinnowError(`The tokenizer knows ${tokenizer.size} tokens, and the model has embeddings for ${rows}.`, {
      code: "cli/vocabulary",
      at: modelPath,
      mend: "Give the tokenizer.json that belongs to the model.",
    });
  const size = typeof length === "number" ? length : LENGTH;
  return {
    tokens: (data) => tokenized(data, tokenizer, { length: size, ...(input && { input }) }),
    sizes: new Map(typeof length === "string" ? [[length, size]] : []),
    line: ["tokens", `${tokenizer.size} in the vocabulary, ${size} of each text`],
  };
}

/** The words of the texts that are learned from, as many as the model has embeddings for. */
export async function vocabularyFor(learn: Dataset, model: Model): Promise<TokenizerJson> {
  return vocabularyOf(await textsOf(learn), { size: tokenInput(model).rows ?? TOKENS });
}

/** The input of token numbers, the rows of the table it is looked up in, and the tokens it takes of a text. */
function tokenInput({ graph }: Model) {
  const whole = feedInputs(graph).filter(({ type }) => type !== undefined && !isFloat(type.dtype));
  const found = whole.find(({ name }) => name === "input_ids") ?? whole[0];
  const tables = graph.nodes
    .filter(({ inputs }) => found !== undefined && inputs.includes(found.name))
    .flatMap(({ inputs }) => inputs.map((name) => graph.weights.get(name)))
    .filter((weight) => weight?.shape.length === 2 && isFloat(weight.dtype));
  return { input: found?.name, rows: tables[0]?.shape[0], length: found?.type?.shape?.[1] };
}

/**
 * What writes a vocabulary beside the model that was trained with it, `output`; nothing where there is none. Another
 * tokenizer that lies there is an error at once, unless `force`.
 */
export function keepVocabulary(
  output: string,
  vocabulary: TokenizerJson | undefined,
  force: boolean,
): () => Promise<void> {
  if (vocabulary === undefined) return async () => {};
  const path = join(dirname(output), "tokenizer.json");
  if (existsSync(path) && !force)
    throw new MinnowError("It is there already, and the model's own vocabulary has to lie beside the model.", {
      code: "cli/exists",
      at: path,
      mend: "Give another folder with --output, or --force to write over it.",
    });
  return async () => {
    const sink = await createSink(path);
    await sink.write(new TextEncoder().encode(`${JSON.stringify(vocabulary)}\n`));
    await sink.commit();
  };
}
