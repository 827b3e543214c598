export { load, type SaveOptions, save, toBytes } from "./load.ts";
export { readModel, readTensorProto } from "./read.ts";
export { type WriteOptions, writeModel } from "./write.ts";
