import { readFileSync } from "node:fs";
import type { Cpu } from "../runtime/index.ts";

/** The class of a processor, by Node's name for it and what `/proc/cpuinfo` says; undefined where that is not known. */
export function cpuOf(arch: string, info: string): Cpu | undefined {
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(info)?.[1]?.trim().split(/\s+/));
  if (flags.size === 0) return undefined;
  if (arch === "x64") return flags.has("avx512_vnni") || flags.has("avx_vnni") ? "x64-vnni" : "x64";
  if (arch === "arm64") return flags.has("asimddp") ? "arm64-dot" : "arm64";
  return undefined;
}

/** The class of this machine's processor; known on Linux alone. */
export function thisCpu(): Cpu | undefined {
  try {
    return cpuOf(process.arch, readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return undefined;
  }
}
