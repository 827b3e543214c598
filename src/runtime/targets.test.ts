import { describe, expect, it } from "vitest";
import { SPEEDS, speedOf } from "./index.ts";

describe("What is fast where", () => {
  it("has one row for a target and a format, with a reason, a source and a version", () => {
    expect(new Set(SPEEDS.map(({ target, cpu, format }) => `${target} ${cpu} ${format}`)).size).toBe(SPEEDS.length);
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

  it("does not take what one processor does for what another does", () => {
    for (const format of ["static-int8", "dynamic-int8", "matmul-4bit"] as const) {
      expect(speedOf("node", format).cpu).toBe("x64-vnni");
      expect(speedOf("node", format, "x64-vnni").verdict).toBe("fast");
      for (const cpu of ["x64", "arm64", "arm64-dot"] as const)
        expect(speedOf("node", format, cpu).verdict).toBe("unknown");
    }
    expect(speedOf("wasm", "matmul-4bit", "arm64").verdict).toBe("slow");
    expect(speedOf("node", "storage", "arm64").verdict).toBe("same");
  });
});
