import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Recipe } from "./recipe.ts";
import { fileLog } from "./trials.node.ts";

const recipe: Recipe = [{ name: "optimize" }, { name: "storeWeights", to: "int8" }];
const ended = { name: "x", recipe, met: false, distance: 1, seconds: 0 };

describe("the trial log", () => {
  it("does not hold an interrupt by the user against what was under way", async () => {
    const folder = await mkdtemp(join(tmpdir(), "minnow-log-"));
    const path = join(folder, "log.jsonl");
    const interrupt = new AbortController();
    const log = await fileLog(path, interrupt.signal);
    await log.started(recipe);
    interrupt.abort();
    expect((await fileLog(path)).killed(recipe)).toBe(false);
    await rm(folder, { recursive: true });
  });

  it("knows in the next run what never ended in the last", async () => {
    const folder = await mkdtemp(join(tmpdir(), "minnow-log-"));
    const path = join(folder, "log.jsonl");
    const first = await fileLog(path);
    expect(first.killed(recipe)).toBe(false);
    await first.started(recipe);
    expect((await fileLog(path)).killed(recipe)).toBe(true);
    await first.ended(recipe, ended);
    expect((await fileLog(path)).killed(recipe)).toBe(false);
    await first.close();
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  });
});
