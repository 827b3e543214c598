import { spawnSync } from "node:child_process";
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSink, openPath } from "#platform";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "minnow-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("A file that is read", () => {
  it("opens again after it was closed", async () => {
    const path = join(folder, "a");
    await writeFile(path, Uint8Array.of(1, 2, 3));
    const source = await openPath(path);
    await source.close?.();
    expect([...(await source.read(1, 2))]).toEqual([2, 3]);
  });

  it("and changes meanwhile is an error, open or closed", async () => {
    for (const close of [false, true]) {
      const path = join(folder, `a${close}`);
      await writeFile(path, Uint8Array.of(1, 2, 3));
      const source = await openPath(path);
      if (close) await source.close?.();
      await appendFile(path, "x");
      await expect(source.read(0, 1)).rejects.toMatchObject({ code: "files/changed", at: path });
    }
  });

  it("is an error beyond its end, when it is missing, and when it is a folder", async () => {
    const path = join(folder, "a");
    await writeFile(path, Uint8Array.of(1));
    await expect((await openPath(path)).read(0, 2)).rejects.toMatchObject({ name: "MinnowError" });
    await expect(openPath(join(folder, "b"))).rejects.toMatchObject({ code: "files/missing" });
    await expect(openPath(folder)).rejects.toMatchObject({ code: "files/unreadable" });
  });
});

describe("A file that is written", () => {
  it("is not to be seen before it is whole", async () => {
    const path = join(folder, "a");
    await writeFile(path, "old");
    const sink = await createSink(path);
    await sink.write(new TextEncoder().encode("new"));
    expect(await readFile(path, "utf8")).toBe("old");
    await sink.commit();
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual(["a"]);
  });

  it("leaves nothing when it is given up", async () => {
    const sink = await createSink(join(folder, "a"));
    await sink.write(new Uint8Array(10));
    await sink.abort();
    expect(await readdir(folder)).toEqual([]);
  });

  it.skipIf(process.platform === "win32")("leaves nothing when there is no more room", async () => {
    const script = join(folder, "write.mjs");
    await build({
      stdin: {
        contents: `
          import { createSink } from "./src/platform.node.ts";
          process.on("SIGXFSZ", () => {});
          const sink = await createSink(process.argv[2]);
          try {
            for (let i = 0; i < 100; i++) await sink.write(new Uint8Array(65536));
            await sink.commit();
          } catch (error) {
            console.log(error.name, error.code);
          }`,
        resolveDir: fileURLToPath(new URL("..", import.meta.url)),
      },
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      outfile: script,
    });
    const run = spawnSync(
      "sh",
      ["-c", `ulimit -f 1000; exec "${process.execPath}" "${script}" "${join(folder, "a")}"`],
      {
        encoding: "utf8",
      },
    );
    expect(run.stdout.trim()).toBe("MinnowError files/disk-full");
    expect(await readdir(folder)).toEqual(["write.mjs"]);
  });
});
