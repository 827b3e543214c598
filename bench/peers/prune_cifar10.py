"""The prune-and-tune of bench/prune/cifar10.mjs with Torch-Pruning and PyTorch: the same nets, data, epochs, rates and changes of images.

    python bench/peers/prune_cifar10.py NET.onnx TRAIN_FOLDER TEST_FOLDER --macs 50 --epochs 4 [--teacher TUNED.onnx] [--score magnitude] [--local]

`--macs 100` tunes the whole net, `--epochs 0` judges scores on held-out training images without training. Torch-Pruning cannot follow
the zeros that these nets pad channels with, so the shortcut is a 1x1 convolution that copies, which is not trained and whose MACs do
not count; it lets the widths of the stages go apart, which Minnow's cut of the net as it is does not. Continues from its checkpoint;
writes its row into bench/results/pruning-cifar10.json.
"""

import argparse
import json
import math
import os
import pathlib
import tempfile
import sys
import time

sys.path.pop(0)  # torch_pruning.py beside this file is not the package

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torch_pruning as tp
from onnx import numpy_helper
from PIL import Image
from torch import nn

torch.set_num_threads(1)
SCORES = {
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "taylor": lambda: tp.importance.GroupTaylorImportance(),
    "bn": lambda: tp.importance.BNScaleImportance(),
}


class Block(nn.Module):
    def __init__(self, inward, outward, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        self.copy = nn.Identity()
        if inward != outward:
            self.copy = nn.Conv2d(inward, outward, 1, stride, bias=False)
            self.copy.weight.data.zero_()
            for i in range(inward):
                self.copy.weight.data[i + (outward - inward) // 2, i] = 1

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.copy(x))


class ResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inward = 16
        for stage, outward in enumerate((16, 32, 64)):
            made = []
            for place in range(blocks):
                made.append(Block(inward, outward, 2 if stage > 0 and place == 0 else 1))
                inward = outward
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def load_net(path):
    held = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in onnx.load(path).graph.initializer}
    blocks = max(int(name.split(".")[1]) for name in held if name.startswith("layer1.")) + 1
    net = ResNet(blocks)
    missing, _ = net.load_state_dict({n: v for n, v in held.items() if n in net.state_dict()}, strict=False)
    assert all("copy" in n or "num_batches" in n for n in missing), missing
    return net


def load_images(folder):
    images, labels = [], []
    for label, name in enumerate(sorted(p.name for p in pathlib.Path(folder).iterdir() if p.is_dir())):
        for file in sorted((pathlib.Path(folder) / name).iterdir()):
            images.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (pixels - mean) / std, torch.tensor(labels), (0 - mean) / std


def changed(x, black):
    out = torch.empty_like(x)
    for i, image in enumerate(x):
        wide = black.expand(3, 40, 40).clone()
        wide[:, 4:36, 4:36] = image.flip(2) if torch.rand(1) < 0.5 else image
        dy, dx = torch.randint(0, 9, (2,)).tolist()
        out[i] = wide[:, dy : dy + 32, dx : dx + 32]
    return out.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(net, x, y):
    net.eval()
    right = sum((net(x[i : i + 500].contiguous(memory_format=torch.channels_last)).argmax(1) == y[i : i + 500]).sum().item() for i in range(0, len(x), 500))
    return right / len(x)


def size_of(net):
    """MACs and parameters, the copies left out."""
    copies = [m for name, m in net.named_modules() if name.endswith("copy") and isinstance(m, nn.Conv2d)]
    macs, parameters = tp.utils.count_ops_and_params(net, torch.randn(1, 3, 32, 32))
    for copy, side in zip(copies, (16, 8)):
        macs -= copy.weight.numel() * side * side
        parameters -= copy.weight.numel()
    return macs, parameters


def cut(net, share, score, is_global, x, y):
    """Cut in small steps until the MACs are at most `share` of what they were, as Torch-Pruning's own benchmarks do."""
    importance = SCORES[score]()
    pruner = tp.pruner.BasePruner(
        net, torch.randn(1, 3, 32, 32), importance=importance, global_pruning=is_global, pruning_ratio=0.95, max_pruning_ratio=0.8,
        iterative_steps=200, ignored_layers=[net.linear],
    )
    if score == "taylor":
        net.eval()
        for i in range(0, len(x), 64):
            F.cross_entropy(net(x[i : i + 64]), y[i : i + 64]).backward()
    whole, _ = size_of(net)
    while size_of(net)[0] > share * whole:
        pruner.step()
    net.zero_grad()


