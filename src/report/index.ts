export { type CompareReportParts, compareReport } from "./compare-report.ts";
export { type ChangedAnswer, compressReport, type ReportParts } from "./compress-report.ts";
export { inspectionText, type Style } from "./inspect.ts";
export { type TrainingReportParts, trainingReport } from "./training-report.ts";
