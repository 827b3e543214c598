import { textDataset, tokenized } from "minnow/data";
import { LENGTH, textOf } from "./mail.mjs";

/** How likely a mail is spam, 0 to 1. `run` is given the feeds of one example, batch included, and gives its two scores. */
export async function spamIn(mail, tokenizer, run) {
  const { feeds } = await tokenized(textDataset([{ text: textOf(mail) }]), tokenizer, { length: LENGTH }).at(0);
  const batch = Object.entries(feeds).map(([name, feed]) => [name, { ...feed, shape: [1, ...feed.shape] }]);
  const [ham, spam] = await run(Object.fromEntries(batch));
  return 1 / (1 + Math.exp(ham - spam));
}
