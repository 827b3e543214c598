"""What ONNX Runtime makes of QuantizeLinear/DequantizeLinear around each operator: a table of facts, by trying.

    python qdq_fusion.py [--output results/ort_qdq_fusion.json] [--filter TEXT] [--model Q.onnx]...

Every case is a small graph: float input -> Q -> DQ -> operator -> Q -> DQ -> float output, in the variant its name says.
It is opened at ORT_ENABLE_ALL and the graph that will run is written out and read back:
  integer   no DequantizeLinear is left but the one at each output: the operator runs on 8 (16) bits
  partly    some are left, yet at least one quantized kernel (QLinear..., QGemm, MatMulInteger...) runs
  float     the operator runs on floats, between a DequantizeLinear and a QuantizeLinear
  refused   the session does not open; `error` says why
`steps` is the largest difference to the unoptimized graph, in quantization steps of the output. --model: counts the
nodes that a quantized model ends up with.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

ORT = ort.GraphOptimizationLevel
TYPES = {"u8": (T.UINT8, np.uint8), "s8": (T.INT8, np.int8), "u16": (T.UINT16, np.uint16), "s16": (T.INT16, np.int16),
         "s32": (T.INT32, np.int32), "u4": (T.UINT4, None), "s4": (T.INT4, None)}
LIMITS = {"u8": (0, 255), "s8": (-128, 127), "u16": (0, 65535), "s16": (-32768, 32767), "u4": (0, 15), "s4": (-8, 7)}
MIDDLE = {"u8": 128, "s8": 0, "u16": 32768, "s16": 0, "u4": 8, "s4": 0}
STEP = {"u8": 1.0, "s8": 1.0, "u16": 1 / 256, "s16": 1 / 256, "u4": 16.0, "s4": 16.0}


class Build:
    """One case's graph. Scales are given for 8 bits; 16-bit ones are scaled down to cover the same range."""

    def __init__(self, opset=13, qdq_domain="", scale_shape=()):
        self.random = np.random.default_rng(0)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.opset, self.qdq_domain, self.count, self.step = opset, qdq_domain, 0, 1.0
        self.scale_shape = scale_shape  # of a per-tensor scale: () or (1,)

    def name(self, stem="t"):
        self.count += 1
        return f"{stem}{self.count}"

    def const(self, array, kind=None, shape=None):
        name = self.name("c")
        if kind in ("u4", "s4"):
            tensor = helper.make_tensor(name, TYPES[kind][0], shape or array.shape, [int(v) for v in np.ravel(array)])
        else:
            tensor = numpy_helper.from_array(np.array(array, order="C"), name)
        self.weights.append(tensor)
        return name

    def op(self, kind, inputs, outputs=1, domain="", **attrs):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=self.name(kind), domain=domain, **attrs))
        return names[0] if outputs == 1 else names

    def parameters(self, scale, zp, kind):
        scale = np.asarray(scale, np.float32) * np.float32(STEP[kind] if kind in STEP else 1)
        if scale.ndim == 0:
            scale = scale.reshape(self.scale_shape)
        zp = np.broadcast_to(np.asarray(MIDDLE[kind] if zp is None else zp), scale.shape)
        zero = self.const(zp, kind, scale.shape) if kind in ("u4", "s4") else self.const(zp.astype(TYPES[kind][1]))
        return [self.const(scale), zero]

    def q(self, x, scale=0.05, zp=None, kind="u8"):
        return self.op("QuantizeLinear", [x, *self.parameters(scale, zp, kind)], domain=self.qdq_domain)

    def dq(self, x, scale=0.05, zp=None, kind="u8", **attrs):
        return self.op("DequantizeLinear", [x, *self.parameters(scale, zp, kind)], domain=self.qdq_domain, **attrs)

    def qdq(self, x, scale=0.05, zp=None, kind="u8"):
        return x if self.plain else self.dq(self.q(x, scale, zp, kind), scale, zp, kind)

    plain = False  # True: no Q/DQ anywhere, the float graph to time against

    def input(self, shape, scale=0.02, zp=None, kind="u8", quantize=True):
        name = self.name("x")
        if quantize == "edge" and not self.plain:  # the graph's input is the integers themselves
            self.inputs.append(helper.make_tensor_value_info(name, TYPES[kind][0], shape))
            return self.dq(name, scale, zp, kind)
        self.inputs.append(helper.make_tensor_value_info(name, T.FLOAT, shape))
        return self.qdq(name, scale, zp, kind) if quantize else name

    def weight(self, shape, kind="s8", scale=0.01, zp=None, axis=None, **attrs):
        """An integer weight behind a DequantizeLinear. With an axis: a scale (and zero point) for each channel."""
        if self.plain:
            return self.const(self.random.standard_normal(shape).astype(np.float32) * 0.3)
        low, high = LIMITS[kind]
        scales, zps = np.float32(scale / STEP[kind]), zp
        if axis is not None:
            scales = np.linspace(0.5, 1.5, shape[axis], dtype=np.float32) * scale / STEP[kind]
            attrs["axis"] = axis
        values = self.random.integers(max(low, -127), high + 1, shape)
        array = self.const(values, kind, shape) if kind in ("u4", "s4") else self.const(values.astype(TYPES[kind][1]))
        return self.dq(array, scales * 1, zps, kind, **attrs)

    def output(self, x, scale=0.05, zp=None, kind="u8", quantize=True):
        edge = quantize == "edge" and not self.plain
        name = self.q(x, scale, zp, kind) if edge else self.qdq(x, scale, zp, kind) if quantize else x
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[kind][0] if edge else T.FLOAT, None))
        if quantize:
            self.step = float(scale * STEP[kind])

    def model(self):
        graph = helper.make_graph(self.nodes, "case", self.inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 19 else 10)


CASES = {}  # name -> function that makes the Build


def case(name, make):
    assert name not in CASES, name
    CASES[name] = make


# ---- contractions ------------------------------------------------------------------------------------------------

