import { MinnowError } from "../errors.ts";
import { bytesSource, type Source } from "./source.ts";

/**
 * A source over what a URL leads to. Where the server answers range requests it is read piece by piece, else it is
 * downloaded once; files beside it are those whose URL lies in the same folder.
 */
export async function urlSource(url: URL): Promise<Source> {
  const sibling = async (path: string): Promise<Source> => {
    const other = new URL(path.split("/").map(encodeURIComponent).join("/"), url);
    const folder = new URL(".", url).href;
    if (path.startsWith("/") || !other.href.startsWith(folder))
      throw new MinnowError(`"${path}" leads out of the model's folder.`, {
        code: "files/outside",
        at: url.href,
        mend: "Data files have to stand beside the model.",
      });
    return urlSource(other);
  };
  const head = await request(url, { headers: { range: "bytes=0-0" } });
  const size = Number(/\/(\d+)$/.exec(head.headers.get("content-range") ?? "")?.[1] ?? Number.NaN);
  if (head.status !== 206 || !Number.isSafeInteger(size)) {
    const whole = head.status === 200 ? head : await request(url, {});
    return { ...bytesSource(new Uint8Array(await whole.arrayBuffer()), url.href), sibling };
  }
  await head.arrayBuffer();
  const tag = head.headers.get("etag");
  return {
    size,
    name: url.href,
    sibling,
    async read(offset, length) {
      if (length === 0) return new Uint8Array(0);
      const answer = await request(url, { headers: { range: `bytes=${offset}-${offset + length - 1}` } });
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (answer.status !== 206 || bytes.byteLength !== length || answer.headers.get("etag") !== tag)
        throw new MinnowError("The file changed while it was being read.", { code: "files/changed", at: url.href });
      return bytes;
    },
  };
}

async function request(url: URL, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, init);
  } catch (cause) {
    throw new MinnowError("There is no answer.", { code: "files/unreachable", at: url.href, mend: CHECK, cause });
  }
  if (answer.ok || answer.status === 416) return answer;
  throw new MinnowError(`The server answers ${answer.status} ${answer.statusText}.`, {
    code: "files/unreachable",
    at: url.href,
    mend: CHECK,
  });
}

const CHECK = "Check the address and the connection.";
