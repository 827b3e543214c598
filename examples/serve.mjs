/**
 * `node examples/serve.mjs NAME [PORT]`: serves the page of an example. NAME/page.js is NAME/page.mjs, bundled with what it imports when
 * it is asked for; so is any other script.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const packages = fileURLToPath(new URL("../node_modules/", import.meta.url));

const TYPES = {
  ".css": "text/css",
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".png": "image/png",
  ".wasm": "application/wasm",
  ".wav": "audio/wav",
};

/** ONNX Runtime's builds stay files of their own: they look for their WebAssembly beside them. */
const beside = {
  name: "beside",
  setup(bundler) {
    bundler.onResolve({ filter: /^onnxruntime-web/ }, ({ path }) => ({
      path: `/node_modules/onnxruntime-web/dist/${path.endsWith("webgpu") ? "ort.webgpu" : "ort.wasm"}.bundle.min.mjs`,
      external: true,
    }));
  },
};

async function bundled(script) {
  const { outputFiles } = await build({
    entryPoints: [script],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["browser"],
    plugins: [beside],
  });
  return outputFiles[0].contents;
}

/**
 * A server of the example's page on `port`, any free one by default; cross-origin isolated, or there would be no threads. `made` is the
 * folder that answers for the page's own `made/`.
 */
export async function serve(name, { port = 0, made = join(here, name, "made") } = {}) {
  const scripts = new Map();
  const find = async (path) => {
    if (path.startsWith("/node_modules/")) return readFile(join(packages, path.slice("/node_modules/".length)));
    if (path.startsWith(`/${name}/made/`)) return readFile(join(made, path.slice(`/${name}/made/`.length)));
    const file = join(here, path.endsWith("/") ? `${path}index.html` : path);
    const script = file.replace(/\.js$/, ".mjs");
    if (script === file || !existsSync(script)) return readFile(file);
    if (!scripts.has(script)) scripts.set(script, bundled(script));
    return scripts.get(script);
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
  return { url: `http://127.0.0.1:${server.address().port}/${name}/`, close: () => server.close() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name, port = 8080] = process.argv.slice(2);
  if (name === undefined || !existsSync(join(here, name, "index.html"))) {
    console.error(`There is no examples/${name ?? "NAME"}/index.html: node examples/serve.mjs NAME [PORT]`);
    process.exit(2);
  }
  console.log(`The page is at ${(await serve(name, { port: Number(port) })).url}`);
}
