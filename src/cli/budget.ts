import type { Budget } from "../compress/budget.ts";
import type { Quality } from "../compress/judge.ts";
import { METRICS } from "../measure/metrics.ts";
import { amount, share, text, time, wrong } from "./options.ts";
import type { Given, OptionSpecs } from "./verb.ts";

const QUALITIES: readonly Quality[] = [...(Object.keys(METRICS) as Quality[]), "agreement", "sqnr"];

/** Verbs that keep to a budget. */
export const BUDGET: OptionSpecs = {
  "max-drop": { type: "string", value: "1%", help: "Most the metric may fall: points, or relative:1% of it (1%)." },
  "max-size": { type: "string", value: "700kB", help: "Most bytes of the file." },
  "max-latency": { type: "string", value: "20ms", help: "Most milliseconds a run, median, on the target." },
  metric: { type: "string", value: "NAME", help: `What is judged by: ${QUALITIES.join(", ")}.` },
};

/** The budget that was given. */
export function budgetOf(given: Given): Budget {
  const maxDrop = share(given, "max-drop") ?? { value: 0.01, relative: false };
  const maxSize = amount(given, "max-size");
  const maxLatency = time(given, "max-latency");
  return { maxDrop, ...(maxSize && { maxSize }), ...(maxLatency && { maxLatency }) };
}

/** What is to be judged by; undefined where it follows from the data. */
export function qualityOf(given: Given): Quality | undefined {
  const name = text(given, "metric");
  if (name === undefined || (QUALITIES as readonly string[]).includes(name)) return name as Quality | undefined;
  throw wrong(`--metric is "${name}".`, `Give one of ${QUALITIES.join(", ")}.`);
}
