import type { Extras } from "../ir/graph.ts";
import type { Raw } from "./schema.ts";

interface RawExtras {
  doc?: string | undefined;
  metadata?: Raw<"Entry">[] | undefined;
  unknown?: Uint8Array[] | undefined;
}

/** What a message carries besides its meaning; `kept` are further fields that are written back as they came. */
export function extras(raw: RawExtras, kept: readonly Uint8Array[] = []): Extras {
  const unknown = [...(raw.unknown ?? []), ...kept];
  return {
    ...(raw.doc && { doc: raw.doc }),
    ...(raw.metadata && { metadata: new Map(raw.metadata.map(({ key = "", value = "" }) => [key, value])) }),
    ...(unknown.length > 0 && { unknown }),
  };
}

/** The other way round. */
export const rawExtras = ({ doc, metadata, unknown }: Extras): RawExtras => ({
  doc: doc || undefined,
  metadata: metadata && [...metadata].map(([key, value]) => ({ key, value })),
  unknown: unknown && [...unknown],
});
