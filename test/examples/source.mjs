/** Lets examples in a process of their own import the package from its source: `node --import ./test/examples/source.mjs SCRIPT`. */
import { register } from "node:module";

register("./source-hooks.mjs", import.meta.url);
