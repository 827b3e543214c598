"""Node counts that onnxsim and OnnxSlim reach, one JSON line per model.

    python simplify.py MODEL...              models: .onnx or .onnx.gz
    python simplify.py --root FOLDER [--output results/simplify.json] [MODEL...]

With --root, models are named relative to that folder, and without any MODEL every model below it is taken.
Both tools run with their default settings, each in a process of its own, so that a crash of one is only a line.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

TOOLS = ("onnxsim", "onnxslim")
FILL_OVER = 4096  # models/arch/*.onnx.gz have their weights over this many elements zeroed


def load(path: Path) -> onnx.ModelProto:
    if path.suffix == ".gz":
        return fill(onnx.load_from_string(gzip.decompress(path.read_bytes())))
    return onnx.load(str(path))


def fill(model: onnx.ModelProto) -> onnx.ModelProto:
    """Seeded random weights where the file has zeros. BatchNorm's vectors are short, so they stay as they are."""
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or int(np.prod(tensor.dims)) <= FILL_OVER:
            continue
        if np.any(numpy_helper.to_array(tensor)):
            continue
        values = (random.standard_normal(tuple(tensor.dims)) * 0.05).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def all_nodes(graph: onnx.GraphProto):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                yield from all_nodes(inner)


def count(model: onnx.ModelProto) -> dict:
    """Nodes, those of subgraphs included. A Constant node computes nothing, so it is counted apart."""
    ops = Counter((f"{n.domain}." if n.domain not in ("", "ai.onnx") else "") + n.op_type for n in all_nodes(model.graph))
    constants = ops.pop("Constant", 0)
    return {"nodes": sum(ops.values()), "constants": constants, "ops": dict(sorted(ops.items()))}


def run_tool(tool: str, source: str, target: str) -> float:
    model = onnx.load(source)
    if tool == "onnxsim":
        import onnxsim

        start = time.perf_counter()
        simple, ok = onnxsim.simplify(model)
        seconds = time.perf_counter() - start
        if not ok:
            raise RuntimeError("onnxsim's own check failed")
    else:
        import onnxslim

        start = time.perf_counter()
        simple = onnxslim.slim(model)
        seconds = time.perf_counter() - start
    onnx.save(simple, target)
    return seconds


def outputs(path: str) -> list:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    feeds = {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 for d in value.shape]
        if "int" in value.type:
            feeds[value.name] = random.integers(0, 64, shape).astype(value.type[7:-1])
        else:
            feeds[value.name] = random.standard_normal(shape).astype(np.float32)
    return session.run(None, feeds)


def difference(a: list, b: list) -> float:
    """Largest difference of any output, relative to the largest magnitude in that output."""
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if x.shape != y.shape:
            return float("inf")
        worst = max(worst, float(np.abs(x - y).max() / (np.abs(x).max() + 1e-12)))
    return worst


def measure(path: Path, name: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "model.onnx")
        model = load(path)
        onnx.save(model, source)
        before = count(model)
        row = {"model": name, "nodes_before": before["nodes"], "constants_before": before["constants"], "ops_before": before["ops"]}
        expected = outputs(source)
        for tool in TOOLS:
            target = os.path.join(folder, f"{tool}.onnx")
            run = subprocess.run(
                [sys.executable, __file__, "--tool", tool, source, target],
                capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            if run.returncode != 0:
                lines = [line for line in run.stderr.replace(folder, "").splitlines() if line.strip()]
                row[tool] = {"error": lines[-1] if lines else f"exit code {run.returncode}"}
                continue
            result = count(onnx.load(target))
            result["seconds"] = round(float(run.stdout.strip().splitlines()[-1]), 2)
            try:
                result["difference"] = float(f"{difference(expected, outputs(target)):.2g}")
            except Exception as error:  # a model that no longer loads is a finding, not our crash
                result["difference"] = None
                result["broken"] = str(error).replace(folder, "").splitlines()[0][:300]
            row[tool] = result
        row["best"] = min((row[t]["nodes"] for t in TOOLS if row[t].get("difference", 1) is not None and row[t].get("difference", 1) < 1e-3), default=before["nodes"])
        return row


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--tool":
        print(run_tool(*sys.argv[2:5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--root", type=Path, help="folder that model names are relative to")
    parser.add_argument("--output", type=Path, help="also write everything to this JSON file")
    args = parser.parse_args()
    models = args.models
    if not models and args.root:
        models = [p for p in args.root.rglob("*") if p.name.endswith((".onnx", ".onnx.gz"))]
    rows = []
    for path, name in sorted(((p, p.relative_to(args.root).as_posix() if args.root else p.name) for p in models), key=lambda x: x[1]):
        rows.append(measure(path, name))
        print(json.dumps(rows[-1]), flush=True)
    if args.output:
        tools = {t: version(t) for t in (*TOOLS, "onnx", "onnxruntime")}
        head = {"versions": {"python": platform.python_version(), **tools}, "settings": "defaults of both tools",
                "fields": "nodes: all nodes but Constant, subgraphs included; constants: Constant nodes; difference: largest output difference over the output's largest magnitude; best: fewest nodes among tools whose difference is below 1e-3"}
        body = ",\n".join("    " + json.dumps(row) for row in rows)
        args.output.write_text(
            "{\n" + "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
            + '  "models": [\n' + body + "\n  ]\n}\n")


if __name__ == "__main__":
    main()
