import { describe, expect, it } from "vitest";
import { int } from "../ir/attrs.ts";
import type { Dim } from "../ir/dim.ts";
import type { Attrs } from "../ir/graph.ts";
import { axesOf, channelAxis, macsOf, parseAxes } from "./axes.ts";
import type { Mapped } from "./define.ts";
import { ruleOf } from "./index.ts";
import { applied } from "./infer.ts";

/** An application of an operator to float inputs of these shapes. */
function application(op: string, shapes: readonly (readonly Dim[])[], attrs: Attrs = {}): Mapped {
  const inputs = shapes.map((_, i) => `x${i}`);
  const node = { name: op, op, domain: "", inputs, outputs: ["y"], attrs };
  const facts = new Map(shapes.map((shape, i) => [`x${i}`, { dtype: "float32" as const, shape }]));
  const n = applied(node, new Map([["", 21]]), facts);
  return { ...n, results: ruleOf(node)?.infer(n) ?? [] };
}

describe("the notation", () => {
  it("reads letters, numbers, products, sums, windows, marks and the rest", () => {
    const { inputs, outputs } = parseAxes("n(gi)[xk]!y, (a+bc)~...1, -> (*)");
    expect(inputs[0]?.map((t) => t.kind)).toEqual(["letter", "product", "window", "letter"]);
    expect(inputs[0]?.[3]).toEqual({ kind: "letter", letter: "y", mark: "!" });
    expect(inputs[1]?.[0]).toMatchObject({ kind: "sum", of: [{ kind: "letter" }, { kind: "product" }] });
    expect(inputs[1]?.slice(1)).toEqual([
      { kind: "rest", mark: "~" },
      { kind: "number", size: 1 },
    ]);
    expect(inputs[2]).toEqual([]);
    expect(outputs).toEqual([[{ kind: "all" }]]);
  });

  it.each(["ab", "a -> b -> c", "(a -> a", "a? -> a", "[x] -> x"])("refuses %s", (map) => {
    expect(() => parseAxes(map)).toThrow(/cannot be read/);
  });
});

describe("multiply-adds", () => {
  it("of a convolution are outputs times the kernel it sums", () => {
    expect(
      macsOf(
        application("Conv", [
          [1, 3, 224, 224],
          [64, 3, 7, 7],
        ]),
      ),
    ).toBe(64 * 218 * 218 * 3 * 49);
  });

  it("of a depthwise one leave the channels it does not mix out", () => {
    const conv = application(
      "Conv",
      [
        [1, 32, 10, 10],
        [32, 1, 3, 3],
      ],
      { group: int(32) },
    );
    expect(macsOf(conv)).toBe(32 * 8 * 8 * 9);
  });

  it("of an LSTM are those of the input and the state, for every gate and step", () => {
    const lstm = application("LSTM", [
      [5, "N", 4],
      [1, 12, 4],
      [1, 12, 3],
    ]);
    expect(macsOf(lstm)).toBe(`N*${5 * 4 * 3 * (4 + 3)}`);
  });

  it("of Attention are those of queries with keys, and of what comes out with values", () => {
    const attention = application("Attention", [
      [2, 6, 4, 8],
      [2, 3, 5, 8],
      [2, 3, 5, 7],
    ]);
    expect(macsOf(attention)).toBe(2 * 6 * 4 * 5 * (8 + 7));
  });

  it("keep the batch symbolic", () => {
    expect(
      macsOf(
        application("MatMul", [
          ["N", 4, 8],
          [8, 16],
        ]),
      ),
    ).toBe("N*512");
  });

  it("are none where operands share an axis only by its positions", () => {
    const scattered = application("ScatterElements", [
      [2, 3, 4],
      [2, 2, 4],
      [2, 2, 4],
    ]);
    const turned = application("RotaryEmbedding", [
      [2, 2, 3, 8],
      [2, 3, 4],
      [2, 3, 4],
    ]);
    expect([macsOf(scattered), macsOf(turned)]).toEqual([0, 0]);
  });

  it("of what is no contraction are none, and of an unknown operator unknown", () => {
    expect(
      macsOf(
        application("Add", [
          [4, 8],
          [4, 8],
        ]),
      ),
    ).toBe(0);
    expect(macsOf(application("ReduceSum", [[4, 8]]))).toBe(0);
    expect(macsOf(application("Frobnicate", [[4, 8]]))).toBeUndefined();
  });
});

describe("the axis of per-channel scales", () => {
  const channel = (n: Mapped): number | undefined => {
    const axes = axesOf(n);
    return "frozen" in axes ? undefined : channelAxis(axes.pattern, 1, n.inputs[1]?.shape?.length ?? 0);
  };

  it("is 0 for Conv, 1 for ConvTranspose, the last for MatMul, and by transB for Gemm", () => {
    expect(
      channel(
        application("Conv", [
          [1, 4, 8, 8],
          [6, 4, 3, 3],
        ]),
      ),
    ).toBe(0);
    expect(
      channel(
        application(
          "Conv",
          [
            [1, 4, 8, 8],
            [4, 1, 3, 3],
          ],
          { group: int(4) },
        ),
      ),
    ).toBe(0);
    expect(
      channel(
        application("ConvTranspose", [
          [1, 4, 8, 8],
          [4, 6, 3, 3],
        ]),
      ),
    ).toBe(1);
    expect(
      channel(
        application("MatMul", [
          [2, 4, 8],
          [8, 16],
        ]),
      ),
    ).toBe(1);
    expect(
      channel(
        application("Gemm", [
          [4, 8],
          [8, 16],
        ]),
      ),
    ).toBe(1);
    expect(
      channel(
        application(
          "Gemm",
          [
            [4, 8],
            [16, 8],
          ],
          { transB: int(1) },
        ),
      ),
    ).toBe(0);
  });
});
