import { writeFile } from "node:fs/promises";
import { checkBudget } from "../../compress/budget.ts";
import type { Dataset } from "../../data/dataset.ts";
import { type Comparison, compare, type LayerDifference } from "../../measure/compare.ts";
import { distributions } from "../../measure/distributions.ts";
import { evaluate } from "../../measure/evaluate.ts";
import { randomExamples } from "../../measure/feeds.ts";
import { pairedDifference } from "../../measure/interval.ts";
import { optimize } from "../../passes/index.ts";
import { compareReport } from "../../report/compare-report.ts";
import { diagnose, suggestionsFor } from "../../report/diagnose.ts";
import { clip, decibel, percent, points, table } from "../../report/words.ts";
import { bold, dim, green, print, printJson, progress, red } from "../console.ts";
import { openData } from "../data.ts";
import { type Opened, openModel } from "../model.ts";
import { amount, DATA, flag, number, RUNNING, runningOf, share, text, wrong } from "../options.ts";
import { commandLine, machineWords, readingOf } from "../report.ts";
import type { Given, Verb } from "../verb.ts";

export const verb: Verb = {
  name: "compare",
  usage: "REFERENCE CANDIDATE [--data PATH]",
  summary: "Say how far two models are apart, and where the error is born.",
  detail:
    "With bounds it is a gate for CI: exit code 1 where one is not kept. Without data the models run on seeded random numbers.",
  options: {
    ...DATA,
    ...RUNNING,
    report: { type: "string", value: "PATH", help: "Write an HTML page with ranges and histograms of those layers." },
    layers: { type: "string", value: "N", help: "Show the N layers where most error is born (8; 0 for none)." },
    "min-agreement": { type: "string", value: "99%", help: "Least share of equal answers." },
    "min-sqnr": { type: "string", value: "DB", help: "Least signal-to-noise ratio of every output, in dB." },
    "max-drop": { type: "string", value: "1%", help: "Most points the accuracy may fall; needs labelled data." },
    "max-size": { type: "string", value: "600kB", help: "Most bytes of the candidate's file." },
  },
  examples: [
    ["minnow compare float.onnx int8.onnx --data few/", "Which layers the error is born in, and of what kind it is."],
    [
      "minnow compare a.onnx b.onnx --data test/ --min-agreement 99% --max-size 600kB",
      "A gate: exits 1 and names what failed.",
    ],
  ],
  async run(given) {
    const [first, second, ...rest] = given.paths;
    if (first === undefined || second === undefined || rest.length > 0)
      throw wrong("Two models are wanted.", "Give a reference and a candidate.");
    const [reference, candidate] = [await openModel(first), await openModel(second)];
    const data = text(given, "data") === undefined ? undefined : await openData(given, reference.model, reference.path);
    const examples = data?.all ?? randomExamples(reference.model);
    const layers = number(given, "layers") ?? 8;
    const shown = progress("comparing", flag(given, "quiet"));
    const options = { ...runningOf(given), signal: given.signal, onProgress: shown.update };
    const whole = await compare(reference.model, candidate.model, examples, options);
    const folded = [
      (await optimize().run(reference.model)).model,
      (await optimize().run(candidate.model)).model,
    ] as const;
    const few = examples.take(FEW);
    const inner = layers > 0 ? (await compare(...folded, few, { ...options, layers: true })).layers : [];
    const comparison = { ...whole, layers: inner };
    const failures = await gate(given, reference, candidate, examples, comparison);
    const born = comparison.layers.filter((layer) => layer.born > 0.5).slice(0, layers);
    const tries = commandsFor(given, born, reference, candidate);
    const path = text(given, "report");
    if (path !== undefined) {
      const common = { comparison, born, suggestions: tries, lines: data?.lines ?? [] };
      const seen = await distributions(...folded, few, born, options);
      const page = compareReport({
        ...{ ...common, distributions: seen, reference: reference.path, candidate: candidate.path },
        ...{ command: commandLine("compare", given), machine: await machineWords() },
        date: new Date().toISOString().slice(0, 10),
      });
      await writeFile(path, page);
    }
    shown.end();
    if (flag(given, "json"))
      printJson({ ...comparison, layers: comparison.layers.slice(0, layers), failures, suggestions: tries });
    else show({ comparison, born, lines: data?.lines ?? [], candidate, failures, tries, report: path });
    return failures.length === 0 ? 0 : 1;
  },
};

/** Examples that layers are looked at on. */
const FEW = 256;

