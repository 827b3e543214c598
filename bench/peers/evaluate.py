"""Accuracy of a classifier on an .npz, and its latency at batch 1 on one thread. Prints one JSON object.

    python evaluate.py --model M.onnx --data TEST.npz [--against FLOAT.onnx] [--batch 50] [--runs 200]

The .npz holds x (float32 NCHW, or uint8 with per-channel mean and scale: input = (x - mean) * scale) and labels y.
With --against, also: agreement (share of the same top-1), and latency relative to it, the two timed in turn, run by run,
so that whatever else the machine does falls on both.
"""

import argparse
import json
import os
import statistics
import time

import numpy as np
import onnxruntime as ort


def open_session(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Data:
    def __init__(self, path: str):
        file = np.load(path)
        self.x, self.y = file["x"], file["y"] if "y" in file else None
        self.mean = file["mean"].reshape(-1, 1, 1) if "mean" in file else None
        self.scale = file["scale"].reshape(-1, 1, 1) if "scale" in file else None

    def batch(self, start: int, size: int) -> np.ndarray:
        x = self.x[start : start + size].astype(np.float32)
        return x if self.mean is None else (x - self.mean) * self.scale


def predict(session: ort.InferenceSession, data: Data, size: int) -> np.ndarray:
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: data.batch(i, size)})[0].reshape(min(size, len(data.x) - i), -1).argmax(1)
                           for i in range(0, len(data.x), size)])


def latency(sessions: list, x: np.ndarray, runs: int) -> list[float]:
    """Median milliseconds of each session, timed in turn after a tenth as many warm-up runs."""
    times = [[] for _ in sessions]
    for run in range(-max(5, runs // 10), runs):
        for session, seen in zip(sessions, times, strict=True):
            feeds = {session.get_inputs()[0].name: x}
            start = time.perf_counter()
            session.run(None, feeds)
            if run >= 0:
                seen.append((time.perf_counter() - start) * 1000)
    return [statistics.median(t) for t in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--against")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--runs", type=int, default=200)
    args = parser.parse_args()
    data, session = Data(args.data), open_session(args.model)
    top = predict(session, data, args.batch)
    result = {"images": len(data.x), "bytes": os.path.getsize(args.model)}
    if data.y is not None:
        result["accuracy"] = round(float((top == data.y).mean()), 4)
    sessions = [session]
    if args.against:
        other = open_session(args.against)
        result["agreement"] = round(float((top == predict(other, data, args.batch)).mean()), 4)
        sessions.append(other)
    medians = latency(sessions, data.batch(0, 1), args.runs)
    result["latencyMs"] = round(medians[0], 3)
    if args.against:
        result["latencyRatio"] = round(medians[0] / medians[1], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
