"""Whether adapters that PEFT wrote give the same outputs in Minnow, and Minnow's the same in PEFT. One JSON line a case.

    python lora.py [--output results/lora.json]

Needs torch, transformers, peft, onnx and safetensors, and the build (`npm run build`). A net with random weights is exported without
adapters; PEFT gives it adapters with random numbers and saves them. lora.mjs loads them into the exported model: as branches,
merged, and as inputs, and writes them again; PEFT loads those. `beside`, `merged`, `inputs` and `back` are the largest differences of
outputs from PEFT's, over the largest of these, at most 1e-5; `moved` is how far the adapter moves them.
"""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
TOLERANCE = 1e-5


def llama() -> nn.Module:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4}
    config = hf.LlamaConfig(**sizes, intermediate_size=172, vocab_size=512)
    config._attn_implementation = "eager"
    return hf.LlamaForCausalLM(config)


def bert() -> nn.Module:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = hf.BertConfig(**sizes, vocab_size=512, num_labels=3)
    config._attn_implementation = "eager"
    return hf.BertForSequenceClassification(config)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.point = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 5)

    def forward(self, input_ids):
        return self.head(self.point(self.stem(input_ids).relu()).relu().mean((2, 3)))


def tokens() -> torch.Tensor:
    return torch.randint(1, 512, (2, 12))


NETS = {
    "llama": (llama, tokens, ["q_proj", "v_proj", "down_proj"], ".*layers.1.*(k_proj|up_proj)"),
    "bert": (bert, tokens, ["query", "dense"], ".*layer.0.*(key|value)"),
    "convolutions": (Convolutions, lambda: torch.randn(2, 3, 16, 16), ["stem", "point", "head"], "(stem|head)"),
}
KINDS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "query": 2, "stem": 2}, "alpha_pattern": {"down_proj": 3, "head": 3}},
    "expression": {"expression": True},
}


class Scores(nn.Module):
    """A net that takes one tensor and gives one."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, given):
        scores = self.net(input_ids=given, **({} if isinstance(self.net, Convolutions) else {"return_dict": True}))
        return scores if torch.is_tensor(scores) else scores.logits


def export(net: nn.Module, given: torch.Tensor, exporter: str, path: Path) -> None:
    common = {"input_names": ["given"], "output_names": ["scores"]}
    if exporter == "dynamo":
        torch.onnx.export(Scores(net), (given,), dynamo=True, verbose=False, **common).save(path)
    else:
        torch.onnx.export(Scores(net), (given,), path, dynamo=False, opset_version=18, **common)


def run(name: str, kind: str, exporter: str, folder: Path) -> dict:
    make, inputs, targets, expression = NETS[name]
    torch.manual_seed(len(name) * 100 + len(kind))
    net, given = make().eval(), inputs()
    options = dict(KINDS[kind])
    modules = expression if options.pop("expression", False) else targets
    export(copy.deepcopy(net), given, exporter, folder / "model.onnx")
    save_file({k: v.contiguous().clone() for k, v in net.state_dict().items() if v.is_floating_point()}, folder / "base.safetensors")
    peft = get_peft_model(copy.deepcopy(net), LoraConfig(r=4, lora_alpha=6, target_modules=modules, **options)).eval()
    for key, parameter in peft.named_parameters():
        if "lora_" in key:
            parameter.data += 0.2 * torch.randn_like(parameter)
    peft.save_pretrained(folder / "adapter")
    with torch.no_grad():
        wanted = Scores(peft.base_model.model)(given) if name != "convolutions" else peft.base_model.model(given)
        plain = Scores(net)(given)
    save_file({"given": given, "wanted": wanted.contiguous(), "plain": plain.contiguous()}, folder / "tensors.safetensors")
    (folder / "back").mkdir()
    found = subprocess.run(["node", HERE / "lora.mjs", str(folder)], capture_output=True, text=True, check=False)
    row = {"net": name, "kind": kind, "exporter": exporter}
    if found.returncode != 0:
        return {**row, "failed": found.stderr.strip()[-500:]}
    again = PeftModel.from_pretrained(copy.deepcopy(net), folder / "back").eval()
    with torch.no_grad():
        back = Scores(again.base_model.model)(given) if name != "convolutions" else again.base_model.model(given)
    largest = float(wanted.abs().max())
    moved = float((plain - wanted).abs().max()) / largest
    return {**row, **json.loads(found.stdout), "back": float((back - wanted).abs().max()) / largest, "moved": moved}


def agrees(row: dict) -> bool:
    errors = [row.get(part, 1.0) for part in ("beside", "merged", "inputs", "none", "back")]
    return max(errors) <= TOLERANCE and row["moved"] >= 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="nets whose name has this in it")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name in NETS:
        for kind in KINDS:
            for exporter in ("script", "dynamo"):
                if options.only not in name:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    row = run(name, kind, exporter, Path(folder))
                row["agrees"] = agrees(row)
                rows.append(row)
                print(json.dumps(row), flush=True)
    if options.output:
        versions = {name: version(name) for name in ("torch", "transformers", "peft")}
        options.output.write_text(json.dumps({"versions": versions, "cases": rows}, indent=1) + "\n")
    sys.exit(0 if rows and all(row["agrees"] for row in rows) else 1)


if __name__ == "__main__":
    main()