/** What to try, as commands that can be pasted. */
function commandsFor(given: Given, born: readonly LayerDifference[], reference: Opened, candidate: Opened): Try[] {
  const isStatic = candidate.model.graph.nodes.some(({ op }) => op === "QuantizeLinear");
  const hasData = text(given, "data") !== undefined;
  const output = candidate.path.replace(/\.onnx$/i, "");
  return suggestionsFor(born, { isStatic, hasData }).map(({ why, options }, i) => {
    const read = commandLine("quantize", { ...readingOf(given), paths: [reference.path] });
    const own = commandLine("", { ...given, paths: [...options, "-o", `${output}.${i + 1}.onnx`], options: {} });
    return { why, command: `${read} ${own.replace(/^minnow\s+/, "")}` };
  });
}

interface Try {
  readonly why: string;
  readonly command: string;
}

async function gate(
  given: Given,
  reference: Opened,
  candidate: Opened,
  data: Dataset,
  comparison: Comparison,
): Promise<string[]> {
  const failures: string[] = [];
  const agreement = share(given, "min-agreement")?.value;
  if (agreement !== undefined && !(comparison.agreement >= agreement))
    failures.push(`agreement is ${percent(comparison.agreement, 2)}, at least ${percent(agreement, 2)} is wanted`);
  const sqnr = number(given, "min-sqnr", { whole: false });
  for (const o of comparison.outputs)
    if (sqnr !== undefined && o.sqnr < sqnr)
      failures.push(`output "${o.name}" is at ${decibel(o.sqnr)}, at least ${sqnr} dB is wanted`);
  const size = amount(given, "max-size");
  if (size !== undefined && candidate.bytes > size)
    failures.push(`the file has ${candidate.bytes} bytes, at most ${size} are allowed`);
  const maxDrop = share(given, "max-drop");
  if (maxDrop !== undefined) {
    if (data.labels === undefined)
      throw wrong("--max-drop needs labelled data.", "Give --data with class folders, or use --min-agreement.");
    const options = { ...runningOf(given), signal: given.signal, metrics: ["accuracy"] as const };
    const [a, b] = [await evaluate(reference.model, data, options), await evaluate(candidate.model, data, options)];
    const right = (e: typeof a) => [...e.judgement.ranks].map((rank) => rank === 0);
    const change = pairedDifference(right(a), right(b));
    const figures = (quality = 0) => ({ quality, bytes: 0, parameters: 0, macs: 0 });
    const [check] = checkBudget({ maxDrop }, figures(a.metrics.accuracy), figures(b.metrics.accuracy));
    if (check?.met === false)
      failures.push(
        `accuracy went from ${percent(a.metrics.accuracy ?? 0, 2)} to ${percent(b.metrics.accuracy ?? 0, 2)} (${points(change.value, 2)} points, 95 % interval ${points(change.low, 2)} … ${points(change.high, 2)}), a drop of at most ${percent(check.limit, 2)} is allowed`,
      );
  }
  return failures;
}

interface Shown {
  readonly comparison: Comparison;
  readonly born: readonly LayerDifference[];
  readonly lines: readonly (readonly [string, string])[];
  readonly candidate: Opened;
  readonly failures: readonly string[];
  readonly tries: readonly Try[];
  readonly report: string | undefined;
}

function show({ comparison, born, lines, candidate, failures, tries, report }: Shown): void {
  const { samples, outputs, agreement } = comparison;
  print(
    ...table([
      ...lines.map((l) => [...l]),
      ["compared", `${samples} examples${lines.length === 0 ? " of seeded random numbers" : ""}`],
    ]),
    "",
  );
  print(
    ...table(
      [
        ["output", "SQNR", "cosine", "largest difference"],
        ...outputs.map((o) => [clip(o.name, 30), decibel(o.sqnr), o.cosine.toFixed(6), o.maxAbs.toPrecision(3)]),
      ],
      [1, 2, 3],
    ),
  );
  if (Number.isFinite(agreement)) print(`  same answer on ${percent(agreement, 2)}`);
  if (born.length > 0) {
    const rows = born.map((l) => [
      ...[clip(`${l.op} ${l.node}`, 34), decibel(l.sqnrIn), decibel(l.sqnr)],
      ...[`${l.range[0].toPrecision(3)} … ${l.range[1].toPrecision(3)}`, diagnose(l).kind],
    ]);
    print("", bold("Where the error is born"));
    print(...table([["layer", "SQNR in", "out", "range", "kind"], ...rows], [1, 2, 3]));
  }
  if (tries.length > 0) print("", bold("What to try"));
  for (const { why, command } of tries) print(dim(`  ${why}:`), `  ${command}`);
  for (const failure of failures) print(`${red("✗")} ${failure}`);
  if (failures.length === 0) print("", `${green("✔")} ${candidate.path} keeps every bound that was given`);
  if (report !== undefined) print(`  ${report}`);
}
