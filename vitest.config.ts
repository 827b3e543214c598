import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";

/** MINNOW_TEST=dist runs the same tests against the build: what they import from src is then read from dist. */
const built = process.env.MINNOW_TEST === "dist";
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

if (built && !existsSync(at("./dist/index.js"))) throw new Error("MINNOW_TEST=dist needs the build: npm run build.");

/** Answers imports of a source file with what was built from it. */
const fromBuild: Plugin = {
  name: "from-build",
  enforce: "pre",
  resolveId(source, importer) {
    const path = source.startsWith("/")
      ? source
      : importer && source.startsWith(".")
        ? resolve(dirname(importer), source)
        : "";
    if (!path.startsWith(at("./src/")) || !path.endsWith(".ts")) return undefined;
    const compiled = path.replace(at("./src/"), at("./dist/")).replace(/\.ts$/, ".js");
    return existsSync(compiled) ? compiled : undefined;
  },
};

export default defineConfig({
  plugins: built ? [fromBuild] : [],
  resolve: {
    alias: [
      { find: "#platform", replacement: at(built ? "./dist/platform.node.js" : "./src/platform.node.ts") },
      // What examples import from the package.
      { find: /^minnow$/, replacement: at(built ? "./dist/index.js" : "./src/index.ts") },
      { find: /^minnow\/(\w+)$/, replacement: at(built ? "./dist/$1/index.js" : "./src/$1/index.ts") },
    ],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["test/browser/**"],
    pool: "forks",
    // The default leaves one core idle, which is half of a machine with two.
    maxWorkers: "100%",
    testTimeout: 120_000,
  },
});
