export { type ArrayOptions, arrays, idxDataset, npzDataset } from "./arrays.ts";
export { type Batch, type BatchOptions, batches } from "./batches.ts";
export { bindInputs } from "./bind.ts";
export { cached } from "./cached.ts";
export { type ClassMatch, matchClasses } from "./classes.ts";
export { type Dataset, dataset, type Example, type Examples, isSkipped, type Skipped, split } from "./dataset.ts";
export { type ImageFolderOptions, type ImageOptions, imageFiles, imageFolder } from "./images.ts";
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
export { type LabelledText, textTable } from "./text.ts";
