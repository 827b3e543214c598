import type { Tokenizer as HuggingFace } from "@huggingface/tokenizers";
import { MinnowError } from "../errors.ts";

/** Turns texts into token numbers. */
export interface Tokenizer {
  /** At most `length` tokens; what begins and ends a text, such as [CLS] and [SEP], is among them and never cut off. */
  encode(text: string, length: number): number[];
  /** The token that fills a text up. */
  readonly pad: number;
  /** One more than the highest token number. */
  readonly size: number;
}

/** The content of a `tokenizer.json`, as Hugging Face's tokenizers write it. */
export interface TokenizerJson {
  readonly model: { readonly vocab: unknown; readonly [field: string]: unknown };
  readonly padding?: { readonly pad_id?: number } | null;
  readonly [field: string]: unknown;
}

const PADS = ["[PAD]", "<pad>", "<|padding|>", "<|endoftext|>", "</s>"];

/**
 * The tokenizer that a `tokenizer.json` describes, run by @huggingface/tokenizers. Throws `data/tokenizer` for what is none.
 *
 * @example
 * const tokenizer = await openTokenizer(JSON.parse(await readFile("tokenizer.json", "utf8")));
 * const ids = tokenizer.encode("A mouse ate the cheese.", 128);
 */
export async function openTokenizer(json: TokenizerJson, at = "tokenizer.json"): Promise<Tokenizer> {
  const tokenizer = await made(json, at);
  const encode = (text: string, special: boolean): number[] =>
    tokenizer.encode(text, { add_special_tokens: special }).ids;
  const [word, around] = [encode("a", false), encode("a", true)];
  const start = around.findIndex((_, i) => word.every((id, k) => around[i + k] === id));
  const [before, after] = [around.slice(0, start), around.slice(start + word.length)];
  const pad = json.padding?.pad_id ?? PADS.map((name) => tokenizer.token_to_id(name)).find((id) => id !== undefined);
  return {
    pad: pad ?? 0,
    size: [...tokenizer.get_vocab(true).values()].reduce((most: number, id: number) => Math.max(most, id), -1) + 1,
    encode: (text, length) => [
      ...before,
      ...encode(text, false).slice(0, Math.max(0, length - before.length - after.length)),
      ...after,
    ],
  };
}

async function made(json: TokenizerJson, at: string): Promise<HuggingFace> {
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    return new Tokenizer(json, {});
  } catch (cause) {
    throw new MinnowError("It describes no tokenizer that can be run.", {
      code: "data/tokenizer",
      at,
      mend: "Give the tokenizer.json that Hugging Face's tokenizers wrote.",
      cause,
    });
  }
}

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

export interface VocabularyOptions {
  /** The most tokens there are, four special ones among them. Default 8000. */
  readonly size?: number;
  /** Words that occur less often are unknown. Default 2. */
  readonly least?: number;
}

/**
 * A `tokenizer.json` whose tokens are the most frequent words and punctuation marks of these texts, in lower case and without
 * accents, split as BERT splits them; all other words are [UNK]. The same texts give the same tokens in any order.
 */
export async function vocabularyOf(texts: Iterable<string>, options: VocabularyOptions = {}): Promise<TokenizerJson> {
  const { size = 8000, least = 2 } = options;
  const splitter = await made(wordsAs(SPECIAL), "vocabulary");
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const word of splitter.pre_tokenizer?.pre_tokenize(splitter.normalizer?.normalize(text) ?? text) ?? [])
      counts.set(word, (counts.get(word) ?? 0) + 1);
  const frequent = [...counts]
    .filter(([word, count]) => count >= least && !SPECIAL.includes(word))
    .sort(([a, most], [b, more]) => more - most || (a < b ? -1 : 1));
  return wordsAs([...SPECIAL, ...frequent.slice(0, Math.max(0, size - SPECIAL.length)).map(([word]) => word)]);
}

function wordsAs(tokens: readonly string[]): TokenizerJson {
  const token = (content: string) => ({ id: SPECIAL.indexOf(content), content });
  const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const special = (name: string) => ({ SpecialToken: { id: name, type_id: 0 } });
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const [start, end] = ["[CLS]", "[SEP]"];
  const single = [special(start), sequence("A", 0), special(end)];
  const known = (name: string) => ({ id: name, ids: [SPECIAL.indexOf(name)], tokens: [name] });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((name) => ({ ...token(name), ...added })),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: true,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single,
      pair: [...single, sequence("B", 1), { SpecialToken: { id: end, type_id: 1 } }],
      special_tokens: { [start]: known(start), [end]: known(end) },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((name, id) => [name, id])),
    },
  };
}
