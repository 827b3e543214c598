import { int, ints, intsAttr, type Node } from "../ir/index.ts";
import type { Emitter } from "../ops/emit.ts";
import type { Emit } from "./block-kernels.ts";

/** What a convolution with batch and channels swapped is made of: it is the gradient of the kernel that took `x` to what `dy` belongs to. */
export interface Swapped {
  readonly x: string;
  readonly dy: string;
}

/** The parts of Conv(Reshape(Transpose(x)), Transpose(dy)), as a kernel's gradient is written; undefined for any other Conv. */
export function swappedOf(g: Emitter, node: Node): Swapped | undefined {
  const turned = (value: string | undefined, perm: string) => {
    const by = value === undefined ? undefined : g.edit.writerOf(value);
    return by?.op === "Transpose" && intsAttr(by, "perm")?.join() === perm ? by.inputs[0] : undefined;
  };
  const rows = g.edit.writerOf(node.inputs[0] as string);
  const x = rows?.op === "Reshape" ? turned(rows.inputs[0], "0,2,3,1") : undefined;
  const dy = turned(node.inputs[1], "1,0,2,3");
  return x === undefined || dy === undefined ? undefined : { x, dy };
}

/**
 * That convolution with the examples in blocks of `block`: what takes its place, plain again. `blocked` are the blocked forms
 * of both; an `x` of few channels has none. The input is padded along its rows beforehand: ONNX Runtime takes positions
 * whose windows reach over an edge one by one.
 */
export function blockedKernelGradient(
  g: Emitter,
  emit: Emit,
  node: Node,
  of: Swapped,
  blocked: { readonly x: string | undefined; readonly dy: string },
  block: number,
): string {
  const [batch, channels, height, width] = g.shape(of.x) as [number, number, number, number];
  const [, filters, ...out] = g.shape(of.dy) as [number, number, number, number];
  const [filled, examples] = [g.shape(blocked.dy)[1] as number, Math.ceil(batch / block) * block];
  const [parts, each] = blocked.x === undefined ? [1, channels] : [(g.shape(blocked.x)[1] as number) / block, block];
  const whole = (value: string) => g.pad(value, [0, 0, 0, 0, examples - batch, 0, 0, 0]);
  const [groups, places] = [examples / block, out[0] * out[1]];
  const kernels = g.transpose(
    g.reshape(whole(blocked.dy), [groups, block, filled / block, places, block]),
    [2, 0, 3, 1, 4],
  );
  const partsFirst = (value: string) => (parts === 1 ? value : g.transpose(value, [1, 0, 2]));
  // [parts, N, H, W·each], then with N in blocks: the reordering is of pictures whose channels are the examples.
  const rows =
    blocked.x === undefined
      ? whole(g.reshape(node.inputs[0] as string, [batch, height, width, channels]))
      : partsFirst(g.reshape(whole(blocked.x), [examples, parts, height * width * block]));
  const pictures = g.reshape(rows, [parts * groups, block, height, width * each]);
  const lines = g.reshape(emit("ReorderInput", [pictures], g.shape(pictures)), [
    parts * groups * height,
    width * each * block,
  ]);
  const [top, left, bottom, right] = intsAttr(node, "pads") as [number, number, number, number];
  const [down, along] = intsAttr(node, "dilations") as [number, number];
  const share = (reach: number) => (reach / channels) * each;
  const wide = g.pad(lines, [0, share(left) * block, 0, share(right) * block]);
  const input = g.reshape(wide, [parts, examples, height, share(left + right) + width * each]);
  const [, , h, w] = g.shape(node.outputs[0] as string) as [number, number, number, number];
  const taken = emit("Conv", [input, g.reshape(kernels, [filled, examples, ...out])], [parts, filled, h, share(w)], {
    kernel_shape: ints(out),
    dilations: ints([down, share(along)]),
    strides: ints(intsAttr(node, "strides") ?? [1, 1]),
    pads: ints([top, 0, bottom, 0]),
  });
  const plain = emit("ReorderOutput", [taken], [parts, filters, h, share(w)], { channels: int(filters) });
  const apart = g.transpose(g.reshape(plain, [parts, filters, h, w / channels, each]), [1, 2, 3, 0, 4]);
  const together = g.reshape(apart, [1, filters, h, w / channels, parts * each]);
  const own = parts * each === channels ? together : g.slice(together, [0], [channels], [4]);
  return g.reshape(own, [1, filters, h, w]);
}
