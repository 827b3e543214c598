export { load, type SaveOptions, save } from "./load.ts";
export { readModel, readTensorProto } from "./read.ts";
export { toBytes, type WriteOptions, writeModel } from "./write.ts";
