"""Writes what quantized models are calibrated and judged on, so that all tools read the same numbers.

    python quantization_tensors.py --real FOLDER --files FOLDER --output FOLDER

--real: the folder of real models and data. --files: a folder with files of many kinds, for Magika (node_modules).
NAME-calibration.npz: {x}, as the model takes it. NAME-test.npz: {x}, perhaps {mean, scale} (input = (x - mean) * scale, per
channel), {y} where there are labels that mean something, {length} for texts. cifar10-* and imagenet224-* are those of prepare.py.
vww: CIFAR-10 upscaled to 96 (PIL, bilinear), 0..1. kws: MFCCs of spoken digits as MLPerf Tiny makes them of words; ad01: five
frames of log-mel of the same; two speakers calibrate, the others judge. stories: told by the model itself (seeded), judged on
the sample. magika: the first and last 1024 bytes of files.
"""

import argparse
import io
import tarfile
import wave
from pathlib import Path

import numpy as np
import onnxruntime as ort

import prepare

RATE = 16000
WINDOW = 128


def vww(real: Path, output: Path) -> None:
    train = prepare.read(real / "data/cifar10-train15k.tar.gz", 20)
    test = prepare.read(real / "data/cifar10-test.tar.gz", 100)
    x = np.stack([prepare.decode(images[i], 96) for i in range(20) for images in train])
    np.savez(output / "vww-calibration.npz", x=x.astype(np.float32) * np.float32(1 / 255))
    x = np.stack([prepare.decode(jpeg, 96) for images in test for jpeg in images])
    np.savez(output / "vww-test.npz", x=x, mean=np.zeros(3, np.float32), scale=np.full(3, 1 / 255, np.float32))


