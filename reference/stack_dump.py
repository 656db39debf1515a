"""What adapters make of a base together: test/train/fixtures/stacks.json.

Plain LoRAs are added up by PEFT itself (`add_weighted_adapter` with `combination_type="cat"`). PEFT knows no sum of
others, so each is merged into a base of its own, and a base is run whose tensors are W + Σ weight·(W′ − W).
"""

import json
import warnings
from pathlib import Path

import torch
from oracle import DUMPS
from peft import PeftModel
from transformers import AutoModelForCausalLM

IDS = [5, 9, 17, 3, 44, 9]

# How they are added, the base, and runs whose final adapters are added, with their weights.
STACKS = [
    ("cat", "llama", [("llama_all_linear", 0.7), ("llama_rank_pattern", 1.5)]),
    ("cat", "gpt2", [("gpt2_all_linear", 0.5), ("gpt2_random_b", 1.2), ("gpt2_defaults", 2.0)]),
    ("cat", "qwen3", [("qwen3_all_linear", 1.0), ("qwen3_orthogonal", 0.3)]),
    ("merged", "llama", [("llama_dora", 1.0), ("llama_all_linear", 0.6)]),
    ("merged", "llama", [("llama_untied_head", 0.5), ("llama_norms", 2.0), ("llama_lm_head_lora", 1.0)]),
    ("merged", "llama", [("llama_embedding", 1.3), ("llama_tokens", 0.8), ("llama_whole_down", 0.5)]),
    ("merged", "qwen2", [("qwen2_dora_bias", 1.0), ("qwen2_layers", 1.5), ("qwen2_whole_k", 0.7)]),
    ("merged", "gpt2", [("gpt2_bias_all", 0.5), ("gpt2_tokens", 1.5), ("gpt2_all_linear", 1.0)]),
    ("merged", "llama", [("llama_pissa", 0.7), ("llama_all_linear", 1.0)]),
    ("merged", "mistral", [("mistral_olora", 1.5), ("mistral_rslora", 0.5)]),
    ("merged", "qwen3", [("qwen3_pissa_dora", 1.0), ("qwen3_all_linear", 0.6)]),
    ("merged", "gpt2_gelu", [("gpt2_lora_bias", 1.5), ("gpt2_whole", 0.5), ("gpt2_gelu", 1.0)]),
]


def load(base: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(DUMPS / "bases" / base, dtype=torch.float32).eval()


def final(run: str) -> Path:
    return DUMPS / "runs" / run / "final"


def added_by_peft(base: str, adapters: list[tuple[str, float]]) -> torch.nn.Module:
    (first, _), *others = adapters
    model = PeftModel.from_pretrained(load(base), final(first), adapter_name=first)
    for run, _ in others:
        model.load_adapter(final(run), adapter_name=run)
    names, weights = zip(*adapters, strict=True)
    model.add_weighted_adapter(list(names), list(weights), "all", combination_type="cat")
    model.set_adapter("all")
    return model


def added_by_hand(base: str, adapters: list[tuple[str, float]]) -> torch.nn.Module:
    model = load(base)
    # The head as a tensor of its own: an adapter may change it and leave the embedding that it is tied to.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    before = {name: tensor.double() for name, tensor in model.named_parameters()}
    after = {name: tensor.clone() for name, tensor in before.items()}
    for run, weight in adapters:
        merged = PeftModel.from_pretrained(load(base), final(run)).merge_and_unload()
        found = dict(merged.named_parameters(remove_duplicate=False))
        for name in before:
            after[name] += weight * (found[name].double() - before[name])
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(after[name])
    return model


def record(how: str, base: str, adapters: list[tuple[str, float]]) -> dict:
    model = (added_by_peft if how == "cat" else added_by_hand)(base, adapters).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
        base_logits = load(base)(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    moved = ((logits - base_logits).abs().max() / logits.abs().max()).item()
    print(how, base, [run for run, _ in adapters], f"moved {moved:.2f}")
    adapters_json = [{"run": run, "weight": weight} for run, weight in adapters]
    rows = [[float(f"{value:.8g}") for value in logits[at].tolist()] for at in (2, len(IDS) - 1)]
    return {"how": how, "base": base, "adapters": adapters_json, "ids": IDS, "rows": [2, len(IDS) - 1], "logits": rows}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    lines = ",\n".join(json.dumps(record(*stack)) for stack in STACKS)
    Path("test/train/fixtures/stacks.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
