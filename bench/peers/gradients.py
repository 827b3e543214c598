"""Whether the gradients Minnow's trainer uses are PyTorch's. One JSON line for each net and exporter.

    python gradients.py [--only TEXT] [--exporter TEXT] [--output results/gradients.json]

Needs torch, torchvision, timm, transformers, onnx and safetensors, and the build (`npm run build`). A net of the peers with random
weights in training mode (nothing is dropped, norms use the batch's statistics) gives, in double precision, the cross-entropy of a
batch and its gradient by every parameter. It is exported by torch.onnx.export: `script`, the older exporter, in training mode;
`script-eval`, the same in evaluation mode with its norms kept apart; `dynamo`, the newer one, with constants folded. gradients.mjs
makes a training step of the file and runs it in ONNX Runtime.

Parameters are matched by name, those the exporter renamed or transposed by their numbers. `worst` is the largest of
|g − g'| / |g'| over all parameters, norms of whole tensors, g' in double; it and the error of the loss must be at most 1e-4.
`peerWorst` is the same figure of PyTorch in single precision. Where an activation is so near the kink of a ReLU that rounding
decides on which side it falls, one element of a map more or less passes its gradient, and any single precision may be off by 1e-3:
batches are drawn (`draws`) until PyTorch agrees to 2e-5 (5e-5 where its single precision is no better) with itself in single
precision, and in double with every weight moved by as much as rounding it to single precision could. Gradients that are zero in
exact arithmetic, such as that of a bias before a norm of the batch, have no relative error: those below 1e-9 of the norm of all gradients are held to 1e-6 of that norm instead (`zero`).
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import timm
import torch
import torchvision.models as tv
import transformers as hf
from onnxscript import optimizer
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent
TOLERANCE = 1e-4
ZERO = 1e-9
ZERO_TOLERANCE = 1e-6
STEADY = 2e-5
DRAWS = 40
NUDGES = 3


class BasicBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.stride, self.more = stride, out - channels

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = x if self.more == 0 else F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(y + short)


def resnet20() -> nn.Module:
    """He et al. 2016, section 4.2, with shortcuts of kind A."""
    widths = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        *(BasicBlock(*of) for of in widths),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def mobilenet_v2() -> nn.Module:
    """Shifts of 3 keep all but a few activations between ReLU6's kinks; with those of 0 no batch off them was found in 40."""
    net = tv.mobilenet_v2()
    for layer in net.modules():
        if isinstance(layer, nn.Sequential) and len(layer) > 1 and isinstance(layer[-1], nn.ReLU6):
            layer[1].bias.data.fill_(3).add_(0.2 * torch.randn_like(layer[1].bias))
    return net


