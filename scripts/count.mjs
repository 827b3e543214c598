/** Adds up the tests of several JSON reports and the steps that failed: the last line of CI. */
import { readFileSync } from "node:fs";

const [steps, ...reports] = process.argv.slice(2);
let [passed, failed] = [0, 0];
for (const path of reports) {
  const { numPassedTests, numFailedTests, numFailedTestSuites } = JSON.parse(readFileSync(path, "utf8"));
  passed += numPassedTests;
  failed += numFailedTests + (numFailedTests === 0 ? numFailedTestSuites : 0);
}
const failedSteps = Number(steps);
if (failedSteps > 0) console.log(`${failedSteps} of the steps above failed.`);
console.log(`${passed} passed, ${Math.max(failed, failedSteps)} failed`);
process.exit(failed + failedSteps > 0 || passed === 0 ? 1 : 0);
