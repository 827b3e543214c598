export { type Change, type Json, type Pass, type PassResult, sequence } from "./pass.ts";
export { type UpgradeOptions, upgrade } from "./upgrade.ts";
