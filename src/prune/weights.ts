import { type Tensor, viewOf } from "../ir/tensor.ts";
import { fromHalf } from "../numeric/half.ts";

/** The numbers of a float tensor of 16 bits or more, as float32. */
export async function floatsOf(tensor: Tensor): Promise<Float32Array> {
  const view = viewOf(tensor.dtype, await tensor.read());
  if (tensor.dtype === "float16") return Float32Array.from(view as Uint16Array, fromHalf);
  if (tensor.dtype === "bfloat16")
    return new Float32Array(Uint32Array.from(view as Uint16Array, (bits) => bits << 16).buffer);
  return view instanceof Float32Array ? view : Float32Array.from(view as Float64Array);
}
