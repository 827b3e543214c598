"""Groups of channels that Torch-Pruning finds on torchvision's nets, beside Minnow's on the same nets as ONNX. One JSON line a net.

    python -P torch_pruning.py --models $MINNOW_REAL/models/arch [--only TEXT] [--output results/torch_pruning.jsonl]

Without -P the script would be taken for the package of its name. Needs torch, torchvision and torch-pruning, and the build (`npm run build`). Both sides leave the classes alone and then cut half of
every group, unrounded. `one` and `two` are the shares of the parameters in groups along at least one axis and along two; `parameters`
and `macs` are what is left after the cut; `runs` tells whether the cut net still computes finite numbers.
"""

import argparse
import json
import subprocess
import warnings
from pathlib import Path

import torch
import torch_pruning as tp
import torchvision.models as tv

HERE = Path(__file__).parent
NETS = (
    "convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 mnasnet1_0 mobilenet_v2 "
    "mobilenet_v3_large mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 "
    "shufflenet_v2_x1_0 squeezenet1_1 swin_t vit_b_16"
).split()


def classifier(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The last layer with a thousand outputs: its outputs are the classes."""
    last = [m for m in model.modules() if getattr(m, "out_features", getattr(m, "out_channels", 0)) == 1000]
    return last[-1:]


def heads(model: torch.nn.Module) -> dict:
    """What Torch-Pruning has to be told of attention: its number of heads."""
    return {m: m.num_heads for m in model.modules() if isinstance(m, torch.nn.MultiheadAttention)}


def numbers(module: torch.nn.Module | torch.nn.Parameter) -> int:
    """Parameters of a layer's own; Torch-Pruning treats those outside of layers as layers."""
    if isinstance(module, torch.nn.Parameter):
        return module.numel()
    return sum(p.numel() for p in module.parameters(recurse=False))


def coverage(model: torch.nn.Module, x: torch.Tensor) -> tuple[int, float, float]:
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    groups = list(graph.get_all_groups(ignored_layers=classifier(model), root_module_types=[torch.nn.Conv2d, torch.nn.Linear]))
    along: dict[torch.nn.Module, set[bool]] = {}
    for group in groups:
        for dependency, _ in group:
            module, prune = dependency.target.module, dependency.handler
            if numbers(module) > 0:
                along.setdefault(module, set()).add(graph.is_out_channel_pruning_fn(prune))
    depthwise = lambda m: getattr(m, "groups", 1) > 1 and m.groups == getattr(m, "in_channels", 0)
    total = sum(p.numel() for p in model.parameters())
    own = {m: numbers(m) for m in along}
    both = {m for m, sides in along.items() if len(sides) == 2 and not depthwise(m) and hasattr(m, "weight") and m.weight.dim() > 1}
    return len(groups), sum(own.values()) / total, sum(own[m] for m in both) / total


def cut(model: torch.nn.Module, x: torch.Tensor) -> dict:
    macs, parameters = tp.utils.count_ops_and_params(model, x)
    pruner = tp.pruner.BasePruner(
        model, x, importance=tp.importance.RandomImportance(), pruning_ratio=0.5, ignored_layers=classifier(model), num_heads=heads(model)
    )
    pruner.step()
    with torch.no_grad():
        runs = bool(torch.isfinite(model(x)).all())
    left_macs, left = tp.utils.count_ops_and_params(model, x)
    return {"parameters": left / parameters, "macs": left_macs / macs, "runs": runs}


def peer(name: str) -> dict:
    torch.manual_seed(0)
    make = lambda: getattr(tv, name)(weights=None, **({"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {})).eval()
    x = torch.randn(1, 3, 299, 299) if name == "inception_v3" else torch.randn(1, 3, 224, 224)
    found: dict = {}
    try:
        found["groups"], found["one"], found["two"] = coverage(make(), x)
        found |= cut(make(), x)
    except Exception as error:  # noqa: BLE001 what breaks is the result
        found |= {"runs": False, "error": f"{type(error).__name__}: {error}"[:200]}
    return found


def ours(path: Path) -> dict:
    printed = subprocess.run(["node", HERE / "torch_pruning.mjs", path], capture_output=True, text=True, check=True)
    return json.loads(printed.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    lines = []
    for name in NETS:
        if given.only in name:
            line = {"net": name, "torchPruning": peer(name), "minnow": ours(given.models / f"{name}.onnx.gz")}
            lines.append(json.dumps(line))
            print(lines[-1], flush=True)
    if given.output:
        given.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
