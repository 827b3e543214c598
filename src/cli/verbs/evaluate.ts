import { evaluate } from "../../measure/evaluate.ts";
import { accuracyByClass, METRICS } from "../../measure/metrics.ts";
import { percent, plural, table } from "../../report/words.ts";
import { dim, print, printJson, progress } from "../console.ts";
import { openData } from "../data.ts";
import { openModel } from "../model.ts";
import { DATA, flag, metricsOf, onePath, RUNNING, runningOf } from "../options.ts";
import type { Verb } from "../verb.ts";

export const verb: Verb = {
  name: "evaluate",
  usage: "MODEL --data PATH",
  summary: "Say how good a classifier is on your data.",
  detail: "Judges on all of the data.",
  options: {
    ...DATA,
    ...RUNNING,
    metric: { type: "string", value: "NAMES", help: `Of ${Object.keys(METRICS).join(", ")}; several with commas.` },
  },
  examples: [["minnow evaluate model.onnx --data photos/", "Accuracy, top 5, and the classes it is worst at."]],
  async run(given) {
    const { model, path } = await openModel(onePath(given));
    const metrics = metricsOf(given);
    const data = await openData(given, model, path);
    const shown = progress("judging", flag(given, "quiet"));
    const result = await evaluate(model, data.all, {
      ...runningOf(given),
      ...(metrics && { metrics }),
      signal: given.signal,
      onProgress: shown.update,
    });
    shown.end();
    const { samples, skipped } = result;
    if (flag(given, "json")) {
      printJson({ samples, skipped: skipped.length, metrics: result.metrics });
      return 0;
    }
    print(
      ...table([
        ...data.lines.map((line) => [...line]),
        [
          "judged",
          `${plural(samples, "example")}${skipped.length > 0 ? `, ${skipped.length} unreadable and skipped` : ""}`,
        ],
      ]),
      "",
    );
    const named = Object.entries(result.metrics);
    if (named.length === 0) print("  The data has no labels; compare two models on it with minnow compare.");
    print(
      ...table(
        named.map(([name, value]) => [name, percent(value ?? Number.NaN, 2)]),
        [1],
      ),
    );
    for (const { name, skipped: why } of skipped.slice(0, 5)) print(dim(`  skipped ${name}: ${why}`));
    const worst = accuracyByClass(result.judgement)
      .map((accuracy, c) => [data.all.classes?.[c] ?? `class ${c}`, accuracy] as const)
      .filter(([, accuracy]) => Number.isFinite(accuracy))
      .sort((a, b) => a[1] - b[1])
      .slice(0, 3);
    if (named.length > 0 && worst.length > 2)
      print(dim(`  worst classes: ${worst.map(([name, a]) => `${name} ${percent(a, 0)}`).join(" · ")}`));
    return 0;
  },
};
