"""Post-training quantization by NNCF on its ONNX backend. Prints one JSON object.

    python quantize_nncf.py --model M.onnx --calibration X.npz --output Q.onnx --options JSON

JSON: {"preset": "mixed"|"performance", "accurate": true (full bias correction), "overflow": "disable"|"enable"|"first_layer_only",
"transformer": true} for int8, or {"weights": "int8_asym"|"int4_sym"|"int4_asym", "group": 32, "awq": true, "scales": true}
for weights alone. The .npz holds x, as the model takes it; every example is used.
Environment: pip install nncf==3.4.0 onnxruntime==1.30.0
"""

import argparse
import json
import time
from importlib.metadata import version

import nncf
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix


def int8(model: onnx.ModelProto, data: nncf.Dataset, count: int, options: dict) -> onnx.ModelProto:
    return nncf.quantize(
        model,
        data,
        preset=nncf.QuantizationPreset(options.get("preset", "performance")),
        target_device=nncf.TargetDevice.CPU,
        subset_size=count,
        fast_bias_correction=not options.get("accurate", False),
        model_type=nncf.ModelType.TRANSFORMER if options.get("transformer") else None,
        advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix(options.get("overflow", "disable"))),
    )


def weights(model: onnx.ModelProto, data: nncf.Dataset, count: int, options: dict) -> onnx.ModelProto:
    mode = nncf.CompressWeightsMode(options["weights"])
    if options["weights"].startswith("int8"):
        return nncf.compress_weights(model, mode=mode)
    informed = options.get("awq", False) or options.get("scales", False)
    return nncf.compress_weights(
        model,
        mode=mode,
        ratio=1.0,
        group_size=options.get("group", 32),
        all_layers=True,
        dataset=data if informed else None,
        subset_size=count,
        awq=options.get("awq", False),
        scale_estimation=options.get("scales", False),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--options", type=json.loads, default={})
    args = parser.parse_args()
    model, x = onnx.load(args.model), np.load(args.calibration)["x"]
    name = next(i.name for i in model.graph.input if i.name not in {w.name for w in model.graph.initializer})
    start = time.perf_counter()
    data = nncf.Dataset([{name: x[i : i + 1]} for i in range(len(x))])
    made = (weights if "weights" in args.options else int8)(model, data, len(x), args.options)
    onnx.save(made, args.output)
    print(json.dumps({"seconds": round(time.perf_counter() - start, 2), "nncf": version("nncf")}))


if __name__ == "__main__":
    main()
