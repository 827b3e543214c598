import { optimize } from "../../passes/index.ts";
import { bytes, plural } from "../../report/words.ts";
import { dim, green, print, printJson } from "../console.ts";
import { figuresOf, openModel, outputPath, save } from "../model.ts";
import { flag, onePath, WRITING } from "../options.ts";
import type { Verb } from "../verb.ts";

export const verb: Verb = {
  name: "optimize",
  usage: "MODEL [-o PATH]",
  summary: "Clean a graph up; its outputs stay the same.",
  detail:
    "Folds constants, shapes and BatchNorm, merges what can be one, drops what is dead or double. Names of inputs, outputs and of the nodes that stay are kept.",
  options: { ...WRITING, changes: { type: "boolean", help: "List every change." } },
  examples: [["minnow optimize model.onnx -o clean.onnx", "Writes the cleaned model."]],
  async run(given) {
    const { model, path } = await openModel(onePath(given));
    const output = outputPath(given, path);
    const result = await optimize().run(model);
    await save(result.model, output);
    const [before, after] = [await figuresOf(model, path), await figuresOf(result.model, output)];
    if (flag(given, "json")) printJson({ output, before, after, changes: result.changes });
    else {
      if (flag(given, "changes"))
        print(
          ...result.changes.map(
            ({ at, what, times }) => `  ${at}: ${what}${times === undefined ? "" : ` (${times} times)`}`,
          ),
        );
      print(
        `${green("✔")} ${output}  ${before.nodes} → ${plural(after.nodes, "node")} · ${bytes(before.bytes)} → ${bytes(after.bytes)}`,
        ...(flag(given, "changes")
          ? []
          : [dim(`  ${plural(result.changes.length, "kind")} of change; --changes lists them`)]),
      );
    }
    return 0;
  },
};
