import { benchmark, type Latency } from "../../measure/benchmark.ts";
import { randomFeeds } from "../../measure/feeds.ts";
import { sizeOf } from "../../measure/size.ts";
import { bytes, milliseconds, table } from "../../report/words.ts";
import { dim, print, printJson } from "../console.ts";
import { type Opened, openModel } from "../model.ts";
import { choice, flag, number, RUNNING, wrong } from "../options.ts";
import type { Given, Verb } from "../verb.ts";

export const verb: Verb = {
  name: "bench",
  usage: "MODEL [MODEL …]",
  summary: "Time models against each other, in Node and in WASM.",
  detail: "The models run in turn, so that a machine whose speed drifts slows all alike: trust the ratios.",
  options: {
    ...RUNNING,
    target: { type: "string", value: "node|wasm|both", help: "Where to measure (both)." },
    batch: { type: "string", value: "N", help: "Examples a run (1)." },
    seconds: { type: "string", value: "N", help: "Time for each model and runtime (2)." },
    download: { type: "boolean", help: "Measure brotli bytes too (2.5 s a megabyte)." },
  },
  examples: [["minnow bench float.onnx int8.onnx", "Latency in Node and in WASM, and the ratio to the first."]],
  async run(given) {
    if (given.paths.length === 0) throw wrong("MODEL is missing.", "Give one or more .onnx files.");
    const target = choice(given, "target", ["node", "wasm", "both"]) ?? "both";
    const opened: Opened[] = [];
    for (const path of given.paths) opened.push(await openModel(path));
    const first = opened[0] as Opened;
    const feeds = randomFeeds(first.model, { batch: number(given, "batch", { least: 1 }) ?? 1 });
    const rows: { opened: Opened; latency: Latency; ratio: number; brotliBytes: number | undefined }[] = [];
    for (const runtime of target === "both" ? (["node", "wasm"] as const) : [target]) {
      const results = await benchmark(
        opened.map((o) => o.model),
        feeds,
        { runtime, ...timing(given) },
      );
      for (const [i, latency] of results.entries()) {
        const model = opened[i] as Opened;
        const { brotliBytes } = flag(given, "download")
          ? await sizeOf(model.model, { brotli: true })
          : { brotliBytes: undefined };
        rows.push({ opened: model, latency, ratio: latency.medianMs / (results[0] as Latency).medianMs, brotliBytes });
      }
    }
    if (flag(given, "json"))
      printJson({
        models: rows.map(({ opened: o, latency: { runtime, ...rest }, brotliBytes }) => ({
          model: o.path,
          target: runtime,
          ...rest,
          bytes: o.bytes,
          brotliBytes,
        })),
      });
    else
      print(
        ...table(
          [
            ["", "runtime", "median", "p10 … p90", "× first", "load", "file"],
            ...rows.map(({ opened: o, latency: l, ratio }) => [
              o.path,
              l.runtime,
              milliseconds(l.medianMs),
              `${l.p10Ms.toFixed(2)} … ${l.p90Ms.toFixed(2)}`,
              ratio.toFixed(2),
              milliseconds(l.loadMs),
              bytes(o.bytes),
            ]),
          ],
          [2, 3, 4, 5, 6],
        ),
        dim(`  ${rows[0]?.latency.threads} thread, interleaved, seeded random input; compare within a runtime`),
      );
    return 0;
  },
};

const timing = (given: Given) => ({
  threads: number(given, "threads", { least: 1 }) ?? 1,
  seconds: number(given, "seconds", { least: 0.1, whole: false }) ?? 2,
  signal: given.signal,
});
