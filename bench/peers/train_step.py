"""A training step in PyTorch for each line on stdin, with the time it took: python train_step.py NET contiguous|channels_last|compile

The nets are those of bench/train/nets.mjs; threads come from OMP_NUM_THREADS.
"""

import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from train_nets import ResNet20

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
torch.manual_seed(0)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024, num_labels=2,
                        hidden_dropout_prob=0, attention_probs_dropout_prob=0)
    return BertForSequenceClassification(config)


NETS = {
    "resnet20@32": (ResNet20, (64, 3, 32, 32), 10),
    "mobilenet_v2@32": (lambda: torchvision.models.mobilenet_v2(num_classes=10, dropout=0), (32, 3, 32, 32), 10),
    "mobilenet_v2@96": (lambda: torchvision.models.mobilenet_v2(num_classes=10, dropout=0), (16, 3, 96, 96), 10),
    "efficientnet_b0@64": (lambda: torchvision.models.efficientnet_b0(num_classes=10, dropout=0, stochastic_depth_prob=0), (16, 3, 64, 64), 10),
    "transformer@128": (bert, (16, 128), 2),
    "lenet": (lenet, (128, 1, 28, 28), 10),
}

name, form = sys.argv[1:3]
make, shape, classes = NETS[name]
net = make().train()
tokens = len(shape) == 2
x = torch.randint(0, 1000, shape) if tokens else torch.rand(*shape) - 0.5
y = torch.randint(0, classes, (shape[0],))
if form == "channels_last" and not tokens:
    net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
forward = torch.compile(net) if form == "compile" else net


def step():
    start = time.perf_counter()
    optimizer.zero_grad()
    out = forward(x)
    loss = F.cross_entropy(out.logits if tokens else out, y)
    loss.backward()
    optimizer.step()
    return {"ms": (time.perf_counter() - start) * 1e3}


for line in sys.stdin:
    answer = {"peakMB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024} if line.strip() == "memory" else step()
    print(json.dumps(answer), flush=True)
