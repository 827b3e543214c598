import { MinnowError } from "../errors.ts";
import type { Adapter, LoraConfig } from "./adapter.ts";
import { matcher } from "./globs.ts";
import type { LoraLayer } from "./lora-layers.ts";

/** The layers that a configuration asks for. A MinnowError (`lora/targets`) where there are none. */
export function targetsOf(layers: readonly LoraLayer[], config: LoraConfig): readonly LoraLayer[] {
  const { targetModules, excludeModules } = config;
  const wanted = targetModules === "all-linear" ? linear(layers) : fits(targetModules);
  const left = excludeModules === undefined ? () => false : fits(excludeModules);
  const found = layers.filter(({ module }) => wanted(module) && !left(module));
  if (found.length > 0) return found;
  throw none("lora/targets", `No module fits ${JSON.stringify(targetModules)}.`, layers);
}

/** All matrices but the last layer, which gives the answers. */
function linear(layers: readonly LoraLayer[]): (module: string) => boolean {
  const matrices = new Set(layers.filter(({ shape }) => shape.length === 2).map(({ module }) => module));
  const last = layers.at(-1)?.module;
  return (module) => matrices.has(module) && module !== last;
}

/** PEFT's rule: one text is an expression for the whole name, a list holds names or their ends; here also patterns with `*`. */
function fits(targets: string | readonly string[]): (module: string) => boolean {
  if (typeof targets === "string") {
    const expression = expressionOf(targets);
    return (module) => expression.test(module);
  }
  return matcher(targets.flatMap((target) => [target, `*.${target}`]));
}

function expressionOf(text: string): RegExp {
  try {
    return new RegExp(`^(?:${text})$`, "s");
  } catch (cause) {
    throw new MinnowError(`"${text}" is no regular expression.`, {
      code: "lora/targets",
      cause,
      mend: "Give a list of names, or a regular expression that fits whole names.",
    });
  }
}

/**
 * The layer of each module of an adapter: of its name, or of a name that ends in it or that it ends in, since exporters wrap
 * nets; `names` says what a weight's module is called where its name tells nothing. A MinnowError (`lora/modules`) where a
 * module has no layer, or several.
 */
export function layersOf(
  layers: readonly LoraLayer[],
  { modules }: Adapter,
  names: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, LoraLayer> {
  const called = layers.map((layer) => ({ layer, name: names.get(layer.weight) ?? layer.module }));
  return new Map(
    [...modules].map(([module, { a, b }]) => {
      const exact = called.filter(({ name }) => name === module);
      const near = called.filter(({ name }) => name.endsWith(`.${module}`) || module.endsWith(`.${name}`));
      const [found, another] = exact.length > 0 ? exact : near;
      if (found === undefined || another !== undefined)
        throw none(
          "lora/modules",
          found === undefined
            ? `The model has no module "${module}".`
            : `"${module}" may be "${found.name}" or "${another?.name}".`,
          layers,
        );
      checkShapes(module, found.layer, a.shape, b.shape);
      return [module, found.layer];
    }),
  );
}

function checkShapes(module: string, { shape }: LoraLayer, a: readonly number[], b: readonly number[]): void {
  const [out, ...into] = shape;
  if (String(a.slice(1)) === String(into) && b[0] === out) return;
  throw new MinnowError(
    `The weight of "${module}" is [${shape}]; the adapter's factors are [${a}] and [${b}], for [${[b[0], ...a.slice(1)]}].`,
    { code: "lora/shape", mend: "The adapter was made for another model: give the one it was trained on." },
  );
}

function none(code: "lora/targets" | "lora/modules", what: string, layers: readonly LoraLayer[]): MinnowError {
  const modules = layers.map(({ module }) => module);
  const shown = `${modules.slice(0, 4).join(", ")}${modules.length > 4 ? ", …" : ""}`;
  return new MinnowError(what, {
    code,
    mend: modules.length === 0 ? "The model has no weights that could be adapted." : `Modules are called ${shown}.`,
  });
}
