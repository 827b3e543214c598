import { duration } from "../report/words.ts";

const colourful = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && process.env.NO_COLOR === undefined && process.env.TERM !== "dumb";

const paint = (code: number) => (text: string) =>
  colourful(process.stdout) ? `\u001b[${code}m${text}\u001b[0m` : text;

export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);

/** Results: stdout. */
export const print = (...lines: readonly string[]): void => {
  for (const line of lines) process.stdout.write(`${line}\n`);
};

/** The one object of `--json`. Infinite and missing figures are null. */
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** Log: stderr. */
export const log = (line: string): void => {
  clear();
  process.stderr.write(`${line}\n`);
};

let drawn = false;

function clear(): void {
  if (drawn) process.stderr.write("\r\u001b[K");
  drawn = false;
}

/** Shows how far a piece of work is, on one line that draws over itself; on no terminal, nothing. */
export interface Progress {
  update(done: number, total: number): void;
  end(): void;
}

/** A line that draws over itself, ten times a second at most; on no terminal, nothing. */
export function statusLine(quiet = false): { show(text: () => string): void; end(): void } {
  let last = 0;
  return {
    show(text) {
      const now = performance.now();
      if (quiet || !process.stderr.isTTY || now - last < 100) return;
      last = now;
      clear();
      process.stderr.write(`  ${text()}`);
      drawn = true;
    },
    end: clear,
  };
}

/** Progress under a title, with the time left once it can be told. */
export function progress(title: string, quiet = false): Progress {
  const start = performance.now();
  const line = statusLine(quiet);
  return {
    update: (done, total) =>
      line.show(() => {
        const elapsed = (performance.now() - start) / 1000;
        const left = done > 0 && elapsed > 1 ? ` · ${duration((elapsed / done) * (total - done))} left` : "";
        return `${title} ${done}/${total}${left}`;
      }),
    end: line.end,
  };
}
