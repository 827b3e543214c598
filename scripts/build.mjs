/** Builds dist: one JavaScript file and one declaration for each source file. */
import { spawnSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

rmSync(at("dist"), { recursive: true, force: true });
const { status } = spawnSync(
  process.execPath,
  [at("node_modules/typescript/bin/tsc"), "-p", at("tsconfig.build.json")],
  {
    stdio: "inherit",
  },
);
if (status === 0) chmodSync(at("dist/cli/bin.js"), 0o755);
process.exit(status ?? 1);
