import { describe, expect, it } from "vitest";
import { MinnowError } from "../errors.ts";
import type { Model } from "../ir/graph.ts";
import { readFloats } from "../ir/tensor.ts";
import { verify } from "../ir/verify.ts";
import { randomFeeds } from "../measure/feeds.ts";
import { parametersOf } from "../measure/parameters.ts";
import { openSession } from "../runtime/session.ts";
import { ARCHITECTURES, architectures, create } from "./index.ts";

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

/** A net for images that runs in no time: narrow, shallow, small, for grey images of three classes. */
function small(name: string): Model {
  const { defaults } = ARCHITECTURES[name]!;
  const wanted = { width: 0.25, depth: 0.3, channels: 1, classes: 3, resolution: 64 };
  const options = Object.entries(wanted).filter(([option]) => option in defaults);
  return create(name, { ...Object.fromEntries(options), seed: 5 });
}

const IMAGE = architectures().filter((name) => "resolution" in ARCHITECTURES[name]!.defaults);

describe.each(architectures())("%s", (name) => {
  it("verifies, runs on opset 21, and holds no weight over 4 KB", () => {
    const model = create(name);
    verify(model);
    expect(model.opsets.get("")).toBeLessThanOrEqual(21);
    for (const { bytes } of model.graph.weights.values()) expect(bytes?.byteLength ?? 0).toBeLessThanOrEqual(4096);
  });
});

describe.each(IMAGE)("%s, made small", (name) => {
  it("gives finite answers that depend on the image", async () => {
    const model = small(name);
    const session = await openSession(model);
    const outputs = await session.run(randomFeeds(model, { batch: 2, seed: 1 }));
    await session.close();
    for (const { data, shape } of Object.values(outputs)) {
      const values = Array.from(data as Float32Array);
      expect(shape[0]).toBe(2);
      expect(values.every(Number.isFinite)).toBe(true);
      const [first, second] = [values.slice(0, values.length / 2), values.slice(values.length / 2)];
      expect(first).not.toEqual(second);
    }
  });

  it("grows with its width and its depth, where it has them", () => {
    const { defaults } = ARCHITECTURES[name]!;
    for (const option of ["width", "depth"] as const)
      if (option in defaults)
        expect(parametersOf(create(name, { [option]: 2 }))).toBeGreaterThan(parametersOf(create(name)));
  });
});

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
      readFloats(create("mobilenet_v2", { seed }).graph.weights.get("features.2.conv.0.0.weight")!);
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

  it("says so where a width leaves no channel", () => {
    expect(codeOf(() => create("mobilenet_v2", { width: 0.01 }))).toBe("architectures/no-channels");
    expect(messageOf(() => create("resnet18", { width: 0.001 }))).toContain("greater width");
  });

  it("refuses an option the net has not, and names those it has", () => {
    expect(messageOf(() => create("mobilenet_v3_large", { depth: 2 }))).toContain(
      "classes, channels, resolution, width",
    );
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
