import { describe, expect, it } from "vitest";
import { SPEEDS, speedOf } from "./index.ts";

describe("What is fast where", () => {
  it("has one row for a target and a format, with a reason, a source and a version", () => {
    expect(new Set(SPEEDS.map(({ target, format }) => `${target} ${format}`)).size).toBe(SPEEDS.length);
    for (const { why, source, since } of SPEEDS) {
      expect(why).not.toBe("");
      expect(source).not.toBe("");
      expect(since).toMatch(/^1\.\d\d$/);
    }
  });

  it("says nothing that its own figures contradict", () => {
    for (const { verdict, ratio: [least, most] = [] } of SPEEDS) {
      if (least === undefined || most === undefined) continue;
      expect(least).toBeLessThanOrEqual(most);
      if (verdict === "fast") expect(most).toBeLessThanOrEqual(1);
      if (verdict === "slow") expect(least).toBeGreaterThan(1);
      if (verdict === "mixed") expect(least < 1 && most > 1).toBe(true);
    }
  });

  it("knows what it does not know", () => {
    expect(speedOf("webnn", "static-int8").verdict).toBe("unknown");
    expect(speedOf("wasm", "matmul-4bit").verdict).toBe("slow");
  });
});
