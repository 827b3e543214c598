import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { urlSource } from "./url.ts";

let server: Server;
afterEach(() => new Promise((done) => server.close(done)));

const FILES: Record<string, Uint8Array> = {
  "/m/a.bin": Uint8Array.from({ length: 100_000 }, (_, i) => i % 251),
  "/secret": Uint8Array.of(1),
};

/** Serves FILES, answering range requests or not; counts the bytes that went out. */
async function serve(ranges: boolean): Promise<{ url: URL; sent: () => number }> {
  let sent = 0;
  server = createServer((request, response) => {
    const file = FILES[request.url ?? ""];
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (file === undefined) response.writeHead(404, "Not Found").end();
    else if (ranges && range) {
      const [from, to] = [Number(range[1]), Number(range[2])];
      sent += to + 1 - from;
      response.writeHead(206, { "content-range": `bytes ${from}-${to}/${file.length}`, etag: '"1"' });
      response.end(file.subarray(from, to + 1));
    } else {
      sent += file.length;
      response.end(file);
    }
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/m/`), sent: () => sent };
}

describe("A URL is read", () => {
  it.each([true, false])("in pieces where the server can, else as a whole (%s)", async (ranges) => {
    const { url, sent } = await serve(ranges);
    const source = await urlSource(new URL("a.bin", url));
    expect(source.size).toBe(100_000);
    expect([...(await source.read(260, 3))]).toEqual([9, 10, 11]);
    expect((await source.read(5, 0)).length).toBe(0);
    expect(sent()).toBe(ranges ? 4 : 100_000);
    const sibling = await source.sibling?.("a.bin");
    expect(sibling?.size).toBe(100_000);
  });

  it("and what is not there, or lies outside its folder, is an error", async () => {
    const { url } = await serve(true);
    await expect(urlSource(new URL("b", url))).rejects.toMatchObject({ code: "files/unreachable", at: `${url}b` });
    const source = await urlSource(new URL("a.bin", url));
    for (const path of ["../secret", "/secret", "x/../../secret", "http://localhost/x"])
      await expect(source.sibling?.(path)).rejects.toMatchObject({ name: "MinnowError" });
    await expect(urlSource(new URL("http://127.0.0.1:1/"))).rejects.toMatchObject({ code: "files/unreachable" });
  });
});
