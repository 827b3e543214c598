export { readWav, type Sound } from "../files/wav.ts";
export { type ArrayOptions, arrays, idxDataset, npzDataset } from "./arrays.ts";
export {
  describeFeatures,
  type Features,
  resolveFeatures,
  type SoundFolderOptions,
  type SoundOptions,
  soundFeatures,
  soundFiles,
  soundFolder,
} from "./audio.ts";
export { type Batch, type BatchOptions, batches } from "./batches.ts";
export { bindInputs } from "./bind.ts";
export { cached } from "./cached.ts";
export { type ClassMatch, matchClasses } from "./classes.ts";
export { type Dataset, dataset, type Example, type Examples, isSkipped, type Skipped, split } from "./dataset.ts";
export { type ImageFolderOptions, type ImageOptions, imageFiles, imageFolder } from "./images.ts";
export { type MelOptions, melSpectrogram } from "./mel.ts";
export {
  candidatePreprocesses,
  type NamedPreprocess,
  type Preprocess,
  type PreprocessOptions,
  type Preset,
  preprocess,
  resolvePreprocess,
} from "./preprocess.ts";
export { readPreprocessorConfig } from "./preprocessor-config.ts";
export { resample } from "./resample.ts";
export { type LabelledText, type TextOptions, type TokenOptions, textDataset, textTable, tokenized } from "./text.ts";
export {
  openTokenizer,
  type Tokenizer,
  type TokenizerJson,
  type VocabularyOptions,
  vocabularyOf,
} from "./tokenizer.ts";