def conv(x="u8", w="s8", y="u8", axis=0, wzp=None, bias="channel", after=None, yscale=0.05, yzp=None, xzp=None, opset=13,
         domain="", group=1, quantize_out=True, wscale=0.01, op="Conv", between=None, weight=None):
    def make():
        b = Build(opset, domain)
        n = 8
        a = b.input([1, n, 8, 8], 0.02, xzp, x)
        shape = [n, n // group, 3, 3]
        if weight == "float":
            kernel = b.const(b.random.standard_normal(shape).astype(np.float32) * 0.3)
        elif weight == "float, Q, DQ":
            kernel = b.qdq(b.const(b.random.standard_normal(shape).astype(np.float32) * 0.3), wscale, 0, w)
        else:
            kernel = b.weight(shape, w, wscale, wzp, axis)
        inputs = [a, kernel]
        values = b.random.integers(-2000, 2000, n)
        channel = np.linspace(0.5, 1.5, n, dtype=np.float32) * wscale if axis is not None else np.float32(wscale)
        sx = np.float32(0.02 * STEP[x])
        def bias_dq(scale, zp=True, axis=None):
            attrs = {"axis": axis} if axis is not None else {}
            names = [b.const(values.astype(np.int32)), b.const(np.asarray(scale, np.float32))]
            if zp:
                names.append(b.const(np.zeros(np.shape(scale), np.int32)))
            return b.op("DequantizeLinear", names, domain=domain, **attrs)
        if bias == "channel":
            inputs.append(bias_dq(sx * channel, axis=0 if axis is not None else None))
        elif bias == "channel, no zero point":
            inputs.append(bias_dq(sx * channel, zp=False, axis=0 if axis is not None else None))
        elif bias == "one scale":
            inputs.append(bias_dq(sx * wscale))
        elif bias == "other scales":
            inputs.append(bias_dq(sx * channel * 2, axis=0))
        elif isinstance(bias, float):
            inputs.append(bias_dq(sx * channel * np.float32(bias), axis=0))
        elif bias == "float":
            inputs.append(b.const((values * 2e-4).astype(np.float32)))
        attrs = {} if op == "ConvTranspose" else {"pads": [1, 1, 1, 1], "group": group}
        out = b.op(op, inputs, **attrs)
        for step in after or []:
            out = step(b, out)
        b.output(out, yscale, yzp, y, quantize_out)
        return b
    return make


def clip(low, high, shape=()):
    def step(b, x):
        names = [b.const(np.full(shape, v, np.float32)) if v is not None else "" for v in (low, high)]
        return b.op("Clip", [x, *names])
    return step


def unary(kind, domain="", **attrs):
    return lambda b, x: b.op(kind, [x], domain=domain, **attrs)


def pair(scale=0.05, zp=None, kind="u8"):
    return lambda b, x: b.qdq(x, scale, zp, kind)


case("Conv: u8 x s8 per channel, int32 bias per channel", conv())
case("Conv: no bias", conv(bias=None))
case("Conv: bias float", conv(bias="float"))
case("Conv: bias int32, DQ without zero point", conv(bias="channel, no zero point"))
case("Conv: bias int32 with one scale, weights per channel", conv(bias="one scale"))
case("Conv: bias int32, scales 1 % off x*w", conv(bias=1.01))
case("Conv: bias int32, scales 10 % off x*w", conv(bias=1.1))
case("Conv: bias int32, scales twice x*w", conv(bias="other scales"))
case("Conv: weight s8 per tensor", conv(axis=None))
case("Conv: weight s8 per tensor, zero point 3", conv(axis=None, wzp=3))
case("Conv: weight s8 per channel, zero points 3", conv(wzp=3))
case("Conv: weight s8 per channel, zero points differ", conv(wzp=np.arange(8)))
case("Conv: weight u8 per tensor, zero point 128", conv(w="u8", axis=None))
case("Conv: weight u8 per tensor, zero point 100", conv(w="u8", axis=None, wzp=100))
case("Conv: weight u8 per channel, zero points 128", conv(w="u8"))
case("Conv: weight u8 per channel, zero points differ", conv(w="u8", wzp=np.arange(8) + 120))
case("Conv: weight scales along axis 1", conv(axis=1, bias=None))
case("Conv: x s8, w s8, y s8", conv("s8", "s8", "s8"))
case("Conv: x s8, w u8, y s8", conv("s8", "u8", "s8", axis=None))
case("Conv: x s8, w s8, y u8", conv("s8", "s8", "u8"))
case("Conv: x u8, w s8, y s8", conv("u8", "s8", "s8"))
case("Conv: x u16, w s8, y u16 (com.microsoft Q/DQ)", conv("u16", "s8", "u16", domain="com.microsoft"))
case("Conv: x u16, w s8, y u16 (opset 21)", conv("u16", "s8", "u16", opset=21))
case("Conv: x s16, w s8, y s16 (opset 21)", conv("s16", "s8", "s16", opset=21))
case("Conv: x u16, w s16, y u16 (opset 21)", conv("u16", "s16", "u16", opset=21, bias=None))
case("Conv: x u8, w s8, y u16 (opset 21)", conv("u8", "s8", "u16", opset=21))
case("Conv: x u8, weight s4 (opset 21)", conv(w="s4", opset=21, bias=None))
case("Conv: x u8, weight u4 (opset 21)", conv(w="u4", opset=21, bias=None))
case("Conv: weight float", conv(weight="float", bias=None))
case("Conv: weight float, Q, DQ (not stored as integers)", conv(weight="float, Q, DQ", axis=None, bias=None))
case("Conv: depthwise", conv(group=8))
case("Conv: output not quantized", conv(quantize_out=False))
case("ConvTranspose: u8 x s8", conv(op="ConvTranspose", bias=None, axis=None))
for n in (10, 11, 12, 13, 18, 19, 20, 21, 22, 23, 24, 25, 26):
    case(f"Conv: opset {n}", conv(opset=n, axis=None if n < 13 else 0))

RELU = [unary("Relu")]
case("Conv, Relu, Q: u8 zero point 0", conv(after=RELU, yzp=0))
case("Conv, Relu, Q: u8 zero point 1", conv(after=RELU, yzp=1))
case("Conv, Relu, Q: u8 zero point 128", conv(after=RELU, yzp=128))
case("Conv, Relu, Q: s8 zero point -128", conv(y="s8", after=RELU, yzp=-128))
case("Conv, Relu, Q: s8 zero point 0", conv(y="s8", after=RELU, yzp=0))
case("Conv, Relu, Q: u16 zero point 0 (opset 21)", conv(x="u16", y="u16", after=RELU, yzp=0, opset=21))
case("Conv, Q, DQ, Relu, Q: both zero point 128", conv(after=[pair(0.05, 128), *RELU], yzp=128))
case("Conv, Q, DQ, Relu, Q: first 128, last 0", conv(after=[pair(0.05, 128), *RELU], yzp=0))
case("Conv, Q, DQ, Relu, Q: both zero point 0", conv(after=[pair(0.05, 0), *RELU], yzp=0))
SIX = float(np.float32(6 / 255))
case("Conv, Clip(0,6), Q: u8 zp 0, range exactly 0..6", conv(after=[clip(0, 6)], yzp=0, yscale=SIX))
case("Conv, Clip(0,6), Q: u8 zp 0, range 0..5", conv(after=[clip(0, 6)], yzp=0, yscale=5 / 255))
case("Conv, Clip(0,6), Q: u8 zp 0, range 0..8", conv(after=[clip(0, 6)], yzp=0, yscale=8 / 255))
for top in (6.0000005, 6.01, 6.02):
    case(f"Conv, Clip(0,6), Q: u8 zp 0, range 0..{top}", conv(after=[clip(0, 6)], yzp=0, yscale=top / 255))
case("Conv, Clip(0,1), Q: u8 zp 0, range 0..1.005", conv(after=[clip(0, 1)], yzp=0, yscale=1.005 / 255))
case("Conv, Q, DQ, Clip(0,6), Q: both 0..6.001", conv(after=[pair(6.001 / 255, 0), clip(0, 6)], yzp=0, yscale=6.001 / 255))
case("Conv, Clip(0,6), Q: s8 zp -128, range 0..6", conv(y="s8", after=[clip(0, 6)], yzp=-128, yscale=SIX))
case("Conv, Clip(0,6), Q: s8 zp 0", conv(y="s8", after=[clip(0, 6)], yzp=0, yscale=6 / 127))
case("Conv, Clip(0,none), Q: u8 zp 0", conv(after=[clip(0, None)], yzp=0))
case("Conv, Clip(0,6), Q: u8 zp 0, range 0..5, bounds of shape [1]", conv(after=[clip(0, 6, (1,))], yzp=0, yscale=5 / 255))
case("Conv, Clip(-1,1), Q: u8 zp 128, range -1..0.99", conv(after=[clip(-1, 1)], yzp=128, yscale=1 / 128))
case("Conv, Clip(-1,1), Q: s8 zp 0, range -1..0.99", conv(y="s8", after=[clip(-1, 1)], yzp=0, yscale=1 / 128))
case("Conv, Q, DQ, Clip(0,6), Q: first -6.4..6.35, last 0..6", conv(after=[pair(0.05, 128), clip(0, 6)], yzp=0, yscale=SIX))
case("Conv, Q, DQ, Clip(0,6), Q: both 0..6", conv(after=[pair(SIX, 0), clip(0, 6)], yzp=0, yscale=SIX))
for kind, domain, attrs in [("LeakyRelu", "", {}), ("Sigmoid", "", {}), ("HardSigmoid", "", {}), ("HardSwish", "", {}), ("Tanh", "", {})]:
    case(f"Conv, {kind}, Q (no Q/DQ between)", conv(after=[unary(kind, domain, **attrs)], opset=14))


def two_consumers(shared_dq, relu_between=False):
    def make():
        b = Build()
        x = b.name("x")
        b.inputs.append(helper.make_tensor_value_info(x, T.FLOAT, [1, 8, 8, 8]))
        quantized = b.q(x, 0.02)
        dq = b.dq(quantized, 0.02)
        for i in range(2):
            a = dq if shared_dq or i == 0 else b.dq(quantized, 0.02)
            b.output(b.op("Conv", [a, b.weight([8, 8, 3, 3], axis=0)]))
        return b
    return make


case("two Convs read one DQ", two_consumers(True))
case("two Convs read a DQ each of one Q", two_consumers(False))


def conv_two_readers(b):
    out = b.op("Conv", [b.input([1, 8, 8, 8]), b.weight([8, 8, 3, 3], axis=0)], pads=[1, 1, 1, 1])
    b.output(out)
    b.output(b.op("Relu", [out]), zp=0)
    return b


case("Conv whose float output is read by Q and by Relu", lambda: conv_two_readers(Build()))


def chain(fill, opset=13, scale_shape=()):
    def make():
        b = Build(opset, scale_shape=scale_shape)
        fill(b)
        return b
    return make


def residual(relu_scale_same, y="u8"):
    def fill(b):
        zp = 0 if y == "u8" else -128
        x = b.input([1, 8, 8, 8], 0.02, None, y)
        c = b.qdq(b.op("Conv", [x, b.weight([8, 8, 3, 3], axis=0)], pads=[1, 1, 1, 1]), 0.05, None, y)
        b.output(b.op("Relu", [b.op("Add", [c, x])]), 0.05, zp, y)
    return fill


case("Conv, Q, DQ, Add, Relu, Q (zp at the minimum)", chain(residual(True)))
case("Conv, Q, DQ, Add, Relu, Q, s8 (zp at the minimum)", chain(residual(True, "s8")))


def residual_without(b):
    x = b.input([1, 8, 8, 8])
    b.output(b.op("Add", [b.op("Conv", [x, b.weight([8, 8, 3, 3], axis=0)], pads=[1, 1, 1, 1]), x]))


case("Conv, Add, Q (no Q/DQ between)", chain(residual_without))


def gemm(axis=None, w="s8", x="u8", y="u8", bias=True, quantize_out=True, opset=13, transB=1, wzp=None, after=None, yzp=None, alpha=1.0, bias_zp=True, beta=1.0):
    def fill(b):
        a = b.input([4, 16], 0.02, None, x)
        weight = b.weight([8, 16] if transB else [16, 8], w, 0.01, wzp, axis)
        inputs = [a, weight]
        if bias:
            scale = np.float32(0.02 * STEP[x]) * (np.linspace(0.5, 1.5, 8, dtype=np.float32) * 0.01 if axis is not None else np.float32(0.01))
            names = [b.const(b.random.integers(-2000, 2000, 8).astype(np.int32)), b.const(np.asarray(scale, np.float32))]
            if bias == "float":
                inputs.append(b.const(np.ones(8, np.float32)))
            else:
                if bias_zp:
                    names.append(b.const(np.zeros(np.shape(scale), np.int32)))
                inputs.append(b.op("DequantizeLinear", names, **({"axis": 0} if axis is not None else {})))
        out = b.op("Gemm", inputs, transB=transB, alpha=alpha, beta=beta)
        for step in after or []:
            out = step(b, out)
        b.output(out, 0.05, yzp, y, quantize_out)
    return chain(fill, opset)


case("Gemm: transB, s8 per tensor, int32 bias", gemm())
case("Gemm: transB, s8 per channel (axis 0), int32 bias", gemm(0))
case("Gemm: no transB, s8 per channel (axis 1), int32 bias", gemm(1, transB=0))
case("Gemm: transB, s8 per channel, int32 bias, DQ without zero point", gemm(0, bias_zp=False))
case("Gemm: no bias", gemm(0, bias=False))
case("Gemm: bias float", gemm(0, bias="float"))
case("Gemm: output not quantized", gemm(0, quantize_out=False))
case("Gemm: alpha 0.5", gemm(0, alpha=0.5))
case("Gemm: beta 0.5", gemm(0, beta=0.5))
case("Gemm: weight u8 per tensor", gemm(w="u8"))
case("Gemm: weight s8 per channel, zero points 3", gemm(0, wzp=3))
case("Gemm: x s8, w s8, y s8", gemm(0, "s8", "s8", "s8"))
case("Gemm: x u16, w s8, y u16 (opset 21)", gemm(0, "s8", "u16", "u16", opset=21))
case("Gemm, Relu, Q: u8 zero point 0", gemm(0, after=RELU, yzp=0))


def matmul(axis=None, w="s8", x="u8", y="u8", quantize_out=True, opset=13, wzp=None, bias=None, shape=(4, 16), a_quantized=True, block=None):
    def fill(b):
        a = b.input(list(shape), 0.02, None, x, a_quantized)
        if block:
            values = b.random.integers(-8, 8, [64, 8])
            data = b.const(values, "s4", [64, 8]) if w == "s4" else b.const(values.astype(TYPES[w][1]))
            weight = b.op("DequantizeLinear", [data, b.const(np.full([64 // block, 8], 0.05, np.float32))], axis=0, block_size=block)
        else:
            weight = b.weight([shape[-1], 8], w, 0.01, wzp, axis)
        out = b.op("MatMul", [a, weight])
        if bias in ("float", "float, Relu"):
            out = b.op("Add", [out, b.const(np.ones(8, np.float32))])
        elif bias == "Q, DQ, Add of int8":
            out = b.op("Add", [b.qdq(out), b.weight([8], "u8", 0.02)])
        if bias == "float, Relu":
            out = b.op("Relu", [out])
        b.output(out, 0.05, 0 if bias == "float, Relu" else None, y, quantize_out)
    return chain(fill, opset)


case("MatMul: constant s8 per tensor", matmul())
case("MatMul: constant s8 per channel (axis 1)", matmul(1))
case("MatMul: constant u8 per channel (axis 1)", matmul(1, "u8"))
case("MatMul: constant s8 per channel, zero points 3", matmul(1, wzp=3))
case("MatMul: 3 dimensions, per channel", matmul(1, shape=(1, 4, 16)))
case("MatMul: x s8, w s8, y s8", matmul(1, "s8", "s8", "s8"))
case("MatMul: x s8, w u8, y s8", matmul(None, "u8", "s8", "s8"))
case("MatMul: output not quantized", matmul(1, quantize_out=False))
case("MatMul: output not quantized, x s8", matmul(1, x="s8", quantize_out=False))
case("MatMul, Add float bias, Q", matmul(1, bias="float"))
case("MatMul, Add float bias, not quantized", matmul(1, bias="float", quantize_out=False))
case("MatMul, Add float bias, Relu, Q: u8 zero point 0", matmul(1, bias="float, Relu"))
case("MatMul: 3 dimensions, Add float bias, Q", matmul(1, bias="float", shape=(1, 4, 16)))
case("MatMul: 3 dimensions, Add float bias, not quantized", matmul(1, bias="float", shape=(1, 4, 16), quantize_out=False))
case("MatMul, Q, DQ, Add of integers, Q", matmul(1, bias="Q, DQ, Add of int8"))
case("MatMul: x float, constant s8 per channel", matmul(1, a_quantized=False, quantize_out=False))
case("MatMul: x float, constant s8 per tensor", matmul(None, a_quantized=False, quantize_out=False))
case("MatMul: x float, s8 blocks of 32 (opset 21)", matmul(w="s8", a_quantized=False, quantize_out=False, opset=21, shape=(4, 64), block=32))
case("MatMul: x float, s4 blocks of 32 (opset 21)", matmul(w="s4", a_quantized=False, quantize_out=False, opset=21, shape=(4, 64), block=32))
case("MatMul: x u16, w s8, y u16 (opset 21)", matmul(1, "s8", "u16", "u16", opset=21))
for kinds in (("u8", "u8"), ("s8", "s8"), ("u8", "s8")):
    case(f"MatMul: both activations, {kinds[0]} x {kinds[1]}", chain(lambda b, k=kinds: b.output(
        b.op("MatMul", [b.input([2, 4, 16], kind=k[0]), b.input([2, 16, 8], kind=k[1])]), 0.05, None, k[0])))

# ---- element by element ------------------------------------------------------------------------------------------

S = [1, 8, 8, 8]
for kind in ("Add", "Sub", "Mul", "Div"):
    for t in ("u8", "s8"):
        case(f"{kind}: two activations, {t}", chain(lambda b, k=kind, t=t: b.output(
            b.op(k, [b.input(S, 0.02, None, t), b.input(S, 0.03, None, t)]), 0.05, None, t)))
for kind in ("Add", "Mul"):
    case(f"{kind}: u8 + s8", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.input(S, kind="s8")]))))
    case(f"{kind}: inputs u8, output s8", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.input(S)]), kind="s8")))
    case(f"{kind}: broadcast [1,8,1,1]", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.input([1, 8, 1, 1])]))))
    case(f"{kind}: constant u8 behind DQ", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.weight([8, 1, 1], "u8")]))))
    case(f"{kind}: constant s8 behind DQ, activations u8", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.weight([8, 1, 1], "s8")]))))
    case(f"{kind}: constant float", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.const(np.ones([8, 1, 1], np.float32))]))))
    case(f"{kind}: constant float scalar, Q, DQ", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.qdq(b.const(np.float32(0.5)), 0.01)]))))
    case(f"{kind}: constant u8 per channel behind DQ", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.weight([8, 1, 1], "u8", axis=0)]))))
    case(f"{kind}: same tensor twice", chain(lambda b, k=kind: (lambda x: b.output(b.op(k, [x, x])))(b.input(S))))
    case(f"{kind}: output not quantized", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S), b.input(S)]), quantize=False)))
    case(f"{kind}: u16 (opset 21)", chain(lambda b, k=kind: b.output(b.op(k, [b.input(S, kind="u16"), b.input(S, kind="u16")]), kind="u16"), 21))
