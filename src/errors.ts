/** What a {@link MinnowError} carries besides its message. */
export interface ErrorParts {
  /** Stable, for programs: `area/what`, for example `onnx/truncated`. */
  readonly code: `${string}/${string}`;
  /** Where: a file, a node (`Concat "cat_3"`), an option. */
  readonly at?: string | undefined;
  /** What to do about it, one or two full sentences. */
  readonly mend?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The one error users see: what happened and why (`message`), where (`at`), what to do (`mend`), under a stable `code`.
 *
 * @example
 * throw new MinnowError("input 0 is [1,8,4,4] and input 1 is [1,8,5,4]; they may differ only on axis 1.", {
 *   code: "shape/mismatch", at: 'Concat "cat_3"', mend: 'Check what writes "conv_7".' });
 */
export class MinnowError extends Error {
  override readonly name = "MinnowError";
  readonly code: ErrorParts["code"];
  readonly at: string | undefined;
  readonly mend: string | undefined;
  /** The sentence without `at` and `mend`. */
  readonly what: string;

  constructor(what: string, parts: ErrorParts) {
    const sentence = parts.at === undefined ? what : `${parts.at}: ${what}`;
    super(parts.mend === undefined ? sentence : `${sentence} ${parts.mend}`, { cause: parts.cause });
    this.what = what;
    this.code = parts.code;
    this.at = parts.at;
    this.mend = parts.mend;
  }
}
