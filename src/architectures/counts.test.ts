import { describe, expect, it } from "vitest";
import { costOf } from "../measure/cost.ts";
import type { ArchitectureOptions } from "./architecture.ts";
import { create } from "./index.ts";

/** Name, trainable parameters, multiply-adds of one image (where the source gives them), options. Sources: the papers' code. */
type Row = readonly [name: string, parameters: number, macs?: number | undefined, options?: Partial<ArchitectureOptions>];

const ROWS: readonly Row[] = [
  ["mobilenet_v2", 3_504_872, 300_774_272],
  ["mobilenet_v2", 1_677_128, undefined, { width: 0.35 }],
  ["mobilenet_v2", 6_108_776, undefined, { width: 1.4 }],
];

describe("a net has exactly the parameters and multiply-adds of its original", () => {
  it.each(ROWS.map((row) => [title(row), row] as const))("%s", (_, [name, parameters, macs, options]) => {
    const cost = costOf(create(name, options));
    expect(cost.parameters).toBe(parameters);
    if (macs !== undefined) expect(cost.macs).toBe(macs);
    expect(cost.unknownOps).toEqual([]);
  });
});

function title([name, , , options]: Row): string {
  return options === undefined ? name : `${name} ${JSON.stringify(options)}`;
}
