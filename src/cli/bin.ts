#!/usr/bin/env node
import { main } from "./main.ts";

// Whoever reads the output may stop reading: `minnow inspect model.onnx | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});
process.exitCode = await main(process.argv.slice(2));
