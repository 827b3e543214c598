import { type Budget, isMet } from "../compress/budget.ts";
import type { CompressEvent, CompressResult } from "../compress/compress.ts";
import type { Trial } from "../compress/trials.ts";
import { accuracyByClass } from "../measure/metrics.ts";
import { checkWords, qualityName, runtimeName } from "../report/compress-report.ts";
import { bytes, count, milliseconds, percent, plural, points, speed, table } from "../report/words.ts";
import { bold, dim, green, type Progress, print, progress, red, yellow } from "./console.ts";
import { flag } from "./options.ts";
import type { Given } from "./verb.ts";

/** Prints a line for the float model and one for every trial, as they end. */
export function teller(given: Given) {
  const silent = flag(given, "json");
  let [name, quality, before] = ["", "", Number.NaN];
  let current: Progress | undefined;
  const line = (title: string, figures: Trial["figures"], verdict: string) =>
    print(
      `  ${title.padEnd(34)}  ${quality} ${percent(figures?.quality ?? Number.NaN).padStart(7)}  ${bytes(figures?.bytes ?? 0).padStart(8)}  ${(figures?.latencyMs === undefined ? "" : milliseconds(figures.latencyMs)).padStart(8)}  ${verdict}`.trimEnd(),
    );
  return {
    event(event: CompressEvent): void {
      if (event.kind === "work") {
        if (event.what !== name) {
          current?.end();
          current = progress(event.what, flag(given, "quiet"));
          name = event.what;
        }
        current?.update(event.done, event.total);
        return;
      }
      current?.end();
      if (silent) return;
      if (event.kind === "start") {
        quality = qualityName(event.quality);
        before = event.before.quality;
        line("float32", event.before, "");
      } else if (event.trial.figures === undefined)
        print(`  ${event.trial.name.padEnd(34)}  ${red("✗")} ${event.trial.note}`);
      else {
        const change = event.trial.figures.quality - before;
        line(
          event.trial.name,
          event.trial.figures,
          `${event.trial.met ? green("✔") : red("✗")} ${points(change)} points`,
        );
      }
    },
    end: () => current?.end(),
  };
}

/** Prints how a search ended: before and after, what to do where the budget was missed, and a last line. */
export function conclude(result: CompressResult, output: string, budget: Budget, last?: string): void {
  const { after, checks, met, uncertain } = result;
  print(
    dim(`\n  ${plural(result.trials.length, "candidate")} tried${result.interrupted ? ", then interrupted" : ""}`),
    "",
  );
  if (after === undefined) {
    print(`  ${red("✗")} Nothing was found that could be measured.`, ...(last === undefined ? [] : [last]));
    return;
  }
  const mark = met ? (uncertain ? yellow("✔") : green("✔")) : red("✗");
  print(...figuresTable(result), "", `  ${mark} ${bold(output)}`);
  if (uncertain)
    print(`    ${yellow("uncertain")}: the interval reaches beyond the budget; more data to judge on would settle it`);
  for (const check of checks.filter((c) => !c.met)) print(`    ${red("budget missed")}: ${checkWords(check)}`);
  if (!isMet(checks)) print(`    ${helpWith(budget)}`);
  print(...answersLine(result), ...(last === undefined ? [] : [last]));
}

/** How many answers changed, and the class that lost most. */
function answersLine({ verdicts, final }: CompressResult): string[] {
  const [before, after] = [verdicts.before.judgement, verdicts.after?.judgement];
  if (before === undefined || after === undefined) return [];
  const changed = before.predictions.filter((p, i) => p !== after.predictions[i]).length;
  const was = accuracyByClass(before);
  const drops = accuracyByClass(after).map((accuracy, c) => accuracy - (was[c] ?? Number.NaN));
  const worst = drops.reduce((best, drop, c) => (drop < (drops[best] ?? 0) ? c : best), -1);
  const name = final.classes?.[worst] ?? `class ${worst}`;
  const loser = worst < 0 ? "" : ` · worst class: ${name} ${points(drops[worst] ?? 0)} points`;
  return [`    ${plural(changed, "answer")} of ${before.predictions.length} changed${loser}`];
}

/** Before and after, on examples no candidate was chosen by. */
function figuresTable({ before, after, change, quality, verdicts, runtime }: CompressResult): string[] {
  if (after === undefined) return [];
  const ratio = (a = Number.NaN, b = Number.NaN) => (Number.isFinite(b / a) ? percent(b / a, 0) : "");
  const interval =
    change === undefined ? "" : `${points(change.value)} points (95 %: ${points(change.low)} … ${points(change.high)})`;
  const size = (n: number | undefined) => (n === undefined ? "–" : bytes(n));
  return table(
    [
      [`on ${plural(verdicts.before.samples, "example")} apart`, "before", "after", ""],
      [qualityName(quality), percent(before.quality, 2), percent(after.quality, 2), interval],
      ["file", bytes(before.bytes), bytes(after.bytes), ratio(before.bytes, after.bytes)],
      [
        "download (brotli)",
        size(before.brotliBytes),
        size(after.brotliBytes),
        ratio(before.brotliBytes, after.brotliBytes),
      ],
      ["parameters", count(before.parameters), count(after.parameters), ""],
      ["MACs", count(before.macs), count(after.macs), ""],
      [
        `latency in ${runtimeName(runtime)}`,
        milliseconds(before.latencyMs ?? Number.NaN),
        milliseconds(after.latencyMs ?? Number.NaN),
        speed(before.latencyMs ?? Number.NaN, after.latencyMs ?? Number.NaN),
      ],
    ],
    [1, 2],
  );
}

const helpWith = (budget: Budget): string =>
  budget.maxSize === undefined && budget.maxLatency === undefined
    ? "More calibration data (--data) or a looser --max-drop would help."
    : "A looser --max-drop, --max-size or --max-latency would help.";
