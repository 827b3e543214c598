import { main } from "../../src/cli/main.ts";

/** What a command line printed and how it ended. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process and keeps what it prints. */
export async function minnow(...argv: readonly string[]): Promise<Ran> {
  const kept = { out: "", err: "" };
  const streams = [
    ["out", process.stdout],
    ["err", process.stderr],
  ] as const;
  const restore = streams.map(([name, stream]) => {
    const write = stream.write;
    stream.write = ((text: string | Uint8Array) => {
      kept[name] += typeof text === "string" ? text : new TextDecoder().decode(text);
      return true;
    }) as typeof stream.write;
    return () => {
      stream.write = write;
    };
  });
  try {
    return { code: await main(argv), ...kept };
  } finally {
    for (const undo of restore) undo();
  }
}
