import { describe, expect, it } from "vitest";
import { cpuOf } from "./cpu.ts";

describe("the class of a processor", () => {
  it("is told by the instructions it has, and is unknown where nothing says", () => {
    expect(cpuOf("x64", "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n")).toBe("x64-vnni");
    expect(cpuOf("x64", "flags\t\t: fpu avx2 avx_vnni\n")).toBe("x64-vnni");
    expect(cpuOf("x64", "flags\t\t: fpu avx2 avx512f\n")).toBe("x64");
    expect(cpuOf("arm64", "Features\t: fp asimd asimddp\n")).toBe("arm64-dot");
    expect(cpuOf("arm64", "Features\t: fp asimd\n")).toBe("arm64");
    expect(cpuOf("x64", "")).toBeUndefined();
    expect(cpuOf("riscv64", "flags : a b\n")).toBeUndefined();
  });
});