def recordings(real: Path):
    """(speaker, sound at 16 kHz, -1..1, one second) of every recording."""
    with tarfile.open(real / "data/fsdd.tgz") as tar:
        members = sorted((m for m in tar if m.name.endswith(".wav")), key=lambda m: m.name)
        for member in members:
            with wave.open(io.BytesIO(tar.extractfile(member).read())) as sound:
                rate, raw = sound.getframerate(), np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
            times = np.arange(0, len(raw) * RATE // rate) * rate / RATE
            x = np.interp(times, np.arange(len(raw)), raw / max(1, np.abs(raw.astype(np.int32)).max()))[:RATE]
            yield member.name.split("_")[1], np.pad(x, (0, RATE - len(x)))


def spectrum(x: np.ndarray, frame: int, step: int, fft: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    frames = np.lib.stride_tricks.sliding_window_view(x, frame)[::step]
    return np.abs(np.fft.rfft(frames * window, fft))


def mel_bank(bins: int, count: int, low: float, high: float) -> np.ndarray:
    mel = lambda f: 1127 * np.log(1 + f / 700)  # noqa: E731
    edges = np.linspace(mel(low), mel(high), bins + 2)
    at = mel(np.linspace(0, RATE / 2, count))[:, None]
    rise, fall = (at - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def mfcc(x: np.ndarray) -> np.ndarray:
    logs = np.log(spectrum(x, 480, 320, 512) @ mel_bank(40, 257, 20, 4000) + 1e-6)
    n = np.arange(40)
    basis = 2 * np.cos(np.pi / 80 * (2 * n[:, None] + 1) * n[None, :10]) / np.sqrt(80)
    return (logs @ basis)[None].astype(np.float32)


def frames(x: np.ndarray) -> np.ndarray:
    power = spectrum(x, 1024, 512, 1024) ** 2 @ mel_bank(128, 513, 0, RATE / 2)
    logs = 10 * np.log10(power + np.finfo(np.float64).eps)
    return np.stack([logs[i : i + 5].reshape(-1) for i in range(0, len(logs) - 4, 5)]).astype(np.float32)


def sounds(real: Path, output: Path) -> None:
    known = ("jackson", "lucas")
    found = list(recordings(real))
    learn = [x for who, x in found if who in known][::5]
    judge = [x for who, x in found if who not in known][::2]
    for name, of, join in (("kws", mfcc, np.stack), ("ad01", frames, np.concatenate)):
        np.savez(output / f"{name}-calibration.npz", x=join([of(x) for x in learn]))
        np.savez(output / f"{name}-test.npz", x=join([of(x) for x in judge]))


def pieces(path: Path) -> list[tuple[bytes, float]]:
    data, at, out = path.read_bytes(), 4, []
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        out.append((data[at + 8 : at + 8 + length], float(np.frombuffer(data[at : at + 4], "<f4")[0])))
        at += 8 + length
    return out


def encode(text: str, known: list[tuple[bytes, float]]) -> list[int]:
    """Tokens as llama2.c makes them: the pair of the best score is joined until none is left."""
    ids = {piece: i for i, (piece, _) in enumerate(known)}
    tokens: list[int] = []
    for letter in " " + text:
        raw = letter.encode()
        tokens += [ids[raw]] if raw in ids else [byte + 3 for byte in raw]
    while True:
        pairs = [(known[ids[j]][1], -at, ids[j]) for at in range(len(tokens) - 1) if (j := known[tokens[at]][0] + known[tokens[at + 1]][0]) in ids]
        if not pairs:
            return [1, *tokens]
        _, at, joined = max(pairs)
        tokens[-at : -at + 2] = [joined]


def stories(real: Path, output: Path, count: int = 64) -> None:
    folder = real / "models/text"
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "stories260K_T128.onnx"), options)
    rng = np.random.default_rng(1)
    ids = np.zeros((count, WINDOW), np.int64)
    ids[:, 0] = 1
    for at in range(WINDOW - 1):
        scores = session.run(None, {"input_ids": ids})[0][:, at].astype(np.float64)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        sums = np.cumsum(chances / chances.sum(1, keepdims=True), 1)
        ids[:, at + 1] = np.minimum((sums < rng.random((count, 1))).sum(1), scores.shape[1] - 1)
    np.savez(output / "stories-calibration.npz", x=ids)
    known, windows = pieces(folder / "tok512.bin"), []
    for story in (folder / "tinystories_sample.txt").read_text().split("<|endoftext|>"):
        if story.strip():
            tokens = encode(story.strip(), known)
            windows += [tokens[i : i + WINDOW] for i in range(0, len(tokens), WINDOW)]
    x = np.array([w + [0] * (WINDOW - len(w)) for w in windows], np.int64)
    np.savez(output / "stories-test.npz", x=x, length=np.array([len(w) for w in windows], np.int64))


def magika(files: Path, output: Path, per_kind: int = 20) -> None:
    kinds: dict[str, list[Path]] = {}
    for path in sorted(files.rglob("*")):
        if path.suffix and path.is_file() and not path.is_symlink() and path.stat().st_size >= 64:
            kinds.setdefault(path.suffix, []).append(path)
    rng = np.random.default_rng(0)

    def features(path: Path) -> np.ndarray:
        data = path.read_bytes()
        first, last = data[:4096].lstrip()[:1024], data[-4096:].rstrip()[-1024:]
        x = np.full(2048, 256, np.int32)
        x[: len(first)] = np.frombuffer(first, np.uint8)
        x[2048 - len(last) :] = np.frombuffer(last, np.uint8)
        return x

    learn, judge = [], []
    for suffix in sorted(kinds):
        some = [kinds[suffix][i] for i in rng.permutation(len(kinds[suffix]))[:per_kind]]
        learn += some[: len(some) // 4]
        judge += some[len(some) // 4 :]
    np.savez(output / "magika-calibration.npz", x=np.stack([features(p) for p in learn]))
    np.savez(output / "magika-test.npz", x=np.stack([features(p) for p in judge]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name, write in (("vww", vww), ("kws", sounds), ("stories", stories)):
        if not (args.output / f"{name}-test.npz").exists():
            write(args.real, args.output)
    magika(args.files, args.output)


if __name__ == "__main__":
    main()
