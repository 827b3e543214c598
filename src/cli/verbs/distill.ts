import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ARCHITECTURES, architectureOf, create } from "../../architectures/index.ts";
import { feedInputs } from "../../data/bind.ts";
import type { Dataset } from "../../data/dataset.ts";
import { imageInput, type PreprocessOptions } from "../../data/preprocess.ts";
import { type DistillOptions, distill } from "../../distill/distill.ts";
import { attentionTransfer, hints } from "../../distill/features.ts";
import { decoupled, scoresCosine, scoresSquared, softTargets } from "../../distill/logits.ts";
import { contrastive, relational } from "../../distill/relations.ts";
import { studentOf } from "../../distill/students.ts";
import type { Term } from "../../distill/terms.ts";
import type { Model } from "../../ir/graph.ts";
import { inferModel } from "../../ops/infer.ts";
import type { Target } from "../../prune/index.ts";
import { log, yellow } from "../console.ts";
import { openData } from "../data.ts";
import { type Opened, openModel, outputPath, save } from "../model.ts";
import { flag, number, text, wrong } from "../options.ts";
import type { Given, Verb } from "../verb.ts";
import { learn, PART, verb as train } from "./train.ts";

const { output } = train.options;

/** What can be learned of a teacher without naming values, by its word on the command line. */
const TERMS: Readonly<Record<string, (temperature: number | undefined) => Term>> = {
  soft: (temperature) => softTargets(temperature === undefined ? {} : { temperature }),
  dkd: (temperature) => decoupled(temperature === undefined ? {} : { temperature }),
  mse: () => scoresSquared(),
  cosine: () => scoresCosine(),
  hints: () => hints(),
  attention: () => attentionTransfer(),
  relational: () => relational(),
  contrastive: () => contrastive(),
};

export const verb: Verb = {
  name: "distill",
  usage: "--teacher MODEL --student MODEL|NAME --data PATH",
  summary: "Teach a small model what a large one knows, with or without labels.",
  detail:
    "Without labels the teacher's answers are all that is learned. A student is a model, the name of a net (minnow create --list), or made of the teacher: every=2 leaves out every second block, macs=50%,round=8 cuts widths to multiples of 8. Everything else is as in train.",
  options: {
    teacher: {
      type: "string",
      multiple: true,
      value: "MODEL",
      help: "A trained model, float or quantized; again for several, whose scores are averaged.",
    },
    student: { type: "string", value: "MODEL|NAME|every=N|macs=P%", help: "What is taught." },
    losses: {
      type: "string",
      value: "soft,dkd=0.5,…",
      help: `What is learned of the teacher (soft): ${Object.keys(TERMS).join(", ")}; weights after =, else balanced.`,
    },
    temperature: {
      type: "string",
      value: "F",
      help: "Scores are divided by it, so that wrong answers show how wrong (4).",
    },
    alpha: {
      type: "string",
      value: "F",
      help: "The teacher's share, the rest is the labels' (0.9; 1 without labels).",
    },
    cache: {
      type: "string",
      value: "PATH",
      help: "Where the teacher's answers are kept from one training to the next.",
    },
    "teacher-preprocess": {
      type: "string",
      value: "PRESET|FILE",
      help: "How the teacher wants its pictures; default beside it, or guessed.",
    },
    width: { type: "string", value: "F", help: "Of a net that is named: multiplies the channels of all layers." },
    ...PART,
    output: { ...output, type: "string", help: "Where to write; default STUDENT.distilled.onnx." },
  },
  examples: [
    [
      "minnow distill --teacher big.onnx --student mobilenet_v2 --width 0.35 --data photos/ --augment flip,crop=4",
      "A new net that has learned from labels and teacher.",
    ],
    [
      "minnow distill --teacher big.onnx --student small.onnx --data unlabelled/ --losses soft,attention",
      "No labels: the teacher supplies them.",
    ],
    [
      "minnow distill --teacher net.onnx --student every=2 --data photos/ --lr 0.01",
      "Half the blocks of the teacher, taught by the whole.",
    ],
  ],
  async run(given) {
    const losses = lossesOf(given);
    const teachers = await teachersOf(given);
    const [first] = teachers as [Opened, ...Opened[]];
    const { options } = given;
    const asTeacher = {
      ...given,
      options: { ...options, preprocess: options["teacher-preprocess"] ?? options.preprocess },
    };
    const seen = await openData(asTeacher, first.model, first.path);
    const opened = await studentFor(given, first, seen.all);
    const own = text(given, "preprocess");
    return learn(
      { ...given, paths: [opened.path] },
      {
        verb: "distill",
        output: "distilled.onnx",
        opened,
        ...(own === undefined && { preprocess: seen.preprocess }),
        start: async (model) => ({ model, lines: linesOf(teachers, losses) }),
        train: async (model, { loss, ...training }) => {
          const apart = seen.preprocess && own !== undefined && options["teacher-preprocess"] !== undefined;
          const teacherData = apart ? preparedFor(training.data, first.model, seen.preprocess) : undefined;
          const [alpha, cache] = [number(given, "alpha", { whole: false }), text(given, "cache")];
          return distill(model, {
            ...training,
            teacher: teachers.map((teacher) => teacher.model),
            losses,
            ...(text(given, "loss") !== undefined || text(given, "label-smoothing") !== undefined
              ? { hard: loss }
              : {}),
            ...(alpha !== undefined && { alpha }),
            ...(cache !== undefined && { cache }),
            ...(teacherData && { teacherData }),
            onNote: (note) => {
              if (!flag(given, "quiet")) log(`${yellow("·")} ${note}`);
            },
          });
        },
      },
    );
  },
};

