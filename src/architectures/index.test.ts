import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import { readFloats } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { openSession } from "../runtime/session.ts";
import { create } from "./index.ts";

const codeOf = (make: () => unknown): string | undefined => {
  try {
    make();
  } catch (error) {
    return error instanceof MinnowError ? error.code : "no MinnowError";
  }
  return undefined;
};

const messageOf = (make: () => unknown): string => {
  try {
    make();
  } catch (error) {
    return (error as Error).message;
  }
  return "";
};

describe("create", () => {
  it("makes a net that runs, whose outputs are finite and not all the same", async () => {
    const model = create("mobilenet_v2", { classes: 7, resolution: 64, width: 0.25, seed: 3 });
    verify(model);
    const session = await openSession(model);
    const { logits } = await session.run(randomFeeds(model, { batch: 2, seed: 1 }));
    await session.close();
    expect(logits?.shape).toEqual([2, 7]);
    const values = Array.from(logits?.data as Float32Array);
    expect(values.every(Number.isFinite)).toBe(true);
    expect(new Set(values).size).toBe(14);
  });

  it("gives the same weights for the same seed and others for another", async () => {
    const weight = (seed: number): Promise<Float32Array> =>
      readFloats(create("mobilenet_v2", { seed }).graph.weights.get("features.18.0.weight")!);
    const [first, again, other] = [await weight(1), await weight(1), await weight(2)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it("offers the nearest names for one that does not exist", () => {
    expect(codeOf(() => create("mobilenetv2"))).toBe("architectures/name-unknown");
    expect(messageOf(() => create("mobilenetv2"))).toContain("mobilenet_v2");
    expect(codeOf(() => create("toString"))).toBe("architectures/name-unknown");
  });

  it("says which resolution is enough where one is too small for the strides", () => {
    expect(codeOf(() => create("mobilenet_v2", { resolution: 16 }))).toBe("architectures/resolution");
    expect(messageOf(() => create("mobilenet_v2", { resolution: 16 }))).toContain("resolution of 17 or more");
    expect(codeOf(() => create("mobilenet_v2", { resolution: 17 }))).toBeUndefined();
  });

  it("refuses options that are no sizes", () => {
    for (const options of [
      { classes: 0 },
      { classes: 2.5 },
      { width: 0 },
      { width: Number.NaN },
      { depth: -1 },
      { seed: -1 },
    ])
      expect(codeOf(() => create("mobilenet_v2", options))).toBe("architectures/option");
  });
});
