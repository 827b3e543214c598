import type { LoraOptions } from "../train/adapter.ts";
import { text, wrong } from "./options.ts";
import type { Given } from "./verb.ts";

const NUMBERS: Readonly<Record<string, "r" | "loraAlpha" | "loraDropout">> = {
  r: "r",
  alpha: "loraAlpha",
  dropout: "loraDropout",
};
const FLAGS: Readonly<Record<string, "useRslora" | "useDora">> = { rslora: "useRslora", dora: "useDora" };

/** `r=8,alpha=16,dropout=0.1,dora,target=q_proj,v_proj`: names after target= belong to it; one with regular signs is an expression. */
export function loraOf(given: Given): LoraOptions {
  const options: Record<string, unknown> = {};
  const targets: string[] = [];
  let open = false;
  for (const word of (text(given, "lora") ?? "").split(",").map((part) => part.trim())) {
    const [, name = "", value] = /^(\w+)=(.*)$/s.exec(word) ?? [];
    const [number, flag] = [NUMBERS[name], FLAGS[word]];
    if (word === "") continue;
    if (name === "target") {
      open = true;
      targets.push(value ?? "");
    } else if (number !== undefined && Number.isFinite(Number(value))) options[number] = Number(value);
    else if (flag !== undefined) options[flag] = true;
    else if (open && name === "") targets.push(word);
    else
      throw wrong(
        `--lora has "${word}".`,
        "Give r=8, alpha=16, dropout=0.1, rslora, dora and target=NAME,NAME, joined by commas.",
      );
  }
  const [only] = targets;
  const single = targets.length === 1 && only !== undefined && (only === "all-linear" || /[()[\]|\\^$+?]/.test(only));
  const targetModules = targets.length === 0 ? "all-linear" : single ? (only as string) : targets;
  return { r: 8, loraAlpha: 16, ...options, targetModules };
}
