export { checkGradient, type GradientCheck, type GradientCheckOptions } from "./gradient.ts";
export { feedsOf, modelOf, outputName, SAMPLE_OPSET, type SingleOptions } from "./single.ts";
