"""Weight-only quantization by ONNX Runtime's MatMulNBitsQuantizer. Prints one JSON object.

    python quantize_nbits_ort.py --model M.onnx --calibration X.npz --output Q.onnx --method rtn|kquant|hqq|gptq
                                 [--bits 4] [--block 32] [--asymmetric] [--mse] [--actorder]

The .npz holds x, as the model takes it; GPTQ alone reads it. HQQ needs torch. Products are computed in float (no
accuracy level), so that the figures are those of the weights.
"""

import argparse
import json
import time

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization import matmul_nbits_quantizer as nbits


class Reader(CalibrationDataReader):
    def __init__(self, name: str, x: np.ndarray):
        self.feeds = iter([{name: x[i : i + 1]} for i in range(len(x))])

    def get_next(self):
        return next(self.feeds, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--method", choices=["rtn", "kquant", "hqq", "gptq"], required=True)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--asymmetric", action="store_true")
    parser.add_argument("--mse", action="store_true")
    parser.add_argument("--actorder", action="store_true")
    args = parser.parse_args()
    model = onnx.load(args.model)
    start = time.perf_counter()
    common = {"block_size": args.block, "is_symmetric": not args.asymmetric, "bits": args.bits}
    if args.method == "rtn":
        quantizer = nbits.MatMulNBitsQuantizer(model, **common)
    elif args.method == "kquant":
        quantizer = nbits.MatMulNBitsQuantizer(model, **common, algo_config=nbits.KQuantWeightOnlyQuantConfig())
    elif args.method == "hqq":
        config = nbits.HQQWeightOnlyQuantConfig(block_size=args.block, bits=args.bits)
        quantizer = nbits.MatMulNBitsQuantizer(model, **common, algo_config=config)
    else:
        reader = Reader(model.graph.input[0].name, np.load(args.calibration)["x"])
        config = nbits.GPTQWeightOnlyQuantConfig(reader, block_size=args.block, actorder=args.actorder, mse=args.mse)
        quantizer = nbits.MatMulNBitsQuantizer(model, **common, algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(args.output)
    print(json.dumps({"seconds": round(time.perf_counter() - start, 2)}))


if __name__ == "__main__":
    main()