class Scores(nn.Module):
    """A language model that gives its scores alone."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, tokens):
        return self.net(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits


def llama(tied: bool) -> nn.Module:
    sizes = {"hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4}
    config = hf.LlamaConfig(**sizes, intermediate_size=172, vocab_size=512, tie_word_embeddings=tied)
    config._attn_implementation = "eager"
    return Scores(hf.LlamaForCausalLM(config))


def images(batch: int, resolution: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.randn(batch, 3, resolution, resolution)


@dataclass
class Case:
    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], torch.Tensor]
    steady: float = STEADY


CASES = [
    Case("resnet20", resnet20, images(4, 32)),
    Case("mobilenet_v2", mobilenet_v2, images(4, 64)),
    Case("mobilenet_v3_small", tv.mobilenet_v3_small, images(4, 64)),
    Case("mobilenet_v3_large", tv.mobilenet_v3_large, images(4, 64)),
    Case("efficientnet_b0", tv.efficientnet_b0, images(4, 64), 5e-5),
    Case("shufflenet_v2_x1_0", tv.shufflenet_v2_x1_0, images(4, 64), 5e-5),
    Case("convnext_tiny", tv.convnext_tiny, images(2, 64)),
    Case("swin_t", tv.swin_t, images(2, 64)),
    Case("vit_small", lambda: timm.create_model("vit_small_patch16_224", img_size=64), images(2, 64)),
    Case("llama", lambda: llama(tied=False), lambda: torch.randint(0, 512, (2, 32))),
    Case("llama_tied", lambda: llama(tied=True), lambda: torch.randint(0, 512, (2, 32))),
]


def still(net: nn.Module) -> nn.Module:
    """Takes chance out of a net, and gives weights that are constant or too small to matter numbers that show."""
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
        for name in ("drop_prob", "p"):
            if type(layer).__name__ in ("StochasticDepth", "DropPath"):
                setattr(layer, name, 0.0)
    for parameter in net.parameters():
        if parameter.numel() > 1 and parameter.std() < 1e-6:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return net


def loss_of(scores: torch.Tensor, given: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    if labels is None:
        return F.cross_entropy(scores[:, :-1].flatten(0, 1), given[:, 1:].flatten())
    return F.cross_entropy(scores, labels)


def gradients(net: nn.Module, given: torch.Tensor, labels: torch.Tensor | None) -> tuple[float, dict]:
    net.zero_grad()
    loss = loss_of(net(given), given, labels)
    loss.backward()
    return float(loss), {name: p.grad.detach().double() for name, p in net.named_parameters()}


def export(net: nn.Module, given: torch.Tensor, exporter: str, path: Path) -> None:
    common = {"input_names": ["input"], "output_names": ["scores"]}
    net.train(exporter != "script-eval")
    if exporter == "dynamo":
        # Its own clean-up would fold norms that are in training mode.
        program = torch.onnx.export(net, (given,), dynamo=True, optimize=False, verbose=False, **common)
        optimizer.fold_constants(program.model)
        program.save(path)
        return
    mode = torch.onnx.TrainingMode
    training = mode.PRESERVE if exporter == "script-eval" else mode.TRAINING
    torch.onnx.export(
        net, (given,), path, dynamo=False, training=training, do_constant_folding=False, opset_version=18, **common
    )


def relative(found: dict, wanted: dict, zero: set) -> dict:
    return {name: float((found[name] - g).norm() / g.norm()) for name, g in wanted.items() if name not in zero}


@dataclass
class Reference:
    """A batch with its loss and gradients in double precision, and the errors of single precision."""

    given: torch.Tensor
    labels: torch.Tensor | None
    draws: int
    loss: float
    wanted: dict
    length: float
    zero: set
    single_loss: float
    errors: dict

    def tensors(self) -> dict:
        labels = {} if self.labels is None else {"labels": self.labels}
        return {"input": self.given, **labels} | {f"gradient.{name}": g for name, g in self.wanted.items()}


def draw(case: Case, net: nn.Module, draws: int) -> tuple[Reference, bool]:
    """A batch, and whether it lies off the kinks."""
    given = case.inputs()
    floats = given.is_floating_point()
    labels = torch.randint(0, 10, given.shape[:1]) if floats else None
    wide = given.double() if floats else given
    single_loss, single = gradients(copy.deepcopy(net), given, labels)
    loss, wanted = gradients(copy.deepcopy(net).double(), wide, labels)
    length = float(torch.stack([g.norm() for g in wanted.values()]).norm())
    zero = {name for name, g in wanted.items() if g.norm() < ZERO * length}
    errors = relative(single, wanted, zero)
    steady = max(errors.values()) <= case.steady
    for _ in range(NUDGES if steady else 0):
        _, near = gradients(nudged(net), wide, labels)
        steady = steady and max(relative(near, wanted, zero).values()) <= case.steady
    return Reference(given, labels, draws, loss, wanted, length, zero, single_loss, errors), steady


def nudged(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net).double()
    for parameter in net.parameters():
        parameter.data *= 1 + 2**-23 * (2 * torch.rand_like(parameter) - 1)
    return net


def steady(case: Case, net: nn.Module) -> Reference:
    """The first batch off the kinks; the last one where there is none."""
    for draws in range(1, DRAWS + 1):
        found, is_steady = draw(case, net, draws)
        if is_steady:
            break
    return found


def compare(net: nn.Module, reference: Reference, exporter: str, folder: Path) -> dict:
    try:
        export(copy.deepcopy(net), reference.given, exporter, folder / "model.onnx")
    except Exception as error:  # noqa: BLE001 - whatever the exporter throws is what there is to tell
        return {"failed": f"export: {str(error).strip().splitlines()[0][:200]}"}
    tensors = reference.tensors() | {f"weight.{name}": p.detach() for name, p in net.named_parameters()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "tensors.safetensors")
    found = subprocess.run(["node", HERE / "gradients.mjs", str(folder)], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return {"failed": found.stderr.strip()[-600:]}
    own = json.loads(found.stdout)
    errors = {name: e for name, e in own["errors"].items() if name not in reference.zero}
    worst, peer_worst = (max(of, key=of.get) for of in (errors, reference.errors))
    loss = reference.loss
    return {
        "parameters": len(reference.wanted),
        "matched": len(own["errors"]),
        "lossError": abs(own["loss"] - loss) / abs(loss),
        "peerLossError": abs(reference.single_loss - loss) / abs(loss),
        "worst": errors[worst],
        "worstParameter": worst,
        "median": median(errors.values()),
        "peerWorst": reference.errors[peer_worst],
        "peerWorstParameter": peer_worst,
        "peerMedian": median(reference.errors.values()),
        "zero": len(reference.zero),
        "zeroError": max((own["lengths"].get(name, 0.0) / reference.length for name in reference.zero), default=0.0),
    }


def run(case: Case, exporters: list[str]) -> list[dict]:
    torch.manual_seed(zlib.crc32(case.name.encode()))
    net = still(case.make()).train()
    reference = steady(case, net)
    rows = []
    for exporter in exporters:
        with tempfile.TemporaryDirectory() as folder:
            row = compare(net, reference, exporter, Path(folder))
        shape = list(reference.given.shape)
        rows.append({"net": case.name, "exporter": exporter, "input": shape, "draws": reference.draws, **row})
    return rows


def agrees(row: dict) -> bool:
    if "failed" in row or row["matched"] != row["parameters"]:
        return False
    return row["lossError"] <= TOLERANCE and row["worst"] <= TOLERANCE and row["zeroError"] <= ZERO_TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="nets whose name has this in it")
    parser.add_argument("--exporter", choices=["script", "script-eval", "dynamo"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    exporters = [options.exporter] if options.exporter else ["script", "script-eval", "dynamo"]
    for case in CASES:
        if options.only not in case.name:
            continue
        for row in run(case, exporters):
            row["agrees"] = agrees(row)
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.output:
        versions = {name: version(name) for name in ("torch", "torchvision", "timm", "transformers")}
        options.output.write_text(json.dumps({"versions": versions, "nets": rows}, indent=1) + "\n")
    sys.exit(0 if rows and all(row["agrees"] for row in rows) else 1)


if __name__ == "__main__":
    main()
