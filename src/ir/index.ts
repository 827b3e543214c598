export * from "./attrs.ts";
export {
  addDim,
  bindDim,
  ceilDiv,
  type Dim,
  divideExactly,
  floorDiv,
  isKnown,
  maxDim,
  minDim,
  mulDim,
  namesIn,
  sameDim,
  subDim,
  UNKNOWN,
} from "./dim.ts";
export { BITS, byteSize, type DType, isFloat } from "./dtype.ts";
export { edit, type GraphEdit, type NewNode } from "./edit.ts";
export type * from "./graph.ts";
export {
  type ByteRange,
  elements,
  float32s,
  int64s,
  lazyTensor,
  readData,
  readFloats,
  type Tensor,
  type TensorData,
  tensorFrom,
  tensorOf,
} from "./tensor.ts";
export { verify, verifyGraph } from "./verify.ts";
export { capturedBy, readsOf, titleOf, type Uses, usesOf } from "./walk.ts";