def tune(net, data, epochs, lr, teacher, checkpoint):
    x, y, black = data
    net.to(memory_format=torch.channels_last)
    for part, copies in net.named_modules():
        if part.endswith("copy"):
            copies.requires_grad_(False)
    own = [p for p in net.parameters() if p.requires_grad]
    groups = [{"params": [p for p in own if p.ndim > 1], "weight_decay": 5e-4}, {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    batch, first, losses = 64, 0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        first, losses = state["epoch"], state["losses"]
    per_epoch = len(x) // batch
    for epoch in range(first, epochs):
        torch.manual_seed(epoch)
        net.train()
        order, total, start = torch.randperm(len(x)), 0.0, time.time()
        for step in range(per_epoch):
            rate = lr * 0.5 * (1 + math.cos(math.pi * (epoch * per_epoch + step) / (epochs * per_epoch)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = order[step * batch : (step + 1) * batch]
            images = changed(x[chosen], black)
            scores = net(images)
            loss = F.cross_entropy(scores, y[chosen])
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(images)
                soft = F.kl_div(F.log_softmax(scores / 4, 1), F.log_softmax(taught / 4, 1), reduction="batchmean", log_target=True)
                loss = 0.9 * 16 * soft + 0.1 * loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(round(total / per_epoch, 4))
        print(f"{epoch + 1}: loss {losses[-1]}, {per_epoch * batch / (time.time() - start):.0f} images/s", flush=True)
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1, "losses": losses}, checkpoint)
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--macs", type=float, default=50)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--teacher")
    parser.add_argument("--score", default="magnitude", choices=SCORES)
    parser.add_argument("--local", action="store_true")
    given = parser.parse_args()
    name = pathlib.Path(given.net).name.replace("_cifar10.onnx", "")
    x, y, black = load_images(given.train)
    torch.manual_seed(0)
    mixed = torch.randperm(len(x))
    held, sample = mixed[:1000], mixed[1000:1512]
    if given.epochs == 0:
        for score in SCORES:
            for is_global in (False, True):
                net = load_net(given.net)
                cut(net, given.macs / 100, score, is_global, x[sample], y[sample])
                print(given.macs, score, "global" if is_global else "local", f"{100 * accuracy(net, x[held], y[held]):.2f}", flush=True)
        return
    start = time.time()
    net = load_net(given.net)
    whole = size_of(net)
    how = [] if given.macs == 100 else [f"{given.score}{'' if given.local else ' global'}"]
    run = ", ".join(["torch-pruning", name, f"{given.macs:g}%", *how, *(["distilled"] if given.teacher else []), f"{given.epochs} epochs from {given.lr:g}"])
    if given.macs < 100:
        cut(net, given.macs / 100, given.score, not given.local, x[sample], y[sample])
    teacher = load_net(given.teacher).eval().to(memory_format=torch.channels_last) if given.teacher else None
    checkpoint = pathlib.Path(tempfile.gettempdir()) / (run.replace(" ", "_").replace(",", "").replace("%", "") + ".pt")
    losses = tune(net, (x, y, black), given.epochs, given.lr, teacher, checkpoint)
    seconds = round(time.time() - start)
    tx, ty, _ = load_images(given.test)
    left = size_of(net)
    row = {
        "run": run,
        "engine": f"torch-pruning {tp.__version__}, pytorch {torch.__version__}",
        "net": name,
        "macs": round(left[0] / whole[0], 4),
        "parameters": round(left[1] / whole[1], 4),
        "accuracy": accuracy(net, tx, ty),
        "epochs": given.epochs,
        "lr": given.lr,
        "seconds": seconds,
        "losses": losses,
        "date": time.strftime("%Y-%m-%d"),
    }
    print(row)
    results = pathlib.Path(__file__).parent.parent / "results" / "pruning-cifar10.json"
    kept = json.loads(results.read_text()) if results.exists() else []
    results.write_text(json.dumps([*(other for other in kept if other["run"] != run), row], indent=2) + "\n")
    os.remove(checkpoint)


main()
