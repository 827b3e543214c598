/**
 * What a teacher is worth to a student of a tenth of its size, on the data and with the nets of two examples:
 *
 *     npm run build && node bench/distill/fields.mjs FIELD DATA FOLDER [RUN …]
 *
 * FIELD is spoken-commands (DATA: the folder of recordings) or chest-x-rays (DATA: pneumoniamnist.npz). RUN is `teacher`, `taught` or
 * `alone:RATE`; default teacher, taught, and alone at three rates. Epochs, augmentation, order and first weights of the student are the
 * same in all of them; SEED (0). Each run leaves FOLDER/FIELD-RUN-SEED.onnx, and its row in bench/results/distill-fields.json.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { costOf, distill, evaluate, load, quantizeStatic, save, split, train } from "minnow";
import * as xrays from "../../examples/chest-x-rays/make.mjs";
import * as commands from "../../examples/spoken-commands/make.mjs";

const [field, source, folder, ...asked] = process.argv.slice(2);
const seed = Number(process.env.SEED ?? 0);
const results = process.env.RESULTS ?? fileURLToPath(new URL("../results/distill-fields.json", import.meta.url));
mkdirSync(folder, { recursive: true });

const accuracyOf = async (model, { test }) => ({ accuracy: (await evaluate(model, test)).metrics.accuracy });
const FIELDS = {
  "spoken-commands": {
    ...commands,
    rates: [0.03, 0.1, 0.3],
    data: async () => commands.division(await commands.recordings(source), { seed }),
    figures: accuracyOf,
  },
  "chest-x-rays": {
    ...xrays,
    rates: [0.015, 0.05, 0.15],
    settled: async ({ model }) => model,
    data: () => xrays.division(source),
    // Accuracy without a threshold of one's own beside the figures at the chosen one.
    figures: async (model, data) => ({
      ...(await accuracyOf(model, data)),
      atThreshold: await xrays.figuresOf(model, data),
    }),
  },
};
const { data: open, nets, learning, teaching, settled, figures, rates, TEACHER, STUDENT } = FIELDS[field];
const data = await open();
const { learn } = data;
const net = nets({ seed });
const pathOf = (run) => join(folder, `${field}-${run}-${seed}.onnx`);

function keep(run, row) {
  const told = {
    field,
    run,
    seed,
    ...row,
    machine: cpus()[0]?.model,
    node: process.versions.node,
    date: new Date().toISOString().slice(0, 10),
  };
  console.log(told);
  const kept = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : [];
  const others = kept.filter((other) => ["field", "run", "seed"].some((key) => other[key] !== told[key]));
  writeFileSync(results, `${JSON.stringify([...others, told], null, 2)}\n`);
}

for (const run of asked.length > 0 ? asked : ["teacher", "taught", ...rates.map((rate) => `alone:${rate}`)]) {
  const start = performance.now();
  const [way, rate] = run.split(":");
  const { temperature, ...alone } = STUDENT;
  const student = { ...alone, ...(rate && { rate: Number(rate) }), ...(way === "taught" && { temperature }) };
  const how = way === "teacher" ? TEACHER : student;
  const recipe = { ...learning(run, learn, { seed }, how), threads: 1 };
  const trained =
    way === "taught"
      ? await distill(net.student, { ...recipe, ...teaching(await load(pathOf("teacher"))) })
      : await train(way === "teacher" ? net.teacher : net.student, recipe);
  const model = await settled(trained, learn);
  await save(model, pathOf(run));
  const { parameters, macs } = costOf(model);
  const seconds = Math.round((performance.now() - start) / 1000);
  keep(run, { ...(await figures(model, data)), ...how, parameters, macs, seconds });
  if (way !== "taught") continue;
  const [some] = split(learn, 300);
  const { model: int8 } = await quantizeStatic({ data: some, biasCorrection: true }).run(model);
  await save(int8, pathOf("taught int8"));
  keep("taught int8", await figures(int8, data));
}
