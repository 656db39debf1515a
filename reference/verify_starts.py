"""Holds the start that Graft took from a model's weights, as `pissa` or `olora`, against PyTorch's SVD or QR in float64.

    python reference/verify_starts.py MODEL_DIR ADAPTER_DIR pissa|olora

The adapter is one that Graft trained and exported, for any number of steps: its second half is the start, A' = [A; A₀] and
B' = [B | −B₀]. What the start adds, s·B₀·A₀, has to be PyTorch's within 1e-5 of the largest weight of each matrix, and with
pissa the norms of A₀'s rows and of B₀'s columns have to give the singular values within 1e-5 of themselves. Exit code 1 where
one is off.
"""

import argparse
from pathlib import Path

import torch
from peft import PeftConfig
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging
from verifying import end

TOLERANCE = 1e-5


def errors_of(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, init: str, scale: float) -> list[float]:
    """Of the product, relative to the largest weight; with pissa of the singular values, each relative to itself."""
    r = len(a)
    if init == "olora":
        q, upper = torch.linalg.qr(weight)
        wanted = scale * q[:, :r] @ upper[:r]
    else:
        u, values, vh = torch.linalg.svd(weight, full_matrices=False)
        wanted = u[:, :r] * values[:r] @ vh[:r]
    errors = [(scale * b @ a - wanted).abs().max() / weight.abs().max()]
    if init == "pissa":
        found = torch.stack([scale * a.square().sum(dim=1), scale * b.square().sum(dim=0)])
        errors.append(((found - values[:r]).abs() / values[:r]).max())
    return [error.item() for error in errors]


def told(errors: list[float]) -> str:
    kinds = ["product", "singular values"][: len(errors)]
    return ", ".join(f"{kind} off by {error:.1e}" for kind, error in zip(kinds, errors, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("adapter_dir", type=Path)
    parser.add_argument("init", choices=["pissa", "olora"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    config = PeftConfig.from_pretrained(args.adapter_dir)
    r = config.r // 2
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    model = AutoModelForCausalLM.from_pretrained(args.model_dir, dtype=torch.float32)
    tensors = load_file(args.adapter_dir / "adapter_model.safetensors")
    results, worst = {}, []
    for key in [key for key in tensors if key.endswith(".lora_A.weight")]:
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        a, b = tensors[key][r:].double(), -tensors[key.replace("lora_A", "lora_B")][:, r:].double()
        weight = model.get_submodule(name).weight.data.double()
        errors = errors_of(weight, a, b, args.init, scale)
        worst = [max(pair) for pair in zip(worst, errors, strict=True)] if worst else errors
        # Written so that NaN fails.
        results[name] = all(error <= TOLERANCE for error in errors)
        if not results[name]:
            print(f"{name} {list(weight.shape)}: {told(errors)}", flush=True)
    print(told(worst))
    end(results)


if __name__ == "__main__":
    main()
