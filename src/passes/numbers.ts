import { MinnowError } from "../errors.ts";
import type { DType } from "../ir/dtype.ts";
import { elements, type Tensor, tensorFrom, tensorOf, viewOf } from "../ir/tensor.ts";
import { fromHalf, toBfloat, toHalf } from "../numeric/half.ts";

/** The types whose numbers {@link readNumbers} reads and {@link roundTo} writes: float32, float64, float16, bfloat16. */
export const isReal = (dtype: DType): boolean =>
  dtype === "float32" || dtype === "float64" || dtype === "float16" || dtype === "bfloat16";

/** The numbers of a tensor of a real type, in double. */
export async function readNumbers(tensor: Tensor): Promise<Float64Array> {
  const view = viewOf(tensor.dtype, await tensor.read());
  switch (tensor.dtype) {
    case "float32":
    case "float64":
      return Float64Array.from(view as Float32Array);
    case "float16":
      return Float64Array.from(view as Uint16Array, fromHalf);
    case "bfloat16":
      return Float64Array.from(view as Uint16Array, fromBfloat);
    default:
      throw new MinnowError(`Real numbers were expected; the tensor is ${tensor.dtype}.`, { code: "tensor/dtype" });
  }
}

/** A tensor of a real type, each number rounded to it once. */
export function roundTo(dtype: DType, shape: readonly number[], values: ArrayLike<number>): Tensor {
  if (dtype !== "float16" && dtype !== "bfloat16") return tensorFrom(dtype, shape, values);
  const bits = Uint16Array.from(values, dtype === "float16" ? toHalf : toBfloat);
  return tensorOf(dtype, shape, new Uint8Array(bits.buffer, 0, elements(shape) * 2));
}

function fromBfloat(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] as number;
}
