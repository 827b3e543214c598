import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = process.env["MINNOW_REAL"] ?? fileURLToPath(new URL("../../shared/real/", import.meta.url));

/** The absolute path of a file among the real models and data, or undefined where that folder is absent. */
export function real(path: string): string | undefined {
  const full = `${folder.replace(/\/$/, "")}/${path}`;
  return existsSync(full) ? full : undefined;
}

/** Why a test that needs {@link real} files is skipped. */
export const WITHOUT_REAL = "skipped: the folder of real models (MINNOW_REAL, or ../shared/real) is not here";
