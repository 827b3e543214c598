export { arrays } from "./arrays.ts";
export { type Batch, type BatchOptions, batches } from "./batches.ts";
export { bindInputs } from "./bind.ts";
export { cached } from "./cached.ts";
export { type Dataset, dataset, type Example, type Examples, isSkipped, type Skipped, split } from "./dataset.ts";
export { type ImageFolderOptions, type ImageOptions, imageFiles, imageFolder } from "./images.ts";
export { type Preprocess, type PreprocessOptions, type Preset, preprocess, resolvePreprocess } from "./preprocess.ts";
export { readPreprocessorConfig } from "./preprocessor-config.ts";
