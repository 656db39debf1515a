"""Adapters to merge, made by PEFT on the tiny bases: what verify_merged.py goes through."""

import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from bases import seed_of
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

warnings.simplefilter("ignore")

BASES = Path("reference/dumps/bases")
ALL = {"target_modules": "all-linear"}
Q_AND_V = {"target_modules": ["q_proj", "v_proj"]}

# name -> base, what of LoraConfig is stated
CASES = {
    "llama": ("llama", {"r": 3, "lora_alpha": 7, **ALL}),
    "llama_dora": ("llama", {"r": 3, "lora_alpha": 7, "use_dora": True, **ALL}),
    "llama_patterns": (
        "llama",
        {
            "r": 2,
            "lora_alpha": 5,
            "use_rslora": True,
            **ALL,
            "rank_pattern": {"k_proj": 4},
            "alpha_pattern": {"v_proj": 1},
        },
    ),
    "llama_biases": ("llama_bias", {"r": 2, "lora_alpha": 6, "bias": "all", **ALL}),
    "llama_lora_bias": ("llama_bias", {"r": 2, "lora_alpha": 6, "lora_bias": True, **ALL}),
    "llama_head_embedding": ("llama", {"r": 2, "lora_alpha": 5, "target_modules": ["lm_head", "embed_tokens", "q_proj"]}),
    "llama_whole": ("llama", {"r": 2, "lora_alpha": 5, **Q_AND_V, "modules_to_save": ["lm_head", "norm", "up_proj"]}),
    "llama_shards": ("llama_llama3", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "llama_linear": ("llama_linear", {"r": 2, "lora_alpha": 5, **ALL}),
    "llama_yarn": ("llama_yarn", {"r": 2, "lora_alpha": 5, **ALL}),
    "llama_bos": ("llama_bos", {"r": 2, "lora_alpha": 5, **ALL}),
    "tied_embedding": ("llama_tied", {"r": 2, "lora_alpha": 5, "target_modules": ["embed_tokens", "k_proj"]}),
    "tied_head": ("llama_tied", {"r": 2, "lora_alpha": 5, "target_modules": ["lm_head", "k_proj"]}),
    "tied_whole_head": ("llama_tied", {"r": 2, "lora_alpha": 5, **Q_AND_V, "modules_to_save": ["lm_head"]}),
    "tied_left": ("llama_tied", {"r": 2, "lora_alpha": 5, **ALL}),
    "tied_tokens": ("llama_tied", {"r": 2, "lora_alpha": 5, **Q_AND_V, "trainable_token_indices": [7, 0, 33]}),
    "kept_tied": ("llama_tied", {"r": 2, "lora_alpha": 5, "target_modules": ["embed_tokens", "lm_head", "k_proj"], "ensure_weight_tying": True}),
    "kept_tied_whole": ("qwen2", {"r": 2, "lora_alpha": 5, **Q_AND_V, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
    "whole_embedding": ("llama_tied", {"r": 2, "lora_alpha": 5, **Q_AND_V, "modules_to_save": ["embed_tokens"]}),
    "embedding_dora": ("llama", {"r": 2, "lora_alpha": 5, "use_dora": True, "target_modules": ["embed_tokens", "k_proj"]}),
    "mistral": ("mistral", {"r": 2, "lora_alpha": 5, **ALL}),
    "mistral_dora": ("mistral_defaults", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "qwen2_tied_dora": ("qwen2", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "qwen2_embedding": ("qwen2", {"r": 2, "lora_alpha": 5, "target_modules": ["embed_tokens", "q_proj"]}),
    "qwen2_yarn": ("qwen2_window", {"r": 2, "lora_alpha": 5, **ALL}),
    "qwen3": ("qwen3", {"r": 2, "lora_alpha": 5, **ALL, "modules_to_save": ["norm"]}),
    "qwen3_dora": ("qwen3_defaults", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "gpt2": ("gpt2", {"r": 2, "lora_alpha": 5, **ALL, "bias": "lora_only"}),
    "gpt2_dora": ("gpt2", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "gpt2_embeddings": ("gpt2", {"r": 2, "lora_alpha": 5, "target_modules": ["wte", "wpe", "c_attn"]}),
    "gpt2_hub": ("gpt2_hub", {"r": 2, "lora_alpha": 5, "lora_bias": True, **ALL}),
    "gpt2_hub_embedding": ("gpt2_hub", {"r": 2, "lora_alpha": 5, "target_modules": ["wte", "c_fc"]}),
    "gpt2_whole": ("gpt2_gelu", {"r": 2, "lora_alpha": 5, "target_modules": ["c_attn"], "modules_to_save": ["c_fc", "ln_f"]}),
    "llama_bf16": ("llama_bf16", {"r": 2, "lora_alpha": 5, **ALL}),
    "llama_bf16_dora": ("llama_bf16", {"r": 2, "lora_alpha": 5, "use_dora": True, **ALL}),
    "qwen2_bf16": ("qwen2_bf16", {"r": 2, "lora_alpha": 5, **ALL, "modules_to_save": ["lm_head"]}),
    "gpt2_f16": ("gpt2_f16", {"r": 2, "lora_alpha": 5, **ALL}),
}  # fmt: skip


def open_base(base: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(BASES / base, dtype=torch.float32, attn_implementation="eager")


def make_adapter(name: str, folder: Path) -> torch.nn.Module:
    """PEFT's model with everything that trains moved away from its start; its adapter is saved to `folder`."""
    base, lora = CASES[name]
    torch.manual_seed(seed_of(name))
    model = get_peft_model(open_base(base), LoraConfig(task_type="CAUSAL_LM", **lora))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if "lora_magnitude_vector" in key:
                parameter.mul_(1 + torch.randn(parameter.shape) * 0.2)
            elif "lora_" in key:
                parameter.copy_(torch.randn(parameter.shape) * 0.15)
            else:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    config = model.peft_config["default"]
    config.target_modules = sorted(config.target_modules)  # a set, which PEFT saves in no fixed order
    model.save_pretrained(folder)
    return model.eval()