async function teachersOf(given: Given): Promise<Opened[]> {
  const said = given.options.teacher;
  const paths = Array.isArray(said) ? said.filter((path): path is string => typeof path === "string") : [];
  if (paths.length === 0) throw wrong("--teacher is missing.", "Give the .onnx file of a trained model.");
  const [another] = given.paths;
  if (another !== undefined)
    throw wrong(`"${another}" is one argument too many.`, "Name models by --teacher and --student.");
  return Promise.all(paths.map(openModel));
}

function lossesOf(given: Given): NonNullable<DistillOptions["losses"]> {
  const temperature = number(given, "temperature", { whole: false });
  return (text(given, "losses") ?? "soft").split(",").map((word) => {
    const [name = "", value] = word.trim().split("=");
    const make = Object.hasOwn(TERMS, name) ? TERMS[name] : undefined;
    const weight = value === undefined ? undefined : Number(value);
    if (make === undefined || (weight !== undefined && !(weight > 0)))
      throw wrong(`--losses has "${word}".`, `Give any of ${Object.keys(TERMS).join(", ")}, perhaps with =WEIGHT.`);
    return weight === undefined ? make(temperature) : { term: make(temperature), weight };
  });
}

/** The student: a file, a new net of that name beside the output, or a part of the teacher. */
async function studentFor(given: Given, { model: teacher, path: beside }: Opened, data: Dataset): Promise<Opened> {
  const said = text(given, "student");
  if (said === undefined)
    throw wrong("--student is missing.", "Give an .onnx file, the name of a net, every=2 or macs=50%.");
  if (existsSync(said) || said.endsWith(".onnx")) return openModel(said);
  const made = /^(every=\d+|macs=[\d.]+%)(,(every=\d+|macs=[\d.]+%|round=\d+))*$/.test(said)
    ? await partOf(teacher, said, data)
    : named(given, said, teacher);
  const folder = dirname(text(given, "output") ?? beside);
  const path = outputPath(
    { ...given, options: { ...given.options, output: undefined } },
    join(folder, said.replace(/[=%,]/g, "-")),
    "student.onnx",
  );
  await save(made, path);
  return openModel(path);
}

function partOf(teacher: Model, said: string, data: Dataset): Promise<Model> {
  const parts = new Map(said.split(",").map((part) => part.split("=") as [string, string]));
  const [every, macs, round] = [parts.get("every"), parts.get("macs"), parts.get("round")];
  return studentOf(teacher, {
    data: data.take(200),
    ...(every !== undefined && { every: Number(every) }),
    ...(round !== undefined && { roundTo: Number(round) }),
    ...(macs !== undefined && { macs: macs as Target }),
  });
}

/** A new net with the teacher's classes, for pictures of the teacher's size. */
function named(given: Given, name: string, teacher: Model): Model {
  if (!Object.hasOwn(ARCHITECTURES, name)) {
    try {
      architectureOf(name);
    } catch (error) {
      throw wrong(`--student is "${name}": no file, and no net of that name.`, (error as { mend?: string }).mend ?? "");
    }
  }
  const classes = inferModel(teacher).get(teacher.graph.outputs[0]?.name ?? "")?.shape?.[1];
  const picture = feedInputs(teacher.graph)
    .map(({ type }) => imageInput(type?.shape))
    .find((input) => input !== undefined);
  const own = architectureOf(name).defaults;
  const [side] = picture?.size === undefined ? [] : [picture.size].flat();
  const resolution = number(given, "size", { least: 1 }) ?? side;
  const [width, seed] = [number(given, "width", { whole: false }), number(given, "seed")];
  return create(name, {
    ...(typeof classes === "number" && { classes }),
    ...(picture &&
      own.resolution !== undefined && {
        channels: picture.channels === "gray" ? 1 : 3,
        ...(resolution && { resolution }),
      }),
    ...(width !== undefined && { width }),
    ...(seed !== undefined && { seed }),
  });
}

const preparedFor = (data: Dataset, { graph }: Model, preprocess: PreprocessOptions | undefined): Dataset =>
  data.prepare?.(preprocess, feedInputs(graph)[0]?.type?.shape) ?? data;

const linesOf = (teachers: readonly Opened[], losses: NonNullable<DistillOptions["losses"]>) => [
  ["teacher", teachers.map(({ path }) => path).join(", ")] as const,
  [
    "learned of it",
    losses.map((loss) => ("term" in loss ? `${loss.term.name} × ${loss.weight}` : loss.name)).join(", "),
  ] as const,
];
