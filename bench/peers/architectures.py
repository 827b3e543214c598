"""Whether Minnow's nets compute what torchvision's and timm's do, given the same weights. One JSON line a net.

    python architectures.py [--only TEXT] [--output results/architectures.json]

Needs torch, torchvision, timm and safetensors, and the build (`npm run build`). Each net gets random weights and, by one batch in
training mode, statistics that fit them and are then disturbed. The state dict goes through safetensors to architectures.mjs, which
loads it into the net of that name; `error` is the largest difference of the outputs over the largest output. It must be at most
1e-4; `spread` tells that the outputs depend on the input at all: the same figure between the outputs of two inputs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import timm
import torch
import torchvision.models as tv
from safetensors.torch import save_file

HERE = Path(__file__).parent
TOLERANCE = 1e-4


@dataclass
class Case:
    """A net of Minnow's by name and options, and what makes the peer's."""

    name: str
    make: Callable[[], torch.nn.Module]
    options: dict = field(default_factory=dict)
    # Names of Minnow's inputs with tensors for them.
    inputs: Callable[[dict], dict] = lambda options: {
        "input": torch.randn(4, options.get("channels", 3), options["resolution"], options["resolution"])
    }
    # Names of Minnow's outputs with what they must be.
    call: Callable[[torch.nn.Module, dict], dict] = lambda net, inputs: {"logits": net(inputs["input"])}


def image(name, make, resolution=96, **options):
    return Case(name, make, {"resolution": resolution, **options})


def of_torchvision(name, resolution=96, ours=None):
    return image(ours or name, lambda: getattr(tv, name)(), resolution)


def of_timm(name, ours, resolution=96, **options):
    return image(ours, lambda: timm.create_model(name), resolution, **options)


CASES = [
    *(of_torchvision(name) for name in ("resnet18", "resnet34", "resnet50")),
    of_timm("mobilenetv1_100", "mobilenet_v1"),
    of_torchvision("mobilenet_v2", 224),
    image("mobilenet_v2", lambda: tv.mobilenet_v2(width_mult=0.35), 65, width=0.35),
    image("mobilenet_v2", lambda: tv.mobilenet_v2(width_mult=1.4, num_classes=10), 96, width=1.4, classes=10),
    of_torchvision("mobilenet_v3_small", 224),
    of_torchvision("mobilenet_v3_large"),
    image("mobilenet_v3_large", lambda: tv.mobilenet_v3_large(width_mult=0.6), 96, width=0.6),
    # An odd size shows which side TensorFlow's padding goes to.
    of_timm("tf_mobilenetv3_small_minimal_100", "mobilenet_v3_small_minimal", 97),
    of_timm("tf_mobilenetv3_large_minimal_100", "mobilenet_v3_large_minimal", 130),
    *(of_timm(f"mobilenetv4_conv_{size}", f"mobilenet_v4_conv_{size}") for size in ("small", "medium", "large")),
    *(of_torchvision(f"efficientnet_b{i}") for i in range(8)),
    *(of_timm(f"efficientnet_lite{i}", f"efficientnet_lite{i}") for i in range(5)),
    of_torchvision("efficientnet_v2_s", ours="efficientnetv2_s"),
    of_timm("tf_efficientnetv2_b0", "efficientnetv2_b0", 97),
    *(of_torchvision(f"mnasnet{width}") for width in ("0_5", "0_75", "1_0", "1_3")),
]


def disturb(net: torch.nn.Module, inputs: dict, call) -> None:
    """Gives a net random weights, and BatchNorm statistics that keep its activations in range without fitting exactly."""
    for parameter in net.parameters():
        if parameter.numel() > 1 and parameter.std() < 1e-6:
            parameter.data += 0.2 * torch.randn_like(parameter)
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()
    with torch.no_grad():
        if norms:
            call(net, inputs)
        for norm in norms:
            deviation = norm.running_var.clamp(min=1e-2).sqrt()
            norm.running_mean += 0.2 * deviation * torch.randn_like(deviation)
            norm.running_var.copy_(deviation.square() * (0.7 + 0.6 * torch.rand_like(deviation)))
    net.eval()


def run(case: Case, folder: Path) -> dict:
    torch.manual_seed(zlib.crc32(case.name.encode()))
    net = case.make()
    inputs = case.inputs(case.options)
    disturb(net, inputs, case.call)
    inputs = {name: value[:2] for name, value in inputs.items()}
    with torch.no_grad():
        outputs = case.call(net, inputs)
    state = {name: value.contiguous().clone() for name, value in net.state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    tensors = {f"in.{name}": value for name, value in inputs.items()}
    tensors |= {f"out.{name}": value.contiguous() for name, value in outputs.items()}
    save_file(tensors, folder / "tensors.safetensors")
    given = json.dumps({"name": case.name, "options": case.options})
    found = subprocess.run(
        ["node", HERE / "architectures.mjs", str(folder), given], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        return {"name": case.name, "options": case.options, "failed": found.stderr.strip().splitlines()[-1:]}
    parameters = sum(p.numel() for p in net.parameters())
    return {"name": case.name, "options": case.options, "peerParameters": parameters, **json.loads(found.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="nets whose name has this in it")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        if options.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = run(case, Path(folder))
        row["agrees"] = row.get("error", 1) <= TOLERANCE and not row.get("missing") and not row.get("unexpected")
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.output:
        versions = {name: version(name) for name in ("torch", "torchvision", "timm")}
        options.output.write_text(json.dumps({"versions": versions, "nets": rows}, indent=1) + "\n")
    sys.exit(0 if rows and all(row["agrees"] for row in rows) else 1)


if __name__ == "__main__":
    main()
