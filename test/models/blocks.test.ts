import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { verify } from "../../src/ir/verify.ts";
import { costOf } from "../../src/measure/index.ts";
import { load } from "../../src/onnx/index.ts";
import { inferModel } from "../../src/ops/infer.ts";
import { removeDeadCode } from "../../src/passes/index.ts";
import { residualBlocks, withoutBlocks } from "../../src/passes/residual.ts";
import { prepared } from "../../src/prune/prepare.ts";
import { real, WITHOUT_REAL } from "../real.ts";

/** How many blocks stand in each row, in the order of the net; the first of a stage, whose shortcut is a convolution, is none. */
const ROWS: readonly (readonly [string, string])[] = [
  ["arch/convnext_tiny.onnx.gz", "3 3 9 3"],
  ["arch/densenet121.onnx.gz", ""],
  ["arch/mobilenet_v2.onnx.gz", "1 2 3 2 2"],
  ["arch/resnet18.onnx.gz", "2 1 1 1"],
  ["arch/resnet50.onnx.gz", "2 3 5 2"],
  ["arch/swin_t.onnx.gz", "2 2 6 2"],
  ["arch/vit_b_16.onnx.gz", "12"],
  ["cifar10/resnet20_cifar10.onnx", "3 2 2"],
  ["cifar10/resnet56_cifar10.onnx", "9 8 8"],
  ["text/stories260K_T128.onnx", "5"],
];

const absent = real("models") === undefined;

describe.skipIf(absent)(absent ? WITHOUT_REAL : "the residual blocks of", () => {
  it.each(ROWS)("%s stand in rows of %s, and the first of each can go", async (path, rows) => {
    const file = readFileSync(real(`models/${path}`) as string);
    const { model } = await prepared(await load(path.endsWith(".gz") ? gunzipSync(file) : file));
    const blocks = residualBlocks(model);
    const counts = [...new Set(blocks.map(({ row }) => row))].map((row) => blocks.filter((block) => block.row === row));
    expect(counts.map(({ length }) => length).join(" ")).toBe(rows);
    const before = costOf(model).macs;
    const types = (of: typeof model) => of.graph.outputs.map(({ name }) => inferModel(of).get(name));
    for (const [block] of counts as (typeof blocks)[]) {
      const { model: small } = await removeDeadCode().run(withoutBlocks(model, [block!]));
      verify(small);
      expect(types(small)).toEqual(types(model));
      expect(costOf(small).macs).toBeLessThan(before);
    }
  });
});
