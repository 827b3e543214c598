import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename } from "node:path";
import { MinnowError } from "../../errors.ts";
import { count, percent } from "../../report/words.ts";
import { saveAdapter } from "../../train/adapter.ts";
import { type Adapted, adapterOf, addLora, mergeLora, parameterCounts } from "../../train/lora.ts";
import { loraInputs } from "../../train/lora-inputs.ts";
import { dim } from "../console.ts";
import { loraOf } from "../lora.ts";
import { choice, flag, number, onePath, text } from "../options.ts";
import type { Verb } from "../verb.ts";
import { learn, PART, verb as train } from "./train.ts";

/** What adapters have no use for. */
const IDLE = ["freeze", "only"];
const { output } = train.options;
const TRAINING = Object.fromEntries(Object.entries(PART).filter(([name]) => !IDLE.includes(name)));

export const verb: Verb = {
  name: "finetune",
  usage: "MODEL --data PATH [--lora r=8,alpha=16,target=all-linear]",
  summary: "Train small adapters beside a model's weights (LoRA) on your data.",
  detail:
    "Only the adapters learn. They are written as PEFT writes them, adapter_config.json and adapter_model.safetensors, and merged into the model; or the model is written with adapters as inputs, so that one model serves many. Everything else is as in train; the optimizer is adamw unless another is given.",
  options: {
    lora: {
      type: "string",
      value: "r=8,alpha=16,…",
      help: "Rank, alpha, dropout=F, rslora, dora; target=NAME,NAME… (ends of module names, *, an expression, or all-linear).",
    },
    adapter: { type: "string", value: "FOLDER", help: "Where the adapter goes; default MODEL.adapter." },
    write: {
      type: "string",
      value: "merged|inputs",
      help: "The model with the adapter merged in (default), or with adapters as inputs.",
    },
    ...TRAINING,
    output: { ...output, type: "string", help: "Where to write; default MODEL.finetuned.onnx beside it." },
  },
  examples: [
    [
      "minnow finetune net.onnx --data reviews.jsonl --lora r=8,alpha=16,target=query,value",
      "A folder with the adapter, and the model with it merged in.",
    ],
    [
      "minnow finetune net.onnx --data photos/ --lora dora --write inputs",
      "A model that takes adapters with each call, and the first of them.",
    ],
  ],
  run(given) {
    const [lora, seed] = [loraOf(given), number(given, "seed") ?? 0];
    const form = choice(given, "write", ["merged", "inputs"]) ?? "merged";
    const path = onePath(given);
    const folder = text(given, "adapter") ?? `${path.replace(/\.onnx$/i, "")}.adapter`;
    let adapted: Adapted;
    return learn(
      { ...given, options: { optimizer: "adamw", ...given.options } },
      {
        verb: "finetune",
        output: "finetuned.onnx",
        async start(model) {
          if (existsSync(`${folder}/adapter_config.json`) && !flag(given, "force"))
            throw new MinnowError("There is an adapter already.", {
              code: "cli/exists",
              at: folder,
              mend: "Give --force to write over it, or another --adapter.",
            });
          adapted = await addLora(model, lora, { seed });
          return { model: adapted.model, options: { only: adapted.trainable }, lines: [["lora", counted(adapted)]] };
        },
        async finish(trained, base) {
          const adapter = await adapterOf(trained, adapted.adapter);
          await mkdir(folder, { recursive: true });
          await saveAdapter(folder, adapter, { baseModel: basename(path) });
          return {
            model: form === "merged" ? mergeLora(base, adapter) : loraInputs(base, adapter).model,
            judged: mergeLora(base, adapter),
            line: dim(`  ${folder}`),
            json: { adapter: folder, lora: parameterCounts(adapted) },
          };
        },
      },
    );
  },
};

/** As PEFT counts. */
function counted(adapted: Adapted): string {
  const { trainable, all } = parameterCounts(adapted);
  return `trainable params: ${count(trainable)} || all params: ${count(all)} || trainable%: ${percent(trainable / all, 4)}`;
}
