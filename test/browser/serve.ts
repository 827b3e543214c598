import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../../", import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** A page server of the project's folder, cross-origin isolated so that WASM threads can be tested. */
export async function serve(pages: Readonly<Record<string, string>>): Promise<{ url: string; close(): void }> {
  const server: Server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    try {
      const page = pages[path];
      const body = page ?? (await readFile(join(root, normalize(path))));
      response.setHeader(
        "Content-Type",
        page === undefined ? (TYPES[extname(path)] ?? "application/octet-stream") : "text/html",
      );
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

/** Bundles a script as a page would, ONNX Runtime apart. */
export async function bundle(code: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: root, loader: "js" },
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["browser"],
    external: ["onnxruntime-web"],
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}

/** A page that runs a module, ONNX Runtime's web build standing beside it. */
export const pageOf = (script: string): string => `<!doctype html><meta charset="utf-8"><title>minnow</title>
<script type="importmap">{"imports":{"onnxruntime-web":"/node_modules/onnxruntime-web/dist/ort.bundle.min.mjs","onnxruntime-web/webgpu":"/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"}}</script>
<script type="module">${script.replaceAll("</script>", "<\\/script>")}</script>`;
