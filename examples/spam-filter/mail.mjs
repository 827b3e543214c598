/**
 * Subject and body of a mail as it lies in a mailbox, its first 6000 letters. What else the header says is left out, and of HTML
 * all but what a reader sees. A text without a header stays as it is.
 */
export function textOf(mail) {
  const lines = mail.replaceAll("\r\n", "\n");
  const end = lines.indexOf("\n\n");
  const head = lines.slice(0, Math.max(0, end)).replace(/\n[ \t]+/g, " ");
  if (!/^(?:From |[\w-]+: )/.test(head)) return lines.slice(0, 6000);
  const subject = /^subject:(.*)$/im.exec(head)?.[1]?.trim() ?? "";
  const body = lines
    .slice(end + 2)
    .replace(/<(style|script)\b[\s\S]*?<\/\1>|<!--[\s\S]*?-->/gi, " ")
    .replace(/<[a-z/!][^>]*>/gi, " ");
  return `${subject}\n${body}`.slice(0, 6000);
}

/** Tokens of a mail that the net reads. */
export const LENGTH = 128;
