/** Whether a name fits one of some patterns: `*` stands for any characters, `?` for one; the whole name must fit. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`, "s");
  });
  return (name) => expressions.some((expression) => expression.test(name));
}
