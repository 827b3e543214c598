export { feedsOf, modelOf, outputName, SAMPLE_OPSET, type SingleOptions } from "./single.ts";
