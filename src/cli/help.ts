import { table } from "../report/words.ts";
import { COMMON } from "./options.ts";
import type { OptionSpecs, Verb } from "./verb.ts";
import { loadVerb, VERBS } from "./verbs.ts";

/** What `minnow --help` shows. */
export async function overview(): Promise<string> {
  const verbs = await Promise.all(Object.keys(VERBS).map(loadVerb));
  return [
    "minnow makes neural networks small and quick: an ONNX model goes in, a smaller",
    "and faster one that is checked to be as good comes out.",
    "",
    "  minnow compress model.onnx --data photos/ --max-drop 1%",
    "",
    ...table(verbs.map((verb) => [verb.name, verb.summary])),
    "",
    "minnow COMMAND --help says more. Exit codes: 0 done, 1 the model, the data or a",
    "budget is at fault, 2 the command line is.",
  ].join("\n");
}

/** What `minnow VERB --help` shows: 80 columns. */
export function commandHelp(verb: Verb): string {
  return [
    `minnow ${verb.name} ${verb.usage}`,
    "",
    ...wrap(verb.summary, 80),
    ...(verb.detail === undefined ? [] : ["", ...wrap(verb.detail, 80)]),
    "",
    ...verb.examples.flatMap(([command, meaning]) => [
      `  ${fill(command.split(/ (?=-)/), 72).join(" \\\n      ")}`,
      ...wrap(meaning, 74).map((line) => `      ${line}`),
    ]),
    "",
    "Options",
    ...optionLines({ ...verb.options, ...COMMON }),
  ].join("\n");
}

function optionLines(specs: OptionSpecs): string[] {
  return Object.entries(specs).flatMap(([name, { short, value, help }]) => {
    const head = `  ${short ? `-${short}, ` : ""}--${name}${value ? ` ${value}` : ""}`;
    const lines = wrap(help, 50);
    const fits = head.length <= 28;
    return [
      fits ? head.padEnd(30) + (lines[0] ?? "") : head,
      ...(fits ? lines.slice(1) : lines).map((line) => " ".repeat(30) + line),
    ];
  });
}

const wrap = (text: string, width: number): string[] =>
  text.split("\n").flatMap((paragraph) => fill(paragraph.split(" "), width));

/** Words in lines of at most this width, where no word alone is longer. */
function fill(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
