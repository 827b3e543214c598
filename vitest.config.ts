import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** MINNOW_TEST=dist runs the same tests against the build: what stands in src is then read from dist. */
const built = process.env.MINNOW_TEST === "dist";
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: built
      ? [{ find: "#platform", replacement: at("./dist/platform.node.js") }]
      : [{ find: "#platform", replacement: at("./src/platform.node.ts") }],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["test/browser/**"],
    pool: "forks",
    testTimeout: 120_000,
  },
});
