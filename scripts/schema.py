"""Writes test/laws/schema.json: what ONNX's own schemas say of each operator's attributes, inputs and outputs.

Needs the Python packages onnx and onnxruntime (for com.microsoft). Run from the project root:
python scripts/schema.py
"""

import json

import onnx
from onnx import defs, helper
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

OPSET = 26
# Operators of com.microsoft that Minnow reads or writes.
MICROSOFT = [
    "Attention", "BiasGelu", "BiasSplitGelu", "ConvTransposeWithDynamicPads", "DequantizeLinear", "DynamicQuantizeMatMul",
    "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "GatherBlockQuantized", "Gelu", "GroupQueryAttention",
    "LayerNormalization", "MatMulBnb4", "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "NhwcMaxPool",
    "QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool",
    "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
    "QuantizeLinear", "QuickGelu", "RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    "SimplifiedLayerNormalization", "EmbedLayerNormalization", "GridSample", "Inverse", "Trilu", "Unique", "QMoE",
]


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def default_of(proto):
    return plain(helper.get_attribute_value(proto)) if proto.type else None


def inputs_of(schema):
    """Names; `?` after an optional one, `*` after a variadic one."""
    marks = {0: "", 1: "?", 2: "*"}
    return [i.name + marks[int(getattr(i.option, "value", i.option))] for i in schema.inputs]


def entry(schema, attributes):
    return {
        "since": schema.since_version,
        "attributes": dict(sorted(attributes.items())),
        "inputs": inputs_of(schema),
        "outputs": [schema.min_output, schema.max_output],
    }


def main():
    newest = {}
    for schema in defs.get_all_schemas_with_history():
        known = newest.get(schema.name)
        if schema.domain == "" and not schema.deprecated and schema.since_version <= OPSET:
            if known is None or known.since_version < schema.since_version:
                newest[schema.name] = schema
    table = {
        name: entry(schema, {k: default_of(a.default_value) for k, a in schema.attributes.items()})
        for name, schema in newest.items()
    }
    for schema in get_all_operator_schema():
        if schema.domain == "com.microsoft" and schema.name in MICROSOFT:
            attributes = {}
            for key, attribute in schema.attributes.items():
                raw = attribute._default_value
                attributes[key] = default_of(onnx.AttributeProto.FromString(raw)) if raw else None
            table[f"com.microsoft:{schema.name}"] = entry(schema, attributes)
    with open("test/laws/schema.json", "w") as file:
        lines = [f"{json.dumps(name)}: {json.dumps(table[name], sort_keys=True)}" for name in sorted(table)]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


main()
