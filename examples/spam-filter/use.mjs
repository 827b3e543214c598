/** `node examples/spam-filter/use.mjs < mail.eml` says whether a mail is spam. Ends with 1 if it is, as filters do. */
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openSession, openTokenizer } from "minnow";
import { spamIn } from "./judge.mjs";

const { values } = parseArgs({
  options: { made: { type: "string", default: fileURLToPath(new URL("made", import.meta.url)) } },
});
const mail = (await buffer(process.stdin)).toString("latin1");
const tokenizer = await openTokenizer(JSON.parse(await readFile(`${values.made}/tokenizer.json`, "utf8")));
const session = await openSession(`${values.made}/spam.onnx`);
const run = async (feeds) => {
  const own = Object.fromEntries(session.inputs.map((name) => [name, feeds[name]]));
  return (await session.run(own)).logits.data;
};
const share = await spamIn(mail, tokenizer, run);
await session.close();
console.log(`${share > 0.5 ? "spam" : "no spam"} (${(100 * share).toFixed(1)} %)`);
process.exitCode = share > 0.5 ? 1 : 0;
