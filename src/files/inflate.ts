import { MinnowError } from "../errors.ts";

/**
 * Decompressed bytes. `size` is what the result must come to: reading stops beyond it, so a small file cannot fill the
 * memory; where it is unknown, `limit` bounds it.
 */
export async function inflate(
  bytes: Uint8Array,
  format: "gzip" | "deflate-raw",
  { size, limit = 2 ** 32, at }: { size?: number; limit?: number; at?: string },
): Promise<Uint8Array> {
  const most = size ?? limit;
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream(format));
    const reader = stream.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      total += next.value.byteLength;
      if (total > most) {
        await reader.cancel();
        break;
      }
      chunks.push(next.value);
    }
  } catch (cause) {
    throw damaged("Its compressed data is damaged.", at, cause);
  }
  if (total > most || (size !== undefined && total !== size))
    throw damaged(
      `It decompresses to ${total > most ? "more than" : ""} ${Math.min(total, most)} bytes, ${most} were announced.`,
      at,
    );
  const out = new Uint8Array(total);
  let to = 0;
  for (const chunk of chunks) {
    out.set(chunk, to);
    to += chunk.byteLength;
  }
  return out;
}

const damaged = (what: string, at: string | undefined, cause?: unknown) =>
  new MinnowError(what, { code: "files/damaged", at, mend: "Fetch the file again.", cause });
