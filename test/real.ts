import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = process.env["MINNOW_REAL"] ?? fileURLToPath(new URL("../../shared/real/", import.meta.url));

/** The absolute path of a file among the real models and data, or undefined where that folder is absent. */
export function real(path: string): string | undefined {
  const full = `${folder.replace(/\/$/, "")}/${path}`;
  return existsSync(full) ? full : undefined;
}

/** Why a test that needs {@link real} files is skipped. */
export const WITHOUT_REAL = "skipped: the folder of real models (MINNOW_REAL, or ../shared/real) is not here";

/** The real models, by their paths under `models/`; those under `arch/` are gzipped. */
export const REAL_MODELS: readonly string[] = real("models")
  ? (readdirSync(`${real("models")}`, { recursive: true, encoding: "utf8" }) as string[])
      .filter((path) => /\.onnx(\.gz)?$/.test(path))
      .sort()
  : [];
