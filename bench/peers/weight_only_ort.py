"""ONNX Runtime's weight-only quantization of a model on disk: 4 bits, blocks of 32, round to nearest.

python weight_only_ort.py INPUT OUTPUT

Prints { seconds, cpuSeconds, peakBytes } as one line of JSON.
"""

import json
import resource
import sys
import time

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

source, target = sys.argv[1:3]
start = time.perf_counter()
quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=32, is_symmetric=True, accuracy_level=4)
quantizer.process()
quantizer.model.save_model_to_file(target, use_external_data_format=True)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - start,
            "cpuSeconds": usage.ru_utime + usage.ru_stime,
            "peakBytes": usage.ru_maxrss * 1024,
        }
    )
)
