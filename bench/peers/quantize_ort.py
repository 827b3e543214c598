"""Static int8 quantization with onnxruntime.quantization at its documented settings. Prints one JSON object.

    python quantize_ort.py --model M.onnx --calibration X.npz --method minmax|entropy|percentile --output Q.onnx
                           [--percentile 99.99] [--batch 1] [--stride N] [--no-per-channel] [--reduce-range]
                           [--activation uint8|int8] [--bins N] [--option KEY=JSON]...

--calibration: an .npz with x (float32 NCHW, preprocessed), or a folder of .npy files of such batches.
--batch: images per get_next() of the calibration reader. --stride: batches held at once (option CalibStridedMinMax):
the histogram methods keep every activation of a stride in memory; without it, of the whole set.
--bins: bins of the histogram. quantize_static has no option for it and takes 128 for entropy, which leaves its search
nothing to choose from (128 bins, 128 levels): the result is minmax. With --bins we calibrate through create_calibrator
and hand the ranges over as a calibration cache.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}
TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}


class Reader(CalibrationDataReader):
    def __init__(self, name: str, x: np.ndarray, batch: int):
        self.name, self.x, self.batch = name, x, batch
        self.set_range(0, len(self))

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch)

    def set_range(self, start_index: int, end_index: int) -> None:
        self.at, self.end = start_index, end_index

    def get_next(self):
        if self.at >= self.end:
            return None
        self.at += 1
        return {self.name: self.x[(self.at - 1) * self.batch : self.at * self.batch]}


def read(path: str) -> np.ndarray:
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".npy"))
        return np.concatenate([np.load(os.path.join(path, n)) for n in names])
    return np.load(path)["x"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--method", choices=list(METHODS), default="minmax")
    parser.add_argument("--output", required=True)
    parser.add_argument("--percentile", type=float, default=99.99)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--no-per-channel", dest="per_channel", action="store_false")
    parser.add_argument("--reduce-range", action="store_true")
    parser.add_argument("--activation", choices=list(TYPES), default="uint8")
    parser.add_argument("--bins", type=int)
    parser.add_argument("--option", action="append", default=[], help="an extra option of quantize_static, KEY=JSON")
    args = parser.parse_args()

    extra = {key: json.loads(value) for key, value in (option.split("=", 1) for option in args.option)}
    if args.method == "percentile":
        extra["CalibPercentile"] = args.percentile
    x = read(args.calibration)
    if args.stride:
        extra["CalibStridedMinMax"] = args.stride

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = os.path.join(folder, "prepared.onnx")
        quant_pre_process(args.model, prepared)
        session = onnxruntime.InferenceSession(prepared, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        del session
        cache = None
        if args.bins:
            cache = os.path.join(folder, "ranges.json")
            calibrator = create_calibrator(
                prepared,
                list({*QLinearOpsRegistry, *QDQRegistry}),
                augmented_model_path=os.path.join(folder, "augmented.onnx"),
                calibrate_method=METHODS[args.method],
                extra_options={"num_bins": args.bins, **({"percentile": args.percentile} if args.method == "percentile" else {})},
            )
            calibrator.collect_data(Reader(name, x, args.batch))
            save_tensors_data(calibrator.compute_data(), cache)
        quantize_static(
            prepared,
            args.output,
            Reader(name, x, args.batch),
            quant_format=QuantFormat.QDQ,
            per_channel=args.per_channel,
            reduce_range=args.reduce_range,
            activation_type=TYPES[args.activation],
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[args.method],
            extra_options=extra,
            calibration_cache_path=cache,
        )
        prepared_bytes = os.path.getsize(prepared)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({
        "seconds": round(seconds, 2),
        "peakBytes": peak,
        "calibrationBytes": x.nbytes,
        "bytes": os.path.getsize(args.output),
        "preparedBytes": prepared_bytes,
        "method": args.method,
        "options": {"format": "QDQ", "per_channel": args.per_channel, "reduce_range": args.reduce_range,
                    "activation": args.activation, "weight": "int8", "batch": args.batch, **({"bins": args.bins} if args.bins else {}), **extra},
        "onnxruntime": onnxruntime.__version__,
    }))


if __name__ == "__main__":
    main()