case("Add, Relu, Q: u8 zero point 0", chain(lambda b: b.output(b.op("Relu", [b.op("Add", [b.input(S), b.input(S)])]), zp=0)))
case("Mul, Clip(0,6), Q: u8 zp 0, range 0..6", chain(lambda b: b.output(clip(0, 6)(b, b.op("Mul", [b.input(S), b.input(S)])), SIX, 0)))
case("Min: two activations", chain(lambda b: b.output(b.op("Min", [b.input(S), b.input(S)]))))
case("Max: two activations", chain(lambda b: b.output(b.op("Max", [b.input(S), b.input(S)]))))
case("Pow 2", chain(lambda b: b.output(b.op("Pow", [b.input(S), b.const(np.float32(2))]))))
case("Where: s8/u8 activations", chain(lambda b: b.output(b.op("Where", [b.const(np.arange(8).reshape(8, 1, 1) % 2 == 0), b.input(S), b.input(S)]))))

UNARY = [("Relu", {}), ("LeakyRelu", {"alpha": 0.1}), ("PRelu", None), ("Sigmoid", {}), ("Tanh", {}), ("HardSigmoid", {}), ("HardSwish", {}),
         ("Softmax", {"axis": 1}), ("LogSoftmax", {"axis": 1}), ("Elu", {}), ("Softplus", {}), ("Erf", {}), ("Exp", {}), ("Sqrt", {}), ("Abs", {}), ("Neg", {}), ("Gelu", {})]
