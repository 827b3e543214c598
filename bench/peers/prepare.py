"""Writes the tensors that both sides are measured on, so that no preprocessing differs.

    python prepare.py --data FOLDER --output FOLDER        FOLDER holds cifar10-test.tar.gz, cifar10-train15k.tar.gz

Calibration: the first 20 images of every class of the training set, by file name, classes in alphabetical order: 200.
They are dealt in turn (one of each class, then the next of each), already preprocessed: {x: float32 NCHW}.
Test: {x: uint8 NCHW, mean, scale, y}, where the model's input is (x - mean) * scale, per channel.
cifar10-*: all 10000 test images at 32x32. imagenet224-*: the first 100 of every class, upscaled to 224 (PIL, bilinear).
"""

import argparse
import io
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

# Name -> size, test images per class, mean and scale on pixels 0..255: input = (pixel - mean) * scale
IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SETS = {
    "cifar10-normalized": (32, 1000, 255 * IMAGENET_MEAN, 1 / (255 * IMAGENET_STD)),
    "cifar10-raw": (32, 1000, np.zeros(3), np.ones(3)),
    "imagenet224": (224, 100, np.full(3, 127.5), np.full(3, 1 / 127.5)),
}
CALIBRATION_PER_CLASS = 20


def read(archive: Path, per_class: int) -> list[list[bytes]]:
    """JPEG bytes of the first images of every class: [class][image]."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".jpg"):
                found.setdefault(member.name.split("/")[-2], []).append((member.name, tar.extractfile(member).read()))
    return [[data for _, data in sorted(found[name])[:per_class]] for name in sorted(found)]


def decode(jpeg: bytes, size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.BILINEAR)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def main() -> None:
    real = os.environ.get("MINNOW_REAL")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(real, "data") if real else None, required=not real)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    train = read(args.data / "cifar10-train15k.tar.gz", CALIBRATION_PER_CLASS)
    test = read(args.data / "cifar10-test.tar.gz", 1000)
    for name, (size, per_class, mean, scale) in SETS.items():
        mean, scale = mean.astype(np.float32), scale.astype(np.float32)
        x = np.stack([decode(images[i], size) for i in range(CALIBRATION_PER_CLASS) for images in train])
        x = (x.astype(np.float32) - mean[:, None, None]) * scale[:, None, None]
        np.savez(args.output / f"{name}-calibration.npz", x=x)
        x = np.stack([decode(jpeg, size) for images in test for jpeg in images[:per_class]])
        y = np.repeat(np.arange(len(test)), per_class)
        labels = {} if size == 224 else {"y": y}  # CIFAR's labels mean nothing to an ImageNet net: agreement only
        np.savez(args.output / f"{name}-test.npz", x=x, mean=mean, scale=scale, **labels)


if __name__ == "__main__":
    main()
