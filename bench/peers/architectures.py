"""Whether Minnow's nets compute what torchvision's, timm's and transformers' do, given the same weights. One JSON line a net.

    python architectures.py [--only TEXT] [--output results/architectures.json]

Needs torch, torchvision, timm, transformers and safetensors, and the build (`npm run build`). Each net gets random weights and, by one
batch in training mode, statistics that nearly fit. The state dict goes through safetensors to architectures.mjs, which loads it into
the net of that name; `error` is the largest difference of its outputs from the peer's in double precision, over the largest of
these. It must be at most 1e-4 (`peerError` is that of the peer in single precision); `spread`, the same figure between the outputs
of two inputs, tells that they depend on the input: at least 1e-2.
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
import transformers as hf
from safetensors.torch import save_file

HERE = Path(__file__).parent
TOLERANCE = 1e-4
SPREAD = 1e-2


@dataclass
class Case:
    """A net of Minnow's by name and options, and what makes the peer's."""

    name: str
    make: Callable[[], torch.nn.Module]
    options: dict = field(default_factory=dict)
    # Deviation of the weights of linear layers, in multiples of what keeps the size of activations.
    gain: float = 1.0
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


def tokens(options: dict) -> dict:
    """Four texts of two sentences, of which all but the first end in padding."""
    shape = (4, options.get("length", 33))
    ids = torch.randint(1, options.get("vocabulary", 30_522), shape)
    mask = torch.ones_like(ids)
    mask[1:, shape[1] - 5 :] = 0
    types = (torch.arange(shape[1]) > 12).long().repeat(shape[0], 1)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def of_transformers(name, make, types=True, gain=1.0, **options):
    """Compares every output of the peer's that is a tensor."""
    inputs = lambda options: {key: value for key, value in tokens(options).items() if types or key != "token_type_ids"}
    call = lambda net, inputs: {name: value for name, value in net(**inputs).items() if torch.is_tensor(value)}
    return Case(name, make, options, gain, inputs, call)


