export { type Budget, type Check, checkBudget, type Figures } from "./budget.ts";
export { type CompressEvent, type CompressOptions, type CompressResult, compress } from "./compress.ts";
export { type Judge, judgeBy, type Quality, type Verdict } from "./judge.ts";
export { type Candidate, ladder, type Situation, type Strategy } from "./ladder.ts";
export { type Guess, guessPreprocess } from "./preprocess.ts";
export { type Kitchen, kitchen, parseRecipe, type Recipe } from "./recipe.ts";
export { chooseTrial } from "./search.ts";
export type { Trial, TrialLog } from "./trials.ts";
