"""Writes PyTorch's losses with their gradients, its optimizers over steps and its schedules to the path given: test/golden/training.json."""
import json
import sys
import torch
from torch import nn, optim
from torch.nn import functional as F

torch.manual_seed(7)


def numbers(t):
    return [float(f"{v:.9g}") for v in t.detach().double().flatten().tolist()]


def loss(compute, x, **given):
    x = x.clone().requires_grad_()
    value = compute(x)
    value.backward()
    return {"scores": numbers(x), "shape": list(x.shape), "loss": float(f"{value.item():.9g}"), "gradient": numbers(x.grad), **given}


x = torch.randn(4, 5) * 3
y = torch.tensor([1, 0, 4, 2])
w = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0])
t = torch.softmax(torch.randn(4, 5), 1)
picture = torch.randn(2, 3, 2, 2)
places = torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, 255]]])
scores = torch.randn(2, 4, 6)
tokens = torch.tensor([[1, 2, 5, 0], [3, 3, 0, 0]])
far = torch.tensor([[200.0, 0.0, -200.0], [0.0, 150.0, 0.0]])
bits = (torch.rand(4, 5) > 0.5).float()

losses = {
    "crossEntropy": loss(lambda x: F.cross_entropy(x, y), x, labels=y.tolist()),
    "smoothed": loss(lambda x: F.cross_entropy(x, y, label_smoothing=0.1), x, labels=y.tolist()),
    "weighted": loss(lambda x: F.cross_entropy(x, y, weight=w), x, labels=y.tolist()),
    "weightedSmoothed": loss(lambda x: F.cross_entropy(x, y, weight=w, label_smoothing=0.2), x, labels=y.tolist()),
    "soft": loss(lambda x: F.cross_entropy(x, t, weight=w, label_smoothing=0.1), x, targets=numbers(t)),
    "picture": loss(lambda x: F.cross_entropy(x, places, ignore_index=255, label_smoothing=0.1), picture, labels=places.flatten().tolist()),
    "far": loss(lambda x: F.cross_entropy(x, torch.tensor([2, 0])), far, labels=[2, 0]),
    "language": loss(lambda x: F.cross_entropy(x[:, :-1].reshape(-1, 6), tokens[:, 1:].reshape(-1), ignore_index=0), scores, tokens=tokens.flatten().tolist()),
    "binary": loss(lambda x: F.binary_cross_entropy_with_logits(x * 20, bits), x, targets=numbers(bits)),
    "binaryWeighted": loss(lambda x: F.binary_cross_entropy_with_logits(x, bits, pos_weight=torch.tensor(2.5)), x, targets=numbers(bits)),
    "squared": loss(lambda x: F.mse_loss(x, t), x, targets=numbers(t)),
    "huber": loss(lambda x: F.huber_loss(x, t, delta=1.5), x, targets=numbers(t)),
    "weights": numbers(w),
}
losses["binary"]["scores"] = numbers(x * 20)
losses["binary"]["gradient"] = [v / 20 for v in losses["binary"]["gradient"]]

gradients = [torch.randn(6) for _ in range(5)]
start = torch.randn(6)


class Lion(optim.Optimizer):
    """As in the paper's algorithm 2; PyTorch has none."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                b1, b2 = group["betas"]
                p.data.mul_(1 - group["lr"] * group["weight_decay"])
                p.data.add_((b1 * m + (1 - b1) * p.grad).sign(), alpha=-group["lr"])
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


def steps(make):
    p = nn.Parameter(start.clone())
    optimizer = make([p])
    out = []
    for i, g in enumerate(gradients):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + i)
        p.grad = g.clone()
        optimizer.step()
        out.append(numbers(p))
    return out


optimizers = {
    "start": numbers(start),
    "gradients": [numbers(g) for g in gradients],
    "sgd": steps(lambda p: optim.SGD(p, lr=0.1)),
    "momentum": steps(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05)),
    "nesterov": steps(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
    "adamW": steps(lambda p: optim.AdamW(p, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.05)),
    "rmsprop": steps(lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, eps=1e-3, weight_decay=0.05)),
    "rmspropMomentum": steps(lambda p: optim.RMSprop(p, lr=0.1, alpha=0.9, momentum=0.8)),
    "lion": steps(lambda p: Lion(p, lr=0.1, betas=(0.9, 0.99), weight_decay=0.05)),
}


def schedule(make, count=20):
    optimizer = optim.SGD([nn.Parameter(start.clone())], lr=0.4)
    s = make(optimizer)
    out = []
    for _ in range(count):
        out.append(float(f"{optimizer.param_groups[0]['lr']:.9g}"))
        optimizer.step()
        s.step()
    return out


L = optim.lr_scheduler
schedules = {
    "cosine": schedule(lambda o: L.CosineAnnealingLR(o, 20, eta_min=0.01)),
    "oneCycle": schedule(lambda o: L.OneCycleLR(o, 0.4, total_steps=20, pct_start=0.3)),
    # 4 updates an epoch
    "stepDecay": [v for v in schedule(lambda o: L.StepLR(o, 2, gamma=0.3), 5) for _ in range(4)],
    "milestones": [v for v in schedule(lambda o: L.MultiStepLR(o, [1, 4], gamma=0.1), 5) for _ in range(4)],
}


# A small net over four steps. Weights and pictures are waves, so that both sides can make them.
WAVES = {"conv.weight": ([4, 1, 3, 3], 1.3), "bn.weight": ([4], 0.9), "bn.bias": ([4], 1.7), "fc.weight": ([3, 36], 0.7), "fc.bias": ([3], 2.1)}


def wave(shape, rate, scale=0.4):
    count = torch.Size(shape).numel()
    return (torch.arange(1, count + 1, dtype=torch.float64) * rate).sin().mul(scale).float().reshape(shape)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(F.max_pool2d(F.relu(self.bn(self.conv(x))), 2).flatten(1))


def trajectory():
    net = Net()
    for name, (shape, rate) in WAVES.items():
        net.get_parameter(name).data.copy_(wave(shape, rate))
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = optim.SGD([{"params": decayed, "weight_decay": 0.01}, {"params": others}], lr=0.1, momentum=0.9, nesterov=True)
    values = []
    for step in range(4):
        x = wave([8, 1, 6, 6], 0.37 + 0.11 * step, 1)
        y = torch.tensor([(3 * i + step) % 3 if i % 2 else (i + step) % 3 for i in range(8)])
        optimizer.zero_grad()
        value = F.cross_entropy(net(x), y)
        value.backward()
        optimizer.step()
        values.append(float(f"{value.item():.9g}"))
    state = {name: numbers(t) for name, t in net.state_dict().items() if t.is_floating_point()}
    return {"losses": values, **state}


def lines(part):
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in part.items()) + "\n }"


parts = {"losses": losses, "optimizers": optimizers, "schedules": schedules, "net": trajectory()}
with open(sys.argv[1], "w") as file:
    file.write("{\n" + ",\n".join(f' "{name}": {lines(part)}' for name, part in parts.items()) + "\n}\n")
