import type { Model } from "../ir/graph.ts";
import type { TensorData } from "../ir/tensor.ts";
import { defaultRuntime, openSession, type Runtime, type Session } from "../runtime/index.ts";

export interface BenchmarkOptions {
  readonly runtime?: Runtime;
  /** Default 1. */
  readonly threads?: number;
  /** Runs that are counted, per model; default as many as fit into `seconds`, 20 at least. */
  readonly runs?: number;
  /** Time for each model, in seconds; default 1. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

/** Latency of one model; milliseconds. */
export interface Latency {
  readonly runtime: Runtime;
  readonly threads: number;
  readonly runs: number;
  readonly medianMs: number;
  readonly p10Ms: number;
  readonly p90Ms: number;
  /** From bytes to a session that has run once. */
  readonly loadMs: number;
}

/**
 * Times models against each other on the same feeds: loads each, warms up, then runs them in turn, so that a machine
 * whose speed drifts slows all of them alike. Compare the medians of one call with each other, not with another call's.
 */
export async function benchmark(
  models: readonly (Model | Uint8Array | string)[],
  feeds: Readonly<Record<string, TensorData>>,
  options: BenchmarkOptions = {},
): Promise<Latency[]> {
  const runtime = options.runtime ?? defaultRuntime();
  const threads = options.threads ?? 1;
  const sessions: Session[] = [];
  try {
    const loads: number[] = [];
    for (const model of models) {
      const start = performance.now();
      const session = await openSession(model, { runtime, threads });
      sessions.push(session);
      await session.run(feeds);
      loads.push(performance.now() - start);
    }
    const once: number[] = [];
    for (const session of sessions) once.push(await timed(session, feeds));
    const budget = (options.seconds ?? 1) * 1000;
    const runs = options.runs ?? Math.min(1000, Math.max(20, Math.floor(budget / Math.max(...once, 0.01))));
    for (let i = 0; i < Math.min(3, runs); i++) for (const session of sessions) await session.run(feeds);
    const times: number[][] = sessions.map(() => []);
    for (let i = 0; i < runs; i++) {
      options.signal?.throwIfAborted();
      for (const [k, session] of sessions.entries()) times[k]!.push(await timed(session, feeds));
    }
    return times.map((list, k) => {
      const sorted = list.sort((a, b) => a - b);
      return {
        runtime,
        threads,
        runs,
        medianMs: quantile(sorted, 0.5),
        p10Ms: quantile(sorted, 0.1),
        p90Ms: quantile(sorted, 0.9),
        loadMs: loads[k]!,
      };
    });
  } finally {
    for (const session of sessions) await session.close();
  }
}

async function timed(session: Session, feeds: Readonly<Record<string, TensorData>>): Promise<number> {
  const start = performance.now();
  await session.run(feeds);
  return performance.now() - start;
}

/** The value below which the share `q` of sorted values lies, between neighbours by line. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const [low, high] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN];
  return low + (high - low) * (at - Math.floor(at));
}
