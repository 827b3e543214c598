import { MinnowError } from "../errors.ts";
import type { Source } from "../files/source.ts";
import { inFile } from "./scan.ts";
import type { Data, Raw } from "./schema.ts";
import { type ExternalData, isSmall, lengthOf, titleOfTensor } from "./tensors.ts";

/** Finds where the data of these tensors lies in files beside the model, and checks that it is all there. */
export async function externalData(tensors: readonly Raw<"Tensor">[], model: Source): Promise<ExternalData> {
  const files = new Map<string, Source>();
  const found = new Map<Raw<"Tensor">, Data>();
  let held = 0;
  for (const tensor of tensors) {
    const at = titleOfTensor(tensor);
    const { location, offset, length } = place(tensor, at);
    let file = files.get(location);
    if (file === undefined) {
      file = await open(model, location, at);
      files.set(location, file);
      if (files.size > MOST_OPEN) await file.close?.();
    }
    const end = offset + (length ?? 0);
    if (offset > file.size || end > file.size)
      throw new MinnowError(`its data ends at byte ${end} of "${location}", which has ${file.size}.`, {
        code: "onnx/external-end",
        at,
        mend: "The data file is incomplete or belongs to another model; download or export both again.",
      });
    const data = inFile(file, { offset, length: length ?? file.size - offset });
    if (isSmall(data.length)) held += data.length;
    if (held > MOST_HELD)
      throw new MinnowError(`its small tensors take more than ${MOST_HELD} bytes.`, {
        code: "onnx/too-many",
        at: model.name,
        mend: "No real model has as many; check where the file comes from.",
      });
    found.set(tensor, isSmall(data.length) ? await data.read() : data);
  }
  return found;
}

/** Files of a model that are kept open; more are opened for each read. */
const MOST_OPEN = 32;
/** Bytes of small tensors that are held; they may all lie on one place of the file. */
const MOST_HELD = 2 ** 28;

async function open(model: Source, location: string, at: string): Promise<Source> {
  if (model.sibling === undefined)
    throw new MinnowError(`its data lies in "${location}" beside the model, and bytes alone do not lead there.`, {
      code: "onnx/external-unreachable",
      at,
      mend: "Load the model by its path or URL, or save it as one file first.",
    });
  return model.sibling(location);
}

function place(raw: Raw<"Tensor">, at: string): { location: string; offset: number; length: number | undefined } {
  const entries = new Map((raw.external ?? []).map(({ key = "", value = "" }) => [key, value]));
  const location = entries.get("location");
  if (!location)
    throw new MinnowError("its data lies in another file, but the model does not say in which.", {
      code: "onnx/external-location",
      at,
      mend: "Export the model again.",
    });
  const number = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    throw new MinnowError(`the ${key} of its data is "${text}"; it has to be a whole number.`, {
      code: "onnx/external-location",
      at,
      mend: "Export the model again.",
    });
  };
  return { location, offset: number("offset") ?? 0, length: number("length") ?? lengthOf(raw) };
}