for kind, attrs in UNARY:
    for t in ("u8", "s8"):
        scale, zp = {"Softmax": (1 / 256, LIMITS[t][0]), "Sigmoid": (1 / 256, LIMITS[t][0]), "HardSigmoid": (1 / 256, LIMITS[t][0])}.get(kind, (0.05, None))
        opset = 20 if kind == "Gelu" else 14
        if kind == "PRelu":
            case(f"{kind}: {t}", chain(lambda b, t=t: b.output(b.op("PRelu", [b.input(S, kind=t), b.weight([8, 1, 1], t)]), kind=t), opset))
        else:
            case(f"{kind}: {t}", chain(lambda b, k=kind, a=attrs, t=t, s=scale, z=zp: b.output(b.op(k, [b.input(S, kind=t)], **a), s, z, t), opset))
case("Softmax: u8, scale 1/255", chain(lambda b: b.output(b.op("Softmax", [b.input(S)], axis=1), 1 / 255, 0)))
case("Softmax: last axis, 3 dimensions", chain(lambda b: b.output(b.op("Softmax", [b.input([1, 4, 16])], axis=-1), 1 / 256, 0)))
case("Sigmoid: output not quantized", chain(lambda b: b.output(b.op("Sigmoid", [b.input(S)]), quantize=False)))
case("Swish: Mul(x, Sigmoid(x)), Q/DQ on every tensor", chain(lambda b: (lambda x: b.output(b.op("Mul", [x, b.qdq(b.op("Sigmoid", [x]), 1 / 256, 0)])))(b.input(S))))
case("Swish: Mul(x, Sigmoid(x)), no Q/DQ inside", chain(lambda b: (lambda x: b.output(b.op("Mul", [x, b.op("Sigmoid", [x])])))(b.input(S))))
case("HardSwish: Mul(x, HardSigmoid(x)), Q/DQ on every tensor", chain(lambda b: (lambda x: b.output(b.op("Mul", [x, b.qdq(b.op("HardSigmoid", [x], alpha=1 / 6), 1 / 256, 0)])))(b.input(S))))
case("Add, Clip(0,6), Q: u8 zp 0, range 0..6.001", chain(lambda b: b.output(clip(0, 6)(b, b.op("Add", [b.input(S), b.input(S)])), 6.001 / 255, 0)))
case("Clip(0,6): alone, range 0..6.001 in and out", chain(lambda b: b.output(clip(0, 6)(b, b.input(S, 6.001 / 255, 0)), 6.001 / 255, 0)))
case("Relu: u8, zp 0 in and out, same scale", chain(lambda b: b.output(b.op("Relu", [b.input(S, 0.02, 0)]), 0.02, 0)))
case("Clip(0,6): alone, range exactly 0..6 in and out", chain(lambda b: b.output(clip(0, 6)(b, b.input(S, SIX, 0)), SIX, 0)))
case("Clip(0,6): alone, from -6.4..6.35 to 0..6", chain(lambda b: b.output(clip(0, 6)(b, b.input(S, 0.05)), SIX, 0)))
case("Clip(-1,1): alone, same parameters, wider range", chain(lambda b: b.output(clip(-1, 1)(b, b.input(S, 0.05)), 0.05)))

# ---- pooling, reduction, norms -----------------------------------------------------------------------------------

