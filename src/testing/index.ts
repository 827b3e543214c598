export { checkGradient, type GradientCheck } from "./gradient.ts";
export { feedsOf, modelOf, outputName, SAMPLE_OPSET, type SingleOptions } from "./single.ts";
