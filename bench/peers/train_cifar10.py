"""The recipe of bench/train/cifar10.mjs in PyTorch: ResNet-20 (option A shortcuts), the same data, epochs, rates and changes of images.

    python bench/peers/train_cifar10.py TRAIN_FOLDER TEST_FOLDER [EPOCHS]

Writes its row into bench/results/training-cifar10.json.
"""

import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from train_nets import ResNet20

torch.set_num_threads(1)
torch.manual_seed(0)


def load(folder):
    images, labels = [], []
    for label, name in enumerate(sorted(p.name for p in pathlib.Path(folder).iterdir() if p.is_dir())):
        for file in sorted((pathlib.Path(folder) / name).iterdir()):
            images.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    black = (0 - mean) / std
    return (pixels - mean) / std, torch.tensor(labels), black


def changed(x, black):
    out = torch.empty_like(x)
    for i, image in enumerate(x):
        wide = black.expand(3, 40, 40).clone()
        wide[:, 4:36, 4:36] = image.flip(2) if torch.rand(1) < 0.5 else image
        dy, dx = torch.randint(0, 9, (2,)).tolist()
        out[i] = wide[:, dy : dy + 32, dx : dx + 32]
    return out


def main():
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    x, y, black = load(sys.argv[1])
    tx, ty, _ = load(sys.argv[2])
    net = ResNet20().to(memory_format=torch.channels_last)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    batch, start = 64, time.time()
    per_epoch = len(x) // batch
    for epoch in range(epochs):
        net.train()
        order, total = torch.randperm(len(x)), 0.0
        for step in range(per_epoch):
            at = epoch * per_epoch + step
            warm, steps = per_epoch, epochs * per_epoch
            lr = 0.1 * (at + 1) / warm if at < warm else 0.05 * (1 + math.cos(math.pi * (at - warm) / (steps - warm)))
            for group in optimizer.param_groups:
                group["lr"] = lr
            chosen = order[step * batch : (step + 1) * batch]
            loss = F.cross_entropy(net(changed(x[chosen], black).contiguous(memory_format=torch.channels_last)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"{epoch + 1}: loss {total / per_epoch:.4f}", flush=True)
    seconds = round(time.time() - start)
    net.eval()
    with torch.no_grad():
        right = sum((net(tx[i : i + 500]).argmax(1) == ty[i : i + 500]).sum().item() for i in range(0, len(tx), 500))
    row = {
        "engine": f"pytorch {torch.__version__}",
        "accuracy": right / len(tx),
        "finalLoss": total / per_epoch,
        "epochs": epochs,
        "seconds": seconds,
        "date": time.strftime("%Y-%m-%d"),
    }
    print(row)
    results = pathlib.Path(__file__).parent.parent / "results" / "training-cifar10.json"
    kept = json.loads(results.read_text()) if results.exists() else []
    kept = [other for other in kept if not other["engine"].startswith("pytorch")]
    results.write_text(json.dumps([*kept, row], indent=2) + "\n")


main()
