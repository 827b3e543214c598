/** Writes the generated pages of docs/ from the build: the command line, the operators with what is known of each, the nets with what they cost. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ARCHITECTURES, create } from "../dist/architectures/index.js";
import { commandHelp, overview } from "../dist/cli/help.js";
import { loadVerb, VERBS } from "../dist/cli/verbs.js";
import { costOf } from "../dist/measure/cost.js";
import { keyOf } from "../dist/ops/define.js";
import { GRADIENTS } from "../dist/ops/gradients.js";
import { OPS } from "../dist/ops/index.js";
import "./gradient-picture.mjs";

const to = (name) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
const block = (text) => `\`\`\`\n${text}\n\`\`\`\n`;

const verbs = await Promise.all(Object.keys(VERBS).map(loadVerb));
writeFileSync(
  to("cli.md"),
  `# The command line\n\nGenerated from the commands themselves.\n\n${block(await overview())}\n${verbs.map((verb) => `## ${verb.name}\n\n${block(commandHelp(verb))}`).join("\n")}`,
);

/** ✔, or why there is none. */
const gradient = (rule) => {
  const said = GRADIENTS[keyOf(rule.name, rule.domain)];
  return "none" in said ? `none: ${said.none}` : "missing" in said ? `missing: ${said.missing}` : "✔";
};
const row = (rule) =>
  `| ${keyOf(rule.name, rule.domain)} | ${rule.since} | ${rule.axes === undefined ? "" : "✔"} | ${rule.quant?.kind ?? ""} | ${gradient(rule)} |`;
const rules = [...OPS].sort((a, b) => (keyOf(a.name, a.domain) < keyOf(b.name, b.domain) ? -1 : 1));
writeFileSync(
  to("operators.md"),
  `# Operators\n\nGenerated from the operator table: ${rules.length} rules. An operator that is missing here is carried through untouched.\n\n| operator | since opset | axes | quantizes as | gradient |\n|---|---|---|---|---|\n${rules.map(row).join("\n")}\n`,
);

const exact = (count) => count.toLocaleString("en");
const net = ([name, { paper, defaults }]) => {
  const { parameters, macs } = costOf(create(name));
  const input = defaults.resolution ?? "";
  return `| ${name} | ${exact(parameters)} | ${exact(macs)} | ${input} | ${paper.title} (${paper.id}) |`;
};
const nets = Object.entries(ARCHITECTURES);
const example = readFileSync(to("../examples/own-net.mjs"), "utf8");
const composing = `## A net of one's own

\`minnow create --list\` shows this table, \`minnow create NAME\` writes a net, and \`fitBudget\` (\`--macs\`, \`--params\`) picks its
multipliers. The blocks the nets are made of compose to others: a block takes the net, a value and its options, and gives the
value after it; weights are named by the scopes they stand in. This is \`examples/own-net.mjs\`:

\`\`\`js
${example}\`\`\`

Blocks: \`convNormAct\`, \`depthwise\`, \`pointwise\`, \`depthwiseSeparable\`, \`invertedResidual\`, \`squeezeExcite\`, \`fusedMBConv\`,
\`universalInvertedBottleneck\`, \`ghost\`, \`ghostBottleneck\`, \`shuffleUnit\`, \`channelShuffle\`, \`fire\`, \`mobileOne\`, \`residual\`. What has no
block of its own is a method of \`Net\`, down to \`net.op\`, which applies any operator.
`;
writeFileSync(
  to("architectures.md"),
  `# Architectures\n\nGenerated from the registry: ${nets.length} nets that \`create\` makes, each with the classes and the resolution of its paper. Multiply-adds are those of one image of this resolution, or of 128 tokens.\n\n| name | parameters | multiply-adds | resolution | paper |\n|---|---|---|---|---|\n${nets.map(net).join("\n")}\n\n${composing}`,
);
