import { defineConfig } from "vitest/config";

/** Tests that drive a real browser over the build in dist. */
export default defineConfig({
  test: { include: ["test/browser/**/*.test.ts"], pool: "forks", testTimeout: 180_000, hookTimeout: 60_000 },
});
