import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Budget } from "../../compress/budget.ts";
import { type CompressResult, compress } from "../../compress/compress.ts";
import type { Candidate, Strategy } from "../../compress/ladder.ts";
import { parseRecipe } from "../../compress/recipe.ts";
import { fileLog } from "../../compress/trials.node.ts";
import type { Trial } from "../../compress/trials.ts";
import { MinnowError } from "../../errors.ts";
import { costOf } from "../../measure/cost.ts";
import { upgrade } from "../../passes/index.ts";
import { bytes, count, table } from "../../report/words.ts";
import { BUDGET, budgetOf, qualityOf } from "../budget.ts";
import { bold, print, printJson } from "../console.ts";
import { type DataGiven, openData, type Roles, rolesFor } from "../data.ts";
import { type Opened, openModel, outputPath, save } from "../model.ts";
import { DATA, flag, number, onePath, RUNNING, runningOf, text, WRITING } from "../options.ts";
import { writeReport } from "../report.ts";
import { conclude, teller } from "../tell.ts";
import type { Given, Verb } from "../verb.ts";

export const verb: Verb = {
  name: "compress",
  usage: "MODEL --data PATH [--max-drop 1%]",
  summary: "Make a model smaller and check that it is as good.",
  detail:
    "Tries one way after another until the budget is met, judges each on your data, and writes the best: the fastest on --target if that is given, else the smallest to download. The figures at the end come from examples that had no part in choosing. Ctrl-C keeps the best so far.",
  options: {
    ...BUDGET,
    recipe: { type: "string", value: "FILE", help: "Make what this recipe says instead of searching." },
    report: { type: "string", value: "PATH", help: "Where the report goes; default MODEL.report.html." },
    ...WRITING,
    ...DATA,
    ...RUNNING,
  },
  examples: [
    [
      "minnow compress model.onnx --data photos/ --max-drop 1%",
      "A smaller model that is at most one point worse on your photos.",
    ],
    [
      "minnow compress model.onnx --data photos/ --target wasm",
      "The fastest in WebAssembly that keeps the budget, measured there.",
    ],
  ],
  async run(given) {
    const opened = await openModel(onePath(given));
    const budget = budgetOf(given);
    const output = outputPath(given, opened.path);
    const data = await openData(given, opened.model, opened.path);
    const roles = await rolesFor(given, opened.model, opened.path, data);
    const tell = teller(given);
    if (!flag(given, "json")) await introduce(opened, data, roles);
    const log = await fileLog(`${output}.trials.jsonl`, given.signal);
    const strategy = recipeStrategy(given);
    const metric = qualityOf(given);
    const { runtime, threads } = runningOf(given);
    const result = await compress(opened.model, {
      calibration: roles.learn,
      judged: roles.judge,
      budget,
      seed: number(given, "seed") ?? 0,
      signal: given.signal,
      log,
      onEvent: tell.event,
      ...(runtime && { target: runtime }),
      ...(threads && { threads }),
      ...(metric && { metric }),
      ...(strategy && { strategy }),
    });
    tell.end();
    if (result.model !== undefined) await save(result.model, output);
    const report = text(given, "report") ?? `${output.replace(/(\.min)?\.onnx$/, "")}.report.html`;
    await writeFile(report, await writeReport({ given, opened, result, budget, output, data }));
    await log.close();
    if (flag(given, "json")) printJson(summary(result, budget, output, report));
    else conclude(result, output, budget, `    ${report}`);
    return result.met ? 0 : 1;
  },
};

function recipeStrategy(given: Given): Strategy | undefined {
  const path = text(given, "recipe");
  if (path === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new MinnowError("The recipe cannot be read as JSON.", {
      code: "recipe/unreadable",
      at: path,
      mend: "Give the file of a recipe, as a report shows one.",
      cause,
    });
  }
  const recipe = parseRecipe(parsed, path);
  return async function* (): AsyncGenerator<Candidate, void, Trial> {
    yield { name: path, recipe };
  };
}

async function introduce({ model, path, bytes: size }: Opened, data: DataGiven, roles: Roles): Promise<void> {
  const { parameters, macs } = costOf((await upgrade().run(model)).model);
  const [what, ...rest] = data.lines;
  print(
    ...table([
      [bold(path), `${bytes(size)} · ${count(parameters)} parameters · ${count(macs)} MACs`],
      [what?.[0] ?? "", what?.[1] ?? ""],
      ["", roles.how],
      ...rest.map((line) => [...line]),
    ]),
    "",
  );
}

function summary(result: CompressResult, budget: Budget, output: string, report: string) {
  const { before, after, verdicts } = result;
  return {
    met: result.met,
    uncertain: result.uncertain,
    budget,
    output: result.model === undefined ? null : output,
    report,
    before: { ...before, metrics: verdicts.before.metrics },
    after: after && { ...after, metrics: verdicts.after?.metrics },
    change: result.change,
    trials: result.trials.map(({ name, recipe, metrics, figures, met, note }) => ({
      name,
      recipe,
      metrics,
      ...figures,
      met,
      note,
    })),
  };
}
