import { int } from "../ir/attrs.ts";
import type { Attrs, Node } from "../ir/graph.ts";
import { type Axis, type Masks, ONE, sizeAfter, sizeOf } from "./axis.ts";
import type { Derivation, Flow } from "./derive.ts";

/** One number a node holds: itself, or the axis whose size it is. */
export type Held = number | Axis;

/** Said of `holds`: indices, which are counted anew. */
export const COUNTED_ANEW = "#";

/** The numbers that a node holds, as `holds` of AxesRule says them; not those of indices counted anew. */
export function heldOf(
  d: Pick<Derivation, "axes">,
  node: Node,
  letters: ReadonlyMap<string, Axis>,
  said: string | readonly string[],
): Held[] {
  return (typeof said === "string" ? [said] : said).flatMap((expression): Held[] => {
    const output = /^@(\d+)$/.exec(expression)?.[1];
    if (output !== undefined) return [...(d.axes.get(node.outputs[Number(output)] ?? "") ?? [])];
    if (/^-?\d+$/.test(expression)) return [Number(expression)];
    const product = (text: string): Axis => ({ prod: [...text].map((letter) => letters.get(letter) ?? ONE) });
    return [{ cat: expression.split("+").map(product) }];
  });
}

export const heldBefore = (held: Held): number => (typeof held === "number" ? held : sizeOf(held));

export const heldAfter = (held: Held, masks: Masks): number =>
  typeof held === "number" ? held : sizeAfter(held, masks);

/** The attributes of a node with the numbers that follow from a cut; the very same where none does. */
export function attrsAfter(d: Pick<Derivation, "axes">, { node, rule, letters }: Flow, masks: Masks): Attrs {
  let { attrs } = node;
  for (const [name, said] of Object.entries(rule.holds ?? {})) {
    if (/^\d+$/.test(name)) continue;
    const held = heldOf(d, node, letters, said);
    if (held.every((h) => heldBefore(h) === heldAfter(h, masks))) continue;
    const numbers = held.map((h) => heldAfter(h, masks));
    const old = attrs[name];
    attrs = { ...attrs, [name]: old?.type === "ints" ? { ...old, value: numbers } : int(numbers[0] as number) };
  }
  return attrs;
}
