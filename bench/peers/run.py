"""Runs quantize_ort.py in all its settings over the models below, evaluates each, and writes results/quantize_ort.json.

    python run.py --real FOLDER --tensors FOLDER [--models FILTER] [--keep FOLDER] [--latency]

--real (or MINNOW_REAL): the folder of real models. --tensors: what prepare.py wrote. --keep: where quantized files stay.
--latency: only times the files that a run with --keep left, again, and puts that in the results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "quantize_ort.json"
MODELS = {
    "cifar10/resnet20_cifar10.onnx": "cifar10-normalized",
    "cifar10/resnet56_cifar10.onnx": "cifar10-normalized",
    "cifar10/mlperf_pretrainedResnet.onnx": "cifar10-raw",
    "imagenet/mobilenet_v1_0.25_224_fp32.onnx": "imagenet224",
}
# The first three are the peer; the others show that nothing better was left out.
SETTINGS = {
    "minmax": ["--method", "minmax"],
    "entropy": ["--method", "entropy"],
    "percentile 99.99": ["--method", "percentile", "--percentile", "99.99"],
    "percentile 99.999": ["--method", "percentile", "--percentile", "99.999"],
    "percentile 99.99, asymmetric": ["--method", "percentile", "--percentile", "99.99", "--option", "CalibTensorRangeSymmetric=false"],
    "percentile 99.99, stride 20": ["--method", "percentile", "--percentile", "99.99", "--stride", "20"],
    "entropy, 2048 bins": ["--method", "entropy", "--bins", "2048"],
    "minmax, moving average": ["--method", "minmax", "--option", "CalibMovingAverage=true"],
    "minmax, batch 50": ["--method", "minmax", "--batch", "50"],
    "minmax, reduce_range": ["--method", "minmax", "--reduce-range"],
    "minmax, per tensor": ["--method", "minmax", "--no-per-channel"],
    "minmax, int8 activations": ["--method", "minmax", "--activation", "int8"],
    "minmax, int8 symmetric activations": ["--method", "minmax", "--activation", "int8", "--option", "ActivationSymmetric=true"],
}


def python(script: str, *args) -> dict:
    command = [sys.executable, str(HERE / script), *map(str, args)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if run.returncode != 0:
        return {"error": [line for line in run.stderr.splitlines() if line.strip()][-1][:300]}
    return json.loads(run.stdout.strip().splitlines()[-1])


def folded_bytes(model: Path) -> int:
    import onnx
    import onnxsim

    return onnxsim.simplify(onnx.load(str(model)))[0].ByteSize()


def measure(model: Path, tensors: Path, data: str, keep: Path) -> dict:
    test = tensors / f"{data}-test.npz"
    row = {"float": {**python("evaluate.py", "--model", model, "--data", test), "foldedBytes": folded_bytes(model)}, "int8": {}}
    for name, flags in SETTINGS.items():
        output = output_of(model, name, keep)
        made = python("quantize_ort.py", "--model", model, "--calibration", tensors / f"{data}-calibration.npz", "--output", output, *flags)
        if "error" not in made:
            made.pop("onnxruntime")
            made = {**python("evaluate.py", "--model", output, "--against", model, "--data", test), **made}
        row["int8"][name] = made
        print(model.name, name, json.dumps(made), flush=True)
    return row


def time_again(row: dict, model: Path, tensors: Path, data: str, keep: Path) -> None:
    from evaluate import Data, latency, open_session

    x = Data(str(tensors / f"{data}-test.npz")).batch(0, 1)
    for name, result in row["int8"].items():
        sessions = [open_session(str(path)) for path in (output_of(model, name, keep), model)]
        mine, floats = latency(sessions, x, 500)
        result.update(latencyMs=round(mine, 3), latencyRatio=round(mine / floats, 3))
        print(model.name, name, result["latencyMs"], result["latencyRatio"], flush=True)


def output_of(model: Path, setting: str, keep: Path) -> Path:
    return keep / f"{model.stem}.{setting.replace(' ', '_').replace(',', '')}.onnx"


def write(rows: dict) -> None:
    head = {
        "versions": {t: version(t) for t in ("onnxruntime", "onnx", "onnxsim", "numpy")},
        "fields": "agreement: share of images with float's top-1; latencyRatio: median at batch 1, one thread, over float's, "
        "timed in turn; foldedBytes: the float file after onnxsim; preparedBytes: after quant_pre_process; peakBytes: largest "
        "resident set of the quantizing process, calibrationBytes of it the input tensors; seconds: quant_pre_process + quantize_static",
    }
    lines = ["{"] + [f"  {json.dumps(k)}: {json.dumps(v)}," for k, v in head.items()] + ['  "models": {']
    for i, (name, row) in enumerate(sorted(rows.items())):
        lines += [f"    {json.dumps(name)}: {{", f'      "float": {json.dumps(row["float"])},', '      "int8": {']
        lines += [",\n".join(f"        {json.dumps(k)}: {json.dumps(v)}" for k, v in row["int8"].items()), "      }"]
        lines += ["    }" + ("," if i < len(rows) - 1 else "")]
    RESULTS.write_text("\n".join([*lines, "  }", "}"]) + "\n")


def main() -> None:
    real = os.environ.get("MINNOW_REAL")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, default=real, required=not real)
    parser.add_argument("--tensors", type=Path, required=True)
    parser.add_argument("--models", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--latency", action="store_true")
    args = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["models"] if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        for name, data in MODELS.items():
            if args.models in name:
                model = Path(args.real, "models", name)
                if args.latency:
                    time_again(rows[name], model, args.tensors, data, keep)
                else:
                    rows[name] = measure(model, args.tensors, data, keep)
                write(rows)


if __name__ == "__main__":
    main()