for t in ("u8", "s8"):
    case(f"GlobalAveragePool: {t}", chain(lambda b, t=t: b.output(b.op("GlobalAveragePool", [b.input(S, kind=t)]), 0.02, None, t)))
    case(f"ReduceMean: {t}, axes 2,3 kept (opset 13)", chain(lambda b, t=t: b.output(b.op("ReduceMean", [b.input(S, kind=t)], axes=[2, 3], keepdims=1), 0.02, None, t)))
    case(f"AveragePool: {t}", chain(lambda b, t=t: b.output(b.op("AveragePool", [b.input(S, kind=t)], kernel_shape=[2, 2], strides=[2, 2]), 0.02, None, t)))
    case(f"MaxPool: {t}, same parameters", chain(lambda b, t=t: b.output(b.op("MaxPool", [b.input(S, kind=t)], kernel_shape=[2, 2], strides=[2, 2]), 0.02, None, t)))
case("GlobalAveragePool: other output parameters", chain(lambda b: b.output(b.op("GlobalAveragePool", [b.input(S)]), 0.011, 100)))
case("GlobalAveragePool: opset 22", chain(lambda b: b.output(b.op("GlobalAveragePool", [b.input(S)]), 0.02), 22))
case("GlobalAveragePool: u8 in, s8 out", chain(lambda b: b.output(b.op("GlobalAveragePool", [b.input(S)]), 0.02, None, "s8")))
case("GlobalAveragePool: output not quantized", chain(lambda b: b.output(b.op("GlobalAveragePool", [b.input(S)]), quantize=False)))
case("GlobalAveragePool, Flatten, Q: no Q/DQ between", chain(lambda b: b.output(b.op("Flatten", [b.op("GlobalAveragePool", [b.input(S)])]), 0.02)))
case("GlobalAveragePool, Q, DQ, Flatten, Q", chain(lambda b: b.output(b.op("Flatten", [b.qdq(b.op("GlobalAveragePool", [b.input(S)]), 0.02)]), 0.02)))
case("ReduceMean: u8, axes as input (opset 18)", chain(lambda b: b.output(b.op("ReduceMean", [b.input(S), b.const(np.array([2, 3], np.int64))], keepdims=1), 0.02), 18))
case("AveragePool: u8, pads", chain(lambda b: b.output(b.op("AveragePool", [b.input(S)], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 0.02)))
case("AveragePool: u8, pads, count_include_pad", chain(lambda b: b.output(b.op("AveragePool", [b.input(S)], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), 0.02)))
case("AveragePool: opset 22", chain(lambda b: b.output(b.op("AveragePool", [b.input(S)], kernel_shape=[2, 2]), 0.02), 22))
case("MaxPool: u8, other output scale", chain(lambda b: b.output(b.op("MaxPool", [b.input(S)], kernel_shape=[2, 2]), 0.03)))
case("MaxPool: u8, opset 22", chain(lambda b: b.output(b.op("MaxPool", [b.input(S)], kernel_shape=[2, 2]), 0.02), 22))
case("MaxPool: u16 (opset 21)", chain(lambda b: b.output(b.op("MaxPool", [b.input(S, kind="u16")], kernel_shape=[2, 2]), 0.02, None, "u16"), 21))
case("GlobalMaxPool: u8", chain(lambda b: b.output(b.op("GlobalMaxPool", [b.input(S)]), 0.02)))
case("ReduceMax: u8", chain(lambda b: b.output(b.op("ReduceMax", [b.input(S)], axes=[2, 3]), 0.02)))
case("ReduceSum: u8", chain(lambda b: b.output(b.op("ReduceSum", [b.input(S), b.const(np.array([2, 3], np.int64))]), 0.2)))
case("ArgMax: u8", chain(lambda b: b.output(b.op("Cast", [b.op("ArgMax", [b.input(S)], axis=1)], to=T.FLOAT), quantize=False)))
case("LayerNormalization: u8 (opset 17)", chain(lambda b: b.output(b.op("LayerNormalization", [b.input([1, 4, 16]), b.weight([16], "s8"), b.weight([16], "s8")]), 0.05), 17))
case("InstanceNormalization: u8", chain(lambda b: b.output(b.op("InstanceNormalization", [b.input(S), b.weight([8], "s8"), b.weight([8], "s8")]), 0.05)))
case("BatchNormalization: u8", chain(lambda b: b.output(b.op("BatchNormalization", [b.input(S), b.const(np.ones(8, np.float32)), b.const(np.zeros(8, np.float32)), b.const(np.zeros(8, np.float32)), b.const(np.ones(8, np.float32))]), 0.05)))

# ---- moving data -------------------------------------------------------------------------------------------------

I = lambda *v: np.array(v, np.int64)
MOVES = {
    "Reshape": lambda b, x: b.op("Reshape", [x, b.const(I(1, 64, 8))]),
    "Flatten": lambda b, x: b.op("Flatten", [x]),
    "Transpose": lambda b, x: b.op("Transpose", [x], perm=[0, 2, 3, 1]),
    "Squeeze": lambda b, x: b.op("Squeeze", [x, b.const(I(0))]),
    "Unsqueeze": lambda b, x: b.op("Unsqueeze", [x, b.const(I(0))]),
    "Slice": lambda b, x: b.op("Slice", [x, b.const(I(0)), b.const(I(4)), b.const(I(1))]),
    "Slice with steps 2": lambda b, x: b.op("Slice", [x, b.const(I(0, 0)), b.const(I(8, 8)), b.const(I(2, 3)), b.const(I(2, 2))]),
    "Gather": lambda b, x: b.op("Gather", [x, b.const(I(1, 3, 0))], axis=1),
    "DepthToSpace": lambda b, x: b.op("DepthToSpace", [x], blocksize=2),
    "Expand": lambda b, x: b.op("Expand", [x, b.const(I(2, 8, 8, 8))]),
    "Tile": lambda b, x: b.op("Tile", [x, b.const(I(1, 2, 1, 1))]),
    "Identity": lambda b, x: b.op("Identity", [x]),
    "Resize nearest": lambda b, x: b.op("Resize", [x, "", b.const(np.array([1, 1, 2, 2], np.float32))], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "Resize linear": lambda b, x: b.op("Resize", [x, "", b.const(np.array([1, 1, 2, 2], np.float32))], mode="linear"),
    "Pad 0, value left out": lambda b, x: b.op("Pad", [x, b.const(I(0, 1, 1, 1, 0, 1, 1, 1))]),
    "Pad 0, value float": lambda b, x: b.op("Pad", [x, b.const(I(0, 1, 1, 1, 0, 1, 1, 1)), b.const(np.float32(0))]),
    "Pad 0, value behind DQ with x's parameters": lambda b, x: b.op("Pad", [x, b.const(I(0, 1, 1, 1, 0, 1, 1, 1)), b.dq(b.const(np.array(128, np.uint8)), 0.02)]),
    "Pad 0, value Q, DQ": lambda b, x: b.op("Pad", [x, b.const(I(0, 1, 1, 1, 0, 1, 1, 1)), b.qdq(b.const(np.float32(0)), 0.02)]),
    "Pad reflect": lambda b, x: b.op("Pad", [x, b.const(I(0, 0, 1, 1, 0, 0, 1, 1))], mode="reflect"),
}
for kind, f in MOVES.items():
    case(f"{kind}: u8, same parameters", chain(lambda b, f=f: b.output(f(b, b.input(S)), 0.02)))
    if "DQ" not in kind:
        case(f"{kind}: s8, same parameters", chain(lambda b, f=f: b.output(f(b, b.input(S, kind="s8")), 0.02, None, "s8")))
    if kind in ("Reshape", "Transpose", "Slice", "Gather", "Resize nearest", "Resize linear", "Flatten"):
        case(f"{kind}: other output scale", chain(lambda b, f=f: b.output(f(b, b.input(S)), 0.03)))
for kind in ("Reshape", "Transpose", "Slice"):
    case(f"{kind}: u16 (opset 21), same parameters", chain(lambda b, f=MOVES[kind]: b.output(f(b, b.input(S, kind="u16")), 0.02, None, "u16"), 21))
case("Reshape: opset 23, same parameters", chain(lambda b: b.output(MOVES["Reshape"](b, b.input(S)), 0.02), 23))
case("Transpose between DQ and Conv, no Q/DQ between", chain(lambda b: b.output(b.op("Conv", [b.op("Transpose", [b.input([1, 8, 8, 8])], perm=[0, 3, 1, 2]), b.weight([8, 8, 3, 3], axis=0)]))))
case("Slice between DQ and Conv, no Q/DQ between", chain(lambda b: b.output(b.op("Conv", [MOVES["Slice"](b, b.input(S)), b.weight([8, 4, 3, 3], axis=0)]))))
case("MaxPool between DQ and Conv, no Q/DQ between", chain(lambda b: b.output(b.op("Conv", [b.op("MaxPool", [b.input(S)], kernel_shape=[2, 2]), b.weight([8, 8, 3, 3], axis=0)]))))
case("Pad 0 between DQ and Conv, no Q/DQ between", chain(lambda b: b.output(b.op("Conv", [MOVES["Pad 0, value float"](b, b.input(S)), b.weight([8, 10, 3, 3], axis=0)]))))


def concat(scales, kind="u8", out=0.02, zps=(None, None), constant=False):
    def fill(b):
        parts = [b.weight(S, kind, s) if constant and i == 1 else b.input(S, s, z, kind)
                 for i, (s, z) in enumerate(zip(scales, zps, strict=True))]
        b.output(b.op("Concat", parts, axis=1), out, None, kind)
    return chain(fill)


case("Concat: u8, all parameters equal", concat((0.02, 0.02)))
case("Concat: u8, output's other", concat((0.02, 0.02), out=0.03))
case("Concat: u8, all differ", concat((0.02, 0.05), out=0.05, zps=(128, 100)))
case("Concat: s8, all parameters equal", concat((0.02, 0.02), "s8"))
case("Concat: s8, all differ", concat((0.02, 0.05), "s8", 0.05))
case("Concat: one part constant", concat((0.02, 0.05), constant=True))


def concat_relu(b):
    parts = [b.qdq(b.op("Relu", [b.op("Conv", [b.input(S), b.weight([8, 8, 1, 1], axis=0)])]), s, 0) for s in (0.05, 0.03)]
    b.output(b.op("Concat", parts, axis=1), 0.05, 0)


case("Concat: of two Conv+Relu with their own scales", chain(concat_relu))
case("Concat, Q: one input not quantized", chain(lambda b: b.output(b.op("Concat", [b.input(S), b.input(S, quantize=False)], axis=1), 0.02)))


def split(scale, opset=13, kind="u8"):
    def fill(b):
        attrs = {"num_outputs": 2} if opset >= 18 else {}
        for part in b.op("Split", [b.input(S, kind=kind)], 2, axis=1, **attrs):
            b.output(part, scale, None, kind)
    return chain(fill, opset)


case("Split: u8, same parameters", split(0.02))
case("Split: s8, same parameters", split(0.02, kind="s8"))
case("Split: u8, other output scale", split(0.03))
case("Split: u8, same parameters (opset 18)", split(0.02, 18))
case("Split between DQ and Convs, no Q/DQ between", chain(lambda b: [b.output(b.op("Conv", [p, b.weight([8, 4, 1, 1], axis=0)])) for p in b.op("Split", [b.input(S)], 2, axis=1)]))


def channel_shuffle(b):
    x = b.op("Reshape", [b.input(S), b.const(I(1, 2, 4, 8, 8))])
    x = b.op("Transpose", [x], perm=[0, 2, 1, 3, 4])
    b.output(b.op("Conv", [b.op("Reshape", [x, b.const(I(1, 8, 8, 8))]), b.weight([8, 8, 1, 1], axis=0)]))


case("Reshape, Transpose, Reshape between DQ and Conv, no Q/DQ between", chain(channel_shuffle))


def embedding(per_row):
    def fill(b):
        ids = b.name("x")
        b.inputs.append(helper.make_tensor_value_info(ids, T.INT64, [4]))
        b.output(b.op("Gather", [b.weight([32, 16], "s8", axis=0 if per_row else None), ids]), quantize=False)
    return fill


case("Gather of an s8 table behind DQ, per tensor", chain(embedding(False)))
case("Gather of an s8 table behind DQ, a scale per row", chain(embedding(True)))


def attention(b):
    q, k, v = (b.input([1, 2, 8, 16]) for _ in range(3))
    s = b.qdq(b.op("MatMul", [q, b.qdq(b.op("Transpose", [k], perm=[0, 1, 3, 2]), 0.02)]), 0.05)
    p = b.qdq(b.op("Softmax", [s], axis=-1), 1 / 256, 0)
    b.output(b.op("MatMul", [p, v]), 0.02)


case("Attention: MatMul, Softmax, MatMul, all u8", chain(attention))


def squeeze_excite(b):
    x = b.input(S)
    g = b.qdq(b.op("GlobalAveragePool", [x]), 0.02)
    g = b.qdq(b.op("Relu", [b.op("Conv", [g, b.weight([4, 8, 1, 1], axis=0)])]), 0.02, 0)
    g = b.qdq(b.op("Conv", [g, b.weight([8, 4, 1, 1], axis=0)]), 0.05)
    g = b.qdq(b.op("Sigmoid", [g]), 1 / 256, 0)
    b.output(b.op("Mul", [x, g]))


case("Squeeze-and-excite: all u8", chain(squeeze_excite))

# ---- integers handled by hand: the operator stands between Q and DQ -------------------------------------------------


def by_hand(fill, t="u8", opset=13, scale=0.02):
    """x -> Q -> (operators on integers) -> DQ -> Conv -> Q -> DQ."""
    def build(b):
        x = b.name("x")
        b.inputs.append(helper.make_tensor_value_info(x, T.FLOAT, S))
        y = b.dq(fill(b, b.q(x, scale, None, t)), scale, None, t)
        b.output(b.op("Conv", [y, b.weight([8, 8, 3, 3], axis=0)]), 0.05, None, t)
    return chain(build, opset)


PADS = I(0, 0, 1, 1, 0, 0, 1, 1)
case("Integers: Pad of u8 with the zero point", by_hand(lambda b, x: b.op("Pad", [x, b.const(PADS), b.const(np.array(128, np.uint8))])))
case("Integers: Pad of s8 with the zero point", by_hand(lambda b, x: b.op("Pad", [x, b.const(PADS), b.const(np.array(0, np.int8))]), "s8"))
case("Integers: Clip of u8", by_hand(lambda b, x: b.op("Clip", [x, b.const(np.array(128, np.uint8)), b.const(np.array(255, np.uint8))])))
case("Integers: Clip of s8", by_hand(lambda b, x: b.op("Clip", [x, b.const(np.array(0, np.int8)), b.const(np.array(127, np.int8))]), "s8"))
case("Integers: Max of u8 with the zero point", by_hand(lambda b, x: b.op("Max", [x, b.const(np.array(128, np.uint8))])))
case("Integers: Relu of s8 (opset 14)", by_hand(lambda b, x: b.op("Relu", [x]), "s8", 14))
case("Integers: MaxPool of u8", by_hand(lambda b, x: b.op("MaxPool", [x], kernel_shape=[2, 2])))
case("Integers: Resize linear of u8", by_hand(lambda b, x: MOVES["Resize linear"](b, x)))
case("Integers: Resize linear of s8", by_hand(lambda b, x: MOVES["Resize linear"](b, x), "s8"))


def table(kind, opset=13, block=None):
    def fill(b):
        ids = b.name("x")
        b.inputs.append(helper.make_tensor_value_info(ids, T.INT64, [4]))
        if block:
            values = b.random.integers(-8, 8, [32, 32])
            data = b.const(values, "s4", [32, 32]) if kind == "s4" else b.const(values.astype(np.int8))
            rows = b.op("DequantizeLinear", [data, b.const(np.full([32, 32 // block], 0.05, np.float32))], axis=1, block_size=block)
            b.output(b.op("Gather", [rows, ids]), quantize=False)
        else:
            values = b.const(b.random.integers(-127, 128, [32, 16]).astype(np.int8))
            b.output(b.dq(b.op("Gather", [values, ids]), 0.02, None, "s8"), quantize=False)
    return chain(fill, opset)


case("Integers: Gather of an s8 table, then DQ", table("s8"))
case("Gather of an s4 table behind a block DQ (opset 21)", table("s4", 21, 16))
case("Gather of an s8 table behind a block DQ (opset 21)", table("s8", 21, 16))


def shape_one(kind):
    def fill(b):
        x = b.input(S)
        out = {"Conv": lambda: b.op("Conv", [x, b.weight([8, 8, 3, 3], axis=0)]),
               "Add": lambda: b.op("Add", [x, b.input(S)]),
               "AveragePool": lambda: b.op("AveragePool", [x], kernel_shape=[2, 2]),
               "GlobalAveragePool": lambda: b.op("GlobalAveragePool", [x]),
               "Sigmoid": lambda: b.op("Sigmoid", [x]),
               "MaxPool": lambda: b.op("MaxPool", [x], kernel_shape=[2, 2])}[kind]()
        b.output(out, 0.02)
    return chain(fill, scale_shape=(1,))


for kind in ("Conv", "Add", "AveragePool", "GlobalAveragePool", "Sigmoid", "MaxPool"):
    case(f"{kind}: scales and zero points of shape [1] instead of scalars", shape_one(kind))

# ---- speed: a chain of four of the operator between integer edges, against the same in float ---------------------------

SPEED = {}


def speed(name, step, shape=(1, 64, 32, 32), kind="u8", repeat=4, int8=False, opset=14):
    def make(plain):
        b = Build(opset)
        b.plain = plain
        x = b.input(list(shape), 0.05, None, kind, "edge")
        for i in range(repeat):
            out = step(b, x)
            scale, zp = (1 / 256, LIMITS[kind][0]) if name.startswith(("Sigmoid", "Softmax")) else (0.05, None)
            x = b.output(out, scale, zp, kind, "edge") if i == repeat - 1 else b.qdq(out, scale, zp, kind)
        return b
    SPEED[name] = (make, int8)


def conv_step(k=3, w="s8", axis=0, group=1, c=64):
    return lambda b, x: b.op("Conv", [x, b.weight([c, c // group, k, k], w, axis=axis)], pads=[k // 2] * 4, group=group)


for kinds, int8 in ((("u8", "s8"), False), (("u8", "u8"), False), (("s8", "s8"), True), (("s8", "u8"), True)):
    for axis in (0, None):
        label = f"{kinds[0]} x {kinds[1]}, {'per tensor' if axis is None else 'per channel'}{' (int8 allowed)' if int8 else ''}"
        speed(f"Conv 3x3: {label}", conv_step(3, kinds[1], axis), kind=kinds[0], int8=int8)
speed("Conv 3x3: u8 x s8, per channel, zero points 3", lambda b, x: b.op("Conv", [x, b.weight([64, 64, 3, 3], axis=0, zp=3)], pads=[1] * 4))
speed("Conv 1x1: u8 x s8, per channel", conv_step(1))
speed("Conv 1x1: s8 x s8, per channel (int8 allowed)", conv_step(1), kind="s8", int8=True)
speed("Conv depthwise 3x3: u8 x s8, per channel", conv_step(3, group=64), repeat=16)
speed("Conv depthwise 3x3: u8 x s8, per tensor", conv_step(3, axis=None, group=64), repeat=16)
speed("Conv depthwise 3x3: u8 x u8, per tensor", conv_step(3, "u8", None, group=64), repeat=16)
speed("Conv depthwise 3x3: s8 x s8, per channel (int8 allowed)", conv_step(3, group=64), kind="s8", int8=True, repeat=16)
speed("Conv grouped by 16, 3x3: u8 x s8, per channel", conv_step(3, group=4))
speed("Conv 3x3, 8 channels: u8 x s8, per channel", conv_step(3, c=8), (1, 8, 32, 32))
for rows in (1, 64):
    speed(f"Gemm 512x512, {rows} rows: u8 x s8, per channel", lambda b, x: b.op("Gemm", [x, b.weight([512, 512], axis=0)], transB=1), (rows, 512))
    speed(f"MatMul 512x512, {rows} rows: u8 x s8, per channel", lambda b, x: b.op("MatMul", [x, b.weight([512, 512], axis=1)]), (rows, 512))
    speed(f"MatMul 512x512, {rows} rows: s8 x s8, per channel (int8 allowed)", lambda b, x: b.op("MatMul", [x, b.weight([512, 512], axis=1)]), (rows, 512), "s8", int8=True)
speed("MatMul of two activations 64x64, 8 heads: u8", lambda b, x: b.op("MatMul", [x, x]), (1, 8, 64, 64))
speed("Add: u8", lambda b, x: b.op("Add", [x, b.input([1, 64, 32, 32], quantize="edge")]))
speed("Add: u8 constant [64,1,1]", lambda b, x: b.op("Add", [x, b.weight([64, 1, 1], "u8")]))
speed("Mul: u8", lambda b, x: b.op("Mul", [x, b.input([1, 64, 32, 32], quantize="edge")]))
speed("Mul: u8 by [1,64,1,1]", lambda b, x: b.op("Mul", [x, b.input([1, 64, 1, 1], quantize="edge")]))
speed("Sigmoid: u8", lambda b, x: b.op("Sigmoid", [x]))
speed("LeakyRelu: u8", lambda b, x: b.op("LeakyRelu", [x], alpha=0.1))
speed("Softmax, 64 long: u8", lambda b, x: b.op("Softmax", [x], axis=-1), (1, 8, 64, 64))
speed("HardSwish between DQ and Q: u8", lambda b, x: b.op("HardSwish", [x]))
speed("Relu between DQ and Q: u8", lambda b, x: b.op("Relu", [x]))
speed("GlobalAveragePool: u8", lambda b, x: b.op("GlobalAveragePool", [x]), repeat=1)
speed("AveragePool 3x3: u8", lambda b, x: b.op("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4))
speed("MaxPool 3x3: u8", lambda b, x: b.op("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4))
for pool, name in (("MaxPool", "MaxPool 3x3"), ("AveragePool", "AveragePool 3x3")):
    speed(f"Conv 1x1, {name}: u8", lambda b, x, pool=pool: b.op(pool, [b.qdq(conv_step(1)(b, x))], kernel_shape=[3, 3], pads=[1] * 4))
speed("Conv 1x1, MaxPool 3x3 in float (scales differ): u8", lambda b, x: b.op("MaxPool", [b.qdq(conv_step(1)(b, x), 0.04)], kernel_shape=[3, 3], pads=[1] * 4))
speed("Conv 1x1, GlobalAveragePool: u8", lambda b, x: b.op("GlobalAveragePool", [b.qdq(conv_step(1)(b, x))]), repeat=1)
speed("Conv 1x1, Transpose of channels, Conv 1x1 (shuffle): u8", lambda b, x: b.op("Reshape", [b.op("Transpose", [b.op("Reshape", [b.qdq(conv_step(1)(b, x)), b.const(I(1, 2, 32, 32, 32))])], perm=[0, 2, 1, 3, 4]), b.const(I(1, 64, 32, 32))]))
speed("Concat of two: u8", lambda b, x: b.op("Concat", [x, b.input([1, 64, 32, 32], quantize="edge")], axis=1), repeat=1)
speed("Transpose: u8", lambda b, x: b.op("Transpose", [x], perm=[0, 2, 3, 1]), repeat=1)
speed("Resize nearest, doubled: u8", lambda b, x: MOVES["Resize nearest"](b, x), repeat=1)
speed("Pad between DQ and Q: u8", lambda b, x: b.op("Pad", [x, b.const(I(0, 0, 1, 1, 0, 0, 1, 1))]))


def pad_integers(b, x):
    pads = b.const(I(0, 0, 1, 1, 0, 0, 1, 1))
    if b.plain:
        return b.op("Pad", [x, pads])
    return b.dq(b.op("Pad", [b.q(x), pads, b.const(np.array(128, np.uint8))]))


speed("Pad of u8 itself with the zero point, between Q and DQ", pad_integers)
average = lambda b, x: b.op("AveragePool", [x], kernel_shape=[3, 3])
speed("AveragePool 3x3 without pads: u8", average)


def average_as_conv(b, x):
    if b.plain:
        return average(b, x)
    ones = b.dq(b.const(np.ones([64, 1, 3, 3], np.int8)), 1 / 9, 0, "s8")
    return b.op("Conv", [x, ones], group=64)


speed("AveragePool 3x3 without pads as a depthwise Conv of ones: u8", average_as_conv)


def run_speed(name: str, runs=60) -> dict:
    make, int8 = SPEED[name]
    sessions, kernels = [], []
    for plain in (True, False):
        model = make(plain).model().SerializeToString()
        opened, graph = optimized(model, int8=int8)
        random = np.random.default_rng(2)
        feeds = {}
        for value in make(plain).inputs:
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feeds[value.name] = random.standard_normal(shape).astype(dtype) if plain else random.integers(0, 127, shape).astype(dtype)
        sessions.append((opened, feeds))
        kernels.append(dict(Counter(short(n) for n in graph.graph.node)))
    times = [[], []]
    for i in range(-5, runs):
        for (opened, feeds), seen in zip(sessions, times, strict=True):
            start = time.perf_counter()
            opened.run(None, feeds)
            if i >= 0:
                seen.append(time.perf_counter() - start)
    a, b = (statistics.median(t) * 1000 for t in times)
    return {"floatMs": round(a, 3), "int8Ms": round(b, 3), "ratio": round(b / a, 2), "kernels": kernels[1]}


# ---- running -----------------------------------------------------------------------------------------------------


INT8 = "session.qdqisint8allowed"  # off by default everywhere but on ARM: there s8 pairs are turned into u8 ones, if they can be


def session(model: bytes, level, write=None, int8=False):
    options = ort.SessionOptions()
    if int8:
        options.add_session_config_entry(INT8, "1")
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if write:
        options.optimized_model_filepath = write
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def short(node) -> str:
    domain = {"com.microsoft": "ms.", "com.microsoft.nchwc": "nchwc."}.get(node.domain, "")
    return domain + node.op_type


def optimized(model: bytes, level=ORT.ORT_ENABLE_ALL, int8=False):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "optimized.onnx")
        opened = session(model, level, path, int8)
        return opened, onnx.load(path)


def run(build: Build) -> dict:
    model = build.model().SerializeToString()
    try:
        fast, graph = optimized(model)
    except Exception as error:
        return {"result": "refused", "error": str(error).split(" : ")[-1].splitlines()[0][:240]}
    names = [short(n) for n in graph.graph.node]
    q, dq = (names.count(n) + names.count("ms." + n) for n in ("QuantizeLinear", "DequantizeLinear"))
    plain = [n for n in names if n.removeprefix("ms.") not in ("QuantizeLinear", "DequantizeLinear")]
    ends = Counter(o.name for o in graph.graph.output)
    loose = sum(1 for n in graph.graph.node if n.op_type == "DequantizeLinear" and not any(o in ends for o in n.output))
    quantized = any(n.removeprefix("ms.").startswith(("QLinear", "QGemm", "MatMulInteger", "MatMulNBits")) for n in plain)
    result = "integer" if loose == 0 else "partly" if quantized else "float"
    feeds = {}
    random = np.random.default_rng(1)
    for value in build.inputs:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == T.INT64:
            feeds[value.name] = random.integers(0, 8, shape)
        else:
            feeds[value.name] = random.uniform(-2.6, 2.6, shape).astype(np.float32)
    row = {"result": result, "kernels": plain, "Q": q, "DQ": dq}
    try:
        exact = session(model, ORT.ORT_DISABLE_ALL).run(None, feeds)
        steps = max(float(np.abs(a - b).max()) for a, b in zip(exact, fast.run(None, feeds), strict=True)) / build.step
        row["steps"] = round(steps, 2)
    except Exception as error:
        row["steps"] = None
        row["error"] = str(error).split(" : ")[-1].splitlines()[0][:240]
    extended = [short(n) for n in optimized(model, ORT.ORT_ENABLE_EXTENDED)[1].graph.node]
    if sorted(extended) != sorted(names):
        row["extended"] = extended
    arm = [short(n) for n in optimized(model, int8=True)[1].graph.node]
    if sorted(arm) != sorted(names):
        row["int8allowed"] = arm
    return row


def count_nodes(path: str) -> dict:
    model = Path(path).read_bytes()
    levels = {"as written": onnx.load_from_string(model)}
    for name, level in (("EXTENDED", ORT.ORT_ENABLE_EXTENDED), ("ALL", ORT.ORT_ENABLE_ALL)):
        levels[name] = optimized(model, level)[1]
    return {name: dict(sorted(Counter(short(n) for n in m.graph.node).items())) for name, m in levels.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--filter", default="")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--model", action="append", default=[])
    args = parser.parse_args()
    rows = {}
    for name, make in CASES.items():
        if args.filter in name:
            try:
                rows[name] = run(make())
            except Exception as error:
                rows[name] = {"result": "refused", "error": f"building the case: {error}".splitlines()[0][:240]}
            print(json.dumps({name: rows[name]}), flush=True)
    speeds = {}
    for name in SPEED:
        if args.filter in name and not args.no_speed:
            speeds[name] = run_speed(name)
            print(json.dumps({name: speeds[name]}), flush=True)
    models = {Path(p).name: count_nodes(p) for p in args.model}
    if models:
        print(json.dumps(models, indent=1))
    if args.output:
        head = {"versions": {t: version(t) for t in ("onnxruntime", "onnx")},
                "fields": "result: integer | partly | float | refused, see qdq_fusion.py; kernels: what runs, Q/DQ apart (ms. is com.microsoft); "
                "Q, DQ: how many are left, the edges included; steps: largest difference to the unoptimized graph in output steps; "
                "extended: nodes at ORT_ENABLE_EXTENDED where they differ from ORT_ENABLE_ALL; "
                "int8allowed: nodes with session.qdqisint8allowed=1 (the default on ARM) where they differ; "
                "speed: one thread, batch 1, milliseconds of a chain of 4 (16 depthwise, 1 where the shape changes), float against int8",
                "cpu": platform.machine()}
        text = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
        body = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
        timed = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in speeds.items())
        ends = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in models.items())
        args.output.write_text("{\n" + text + '  "cases": {\n' + body + "\n  },\n" + '  "speed": {\n' + timed + "\n  },\n" + '  "models": {\n' + ends + "\n  }\n}\n")


if __name__ == "__main__":
    main()