def bert(layers, size, heads, inner, head=hf.BertModel, **more):
    sizes = {"hidden_size": size, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": inner}
    return lambda: head(hf.BertConfig(**sizes, **more))


LLAMA = {
    "dimension": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kvHeads": "num_key_value_heads",
    "inner": "intermediate_size",
    "vocabulary": "vocab_size",
}


def llama(*sizes, **more):
    options = dict(zip(LLAMA, sizes, strict=True))
    config = hf.LlamaConfig(**{LLAMA[name]: size for name, size in options.items()}, tie_word_embeddings=True)
    return of_transformers("llama", lambda: hf.LlamaForCausalLM(config), False, **options, **more)


def vit(name, resolution):
    return image(name, lambda: timm.create_model(f"{name}_patch16_224", img_size=resolution), resolution)


CASES = [
    vit("vit_tiny", 224), vit("vit_small", 96), vit("vit_base", 96),
    *(of_timm(name, name, 256) for name in ("mobilevit_s", "mobilevit_xs", "mobilevit_xxs")),
    # A size that the patches do not divide.
    of_timm("mobilevit_s", "mobilevit_s", 224),
    of_transformers("bert_tiny", bert(2, 128, 2, 512)),
    of_transformers("bert_tiny", bert(2, 128, 2, 512, hf.BertForSequenceClassification, num_labels=3), classes=3, length=20),
    of_transformers("bert_mini", bert(4, 256, 4, 1024)),
    of_transformers("bert_small", bert(4, 512, 8, 2048)),
    of_transformers("bert_base", bert(12, 768, 12, 3072)),
    of_transformers("tinybert4", bert(4, 312, 12, 1200)),
    of_transformers("tinybert6", bert(6, 768, 12, 3072)),
    of_transformers("distilbert", lambda: hf.DistilBertModel(hf.DistilBertConfig()), False),
    of_transformers(
        "distilbert", lambda: hf.DistilBertForSequenceClassification(hf.DistilBertConfig(num_labels=3)), False, classes=3
    ),
    # It normalizes nothing: with more, its activations grow beyond what float32 holds.
    of_transformers("mobilebert", lambda: hf.MobileBertModel(hf.MobileBertConfig()), gain=0.6),
    of_transformers(
        "mobilebert",
        lambda: hf.MobileBertForSequenceClassification(hf.MobileBertConfig(num_labels=3)),
        gain=0.6,
        classes=3,
    ),
    llama(288, 6, 6, 6, 768, 32_000, length=128),
    llama(64, 5, 8, 4, 172, 512),
    llama(64, 5, 8, 4, 172, 512, length=500),
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
    *(of_torchvision(f"shufflenet_v2_{size}") for size in ("x0_5", "x1_0", "x1_5", "x2_0")),
    *(of_torchvision(f"squeezenet{version}", 97) for version in ("1_0", "1_1")),
    *(of_timm(f"ghostnet_{width:03}", "ghostnet", width=width / 100) for width in (50, 100, 130)),
    of_timm("ghostnetv2_100", "ghostnetv2", 100),
    *(of_timm(f"mobileone_s{size}", f"mobileone_s{size}") for size in range(5)),
]


def disturb(net: torch.nn.Module, inputs: dict, call, gain: float) -> None:
    """Gives a net random weights that keep the size of its activations, and BatchNorm statistics that nearly fit."""
    for parameter in net.parameters():
        if parameter.numel() > 1 and parameter.std() < 1e-6:
            parameter.data += 0.2 * torch.randn_like(parameter)
    for layer in net.modules():
        # First values so small that only biases and the epsilons of norms would be seen show nothing.
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data.normal_(std=gain * layer.in_features**-0.5)
        elif isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.normal_(std=(2 / layer.weight[0].numel()) ** 0.5)
    # Gates after sums that nothing normalizes, all open or shut, would let the last bit of a number decide the answer.
    for layer in net.modules():
        if isinstance(layer, timm.layers.SEModule):
            layer.fc1.weight.data *= 0.1
            layer.fc2.weight.data *= 0.1
    norms = [m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()
    with torch.no_grad():
        if norms:
            call(net, inputs)
        for norm in norms:
            deviation = norm.running_var.clamp(min=1e-2).sqrt()
            norm.running_mean += 0.05 * deviation * torch.randn_like(deviation)
            norm.running_var.copy_(deviation.square() * (0.9 + 0.2 * torch.rand_like(deviation)))
    net.eval()


def run(case: Case, folder: Path) -> dict:
    torch.manual_seed(zlib.crc32(case.name.encode()))
    net = case.make()
    inputs = case.inputs(case.options)
    disturb(net, inputs, case.call, case.gain)
    inputs = {name: value[:2] for name, value in inputs.items()}
    with torch.no_grad():
        single = case.call(net, inputs)
    tied = getattr(net, "_tied_weights_keys", None) or ()
    state = {name: value.contiguous().clone() for name, value in net.state_dict().items() if name not in tied}
    save_file(state, folder / "weights.safetensors")
    with torch.no_grad():
        outputs = case.call(net.double(), {name: v.double() if v.is_floating_point() else v for name, v in inputs.items()})
    own = max(float((single[name] - v).abs().max() / v.abs().max()) for name, v in outputs.items())
    tensors = {f"in.{name}": value for name, value in inputs.items()}
    tensors |= {f"out.{name}": value.float().contiguous() for name, value in outputs.items()}
    save_file(tensors, folder / "tensors.safetensors")
    given = json.dumps({"name": case.name, "options": case.options})
    found = subprocess.run(
        ["node", HERE / "architectures.mjs", str(folder), given], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        return {"name": case.name, "options": case.options, "failed": found.stderr.strip().splitlines()[-1:]}
    parameters = sum(p.numel() for p in net.parameters())
    peer = {"peerParameters": parameters, "peerError": own}
    return {"name": case.name, "options": case.options, **peer, **json.loads(found.stdout)}


def agrees(row: dict) -> bool:
    names = not row["missing"] and not row["unexpected"] and not row["mismatched"]
    return names and row["error"] <= TOLERANCE and row["spread"] >= SPREAD and row["parameters"] == row["peerParameters"]


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
        row["agrees"] = "failed" not in row and agrees(row)
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.output:
        versions = {name: version(name) for name in ("torch", "torchvision", "timm", "transformers")}
        options.output.write_text(json.dumps({"versions": versions, "nets": rows}, indent=1) + "\n")
    sys.exit(0 if rows and all(row["agrees"] for row in rows) else 1)


if __name__ == "__main__":
    main()
