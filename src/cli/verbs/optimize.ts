import type { Model } from "../../ir/graph.ts";
import { optimize, planSeparable, separable, sequence, upgrade } from "../../passes/index.ts";
import { bytes, count, percent, plural, table } from "../../report/words.ts";
import { dim, green, print, printJson, yellow } from "../console.ts";
import { figuresOf, openModel, outputPath, save } from "../model.ts";
import { flag, onePath, text, WRITING, wrong } from "../options.ts";
import type { Given, Verb } from "../verb.ts";

export const verb: Verb = {
  name: "optimize",
  usage: "MODEL [-o PATH]",
  summary: "Clean a graph up; its outputs stay the same.",
  detail:
    "Folds constants, shapes and BatchNorm, merges what can be one, drops what is dead or double. Names of inputs, outputs and of the nodes that stay are kept. With --separable outputs do change: the model has to be trained again.",
  options: {
    ...WRITING,
    changes: { type: "boolean", help: "List every change." },
    separable: {
      type: "boolean",
      help: "Make depthwise and pointwise convolutions of full ones; the nearest there are.",
    },
    "nodes-to-exclude": { type: "string", value: "A,B", help: "With --separable: nodes that stay, by name." },
    plan: { type: "boolean", help: "With --separable: show what it would save, and write nothing." },
  },
  examples: [
    ["minnow optimize model.onnx -o clean.onnx", "Writes the cleaned model."],
    ["minnow optimize model.onnx --separable --plan", "Shows what separable convolutions would save."],
  ],
  async run(given) {
    const { model, path } = await openModel(onePath(given));
    if (flag(given, "plan")) return plan(given, model);
    const output = outputPath(given, path);
    const passes = flag(given, "separable") ? [optimize(), separable(separableIn(given)), optimize()] : [optimize()];
    const result = await sequence(passes, "optimize").run(model);
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

const separableIn = (given: Given) => ({ nodesToExclude: text(given, "nodes-to-exclude")?.split(",") ?? [] });

async function plan(given: Given, model: Model): Promise<number> {
  if (!flag(given, "separable")) throw wrong("--plan has nothing to plan.", "Give --separable with it.");
  const layers = await planSeparable((await upgrade().run(model)).model, separableIn(given));
  const sum = (of: (layer: (typeof layers)[number]) => number) => layers.reduce((total, layer) => total + of(layer), 0);
  const [before, after] = [sum(({ macs }) => macs.before), sum(({ macs }) => macs.after)];
  if (flag(given, "json")) {
    printJson({ layers, macs: { before, after } });
    return 0;
  }
  if (layers.length === 0) print("No convolution would become cheaper.");
  else
    print(
      ...table(
        [
          ["convolution", "MACs", "become", "saving", "error"],
          ...layers.map(({ name, macs, saving, error }) => [
            name,
            count(macs.before),
            count(macs.after),
            `${saving.toFixed(1)}×`,
            percent(error),
          ]),
          [plural(layers.length, "convolution"), count(before), count(after), `${(before / after).toFixed(1)}×`, ""],
        ],
        [1, 2, 3, 4],
      ),
      yellow("  The error is that of the weights; train the model again after --separable."),
    );
  return 0;
}
