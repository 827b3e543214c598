import type { Masks } from "./axis.ts";
import type { Derivation } from "./derive.ts";
import type { Group } from "./groups.ts";
import type { Scores } from "./scores.ts";
import type { StructuredPruningOptions } from "./types.ts";

/** Which indices stay when a share of them goes; the larger the share, the fewer stay in any group. */
export type Selection = (share: number) => Masks;

type Ranking = Pick<StructuredPruningOptions, "globalPruning" | "isomorphic" | "maxPruningRatio"> & {
  readonly roundTo: number;
};

/** Prepares a {@link Selection}: every group's indices by score, and the order in which those of all groups go. */
export function selection(d: Derivation, groups: readonly Group[], scores: Scores, options: Ranking): Selection {
  const order = new Map(groups.map((group) => [group, ascending(scores.get(group) as Float64Array)]));
  const classes = classesOf(d, groups, options).map((members) =>
    members
      .flatMap((group) => Array.from(scores.get(group) as Float64Array, (score) => ({ group, score })))
      .sort((a, b) => a.score - b.score),
  );
  return (share) => {
    const going = new Map<Group, number>();
    for (const list of classes)
      for (const { group } of list.slice(0, Math.round(share * list.length)))
        going.set(group, (going.get(group) ?? 0) + 1);
    const masks = new Map<Group["variable"], Uint8Array>();
    for (const [group, count] of going) {
      const kept = keptOf(group, count, options);
      if (kept === group.size) continue;
      const mask = new Uint8Array(group.size).fill(1);
      for (const index of order.get(group)?.subarray(0, group.size - kept) ?? []) mask[index] = 0;
      masks.set(group.variable, mask);
    }
    return masks;
  };
}

const ascending = (scores: Float64Array): Int32Array =>
  Int32Array.from(scores.keys()).sort((a, b) => (scores[a] as number) - (scores[b] as number) || a - b);

/** Groups that are ranked together. */
function classesOf(d: Derivation, groups: readonly Group[], { globalPruning, isomorphic }: Ranking): Group[][] {
  if (isomorphic !== true) return globalPruning === true ? [[...groups]] : groups.map((group) => [group]);
  const classes = new Map<string, Group[]>();
  for (const group of groups) {
    const key = kindOf(d, group);
    const list = classes.get(key) ?? [];
    list.push(group);
    classes.set(key, list);
  }
  return [...classes.values()];
}

/** What a group runs along, without sizes: the layers that read its weights, where, and along which axis. */
function kindOf({ model }: Derivation, { members }: Group): string {
  return members
    .map(({ weight, axis }) => {
      const readers = model.graph.nodes.filter((node) => node.inputs.includes(weight));
      return `${readers.map((node) => `${node.op}.${node.inputs.indexOf(weight)}`).join("+")}[${axis}]`;
    })
    .sort()
    .join(" ");
}

/** How many indices of a group stay when this many should go: a multiple that kernels like, and one at least. */
function keptOf({ size, members }: Group, going: number, { maxPruningRatio = 1, roundTo }: Ranking): number {
  const most = Math.floor(size * maxPruningRatio + 1e-9);
  const wanted = Math.max(1, size - Math.min(going, most));
  const each = Math.min(...members.map(({ multiplicity }) => multiplicity));
  const step = roundTo / commonDivisor(roundTo, each);
  return Math.min(size, Math.ceil(wanted / step) * step);
}

function commonDivisor(a: number, b: number): number {
  return b === 0 || !Number.isInteger(b) ? a : commonDivisor(b, a % b);
}
