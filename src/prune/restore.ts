import type { Masks, Var } from "./axis.ts";

/** What an index is worth beside the others of all groups. */
export type Worth = (group: Var, index: number) => number;

/**
 * Gives back what a cut took more than its targets ask for. Groups of one size are rounded together, so that the last step of a
 * search can take far more than is needed: of the groups in which `small` keeps less than `large`, those that are worth most for what
 * they cost are left as in `large` while `meets` holds. `cost` is what a cut leaves, as a share of what may be left.
 */
export function restored(
  small: Masks,
  large: Masks,
  { worth, cost, meets }: { worth: Worth; cost: (masks: Masks) => number; meets: (masks: Masks) => boolean },
): Masks {
  const least = cost(small);
  const back = [...small]
    .filter(([group, mask]) => kept(large.get(group), mask.length) > kept(mask, mask.length))
    .map(([group, mask]) => {
      const before = large.get(group);
      const own = [...mask.keys()].filter((i) => mask[i] === 0 && before?.[i] !== 0);
      const gain = own.reduce((sum, i) => sum + worth(group, i), 0);
      return { group, before, rate: gain / Math.max(cost(replaced(small, group, before)) - least, 1e-12) };
    })
    .sort((a, b) => b.rate - a.rate);
  let masks = small;
  for (const { group, before } of back) {
    const more = replaced(masks, group, before);
    if (meets(more)) masks = more;
  }
  return masks;
}

const kept = (mask: Uint8Array | undefined, size: number): number => mask?.reduce((a, b) => a + b, 0) ?? size;

function replaced(masks: Masks, group: Var, mask: Uint8Array | undefined): Masks {
  const out = new Map(masks);
  if (mask === undefined) out.delete(group);
  else out.set(group, mask);
  return out;
}
