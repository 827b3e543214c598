import { inspect } from "../../measure/inspect.ts";
import { sizeOf } from "../../measure/size.ts";
import { inspectionText } from "../../report/inspect.ts";
import { bold, dim, print, printJson } from "../console.ts";
import { openModel } from "../model.ts";
import { flag, onePath } from "../options.ts";
import type { Verb } from "../verb.ts";

export const verb: Verb = {
  name: "inspect",
  usage: "MODEL",
  summary: "Show what is in a model, where its bytes and work are, what to try.",
  options: {
    download: {
      type: "boolean",
      help: "Measure the download exactly (brotli, 2.5 s a megabyte) instead of by a sample.",
    },
  },
  examples: [["minnow inspect model.onnx", "Answers in a second, whatever the size: weights stay in the file."]],
  async run(given) {
    const { model, path, bytes } = await openModel(onePath(given));
    const sampled = await inspect(model, bytes);
    const exact = flag(given, "download") ? { brotliBytes: (await sizeOf(model, { brotli: true })).brotliBytes } : {};
    const inspection = { ...sampled, ...exact };
    if (flag(given, "json")) printJson(inspection);
    else print(...inspectionText(inspection, path, { bold, dim }));
    return 0;
  },
};
