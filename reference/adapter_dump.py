"""Adapter folders as PEFT's save_pretrained writes them: test/lora/fixtures/adapters/.

Each folder also holds `case.json` (the config that was asked for, the model's modules) and
`base.safetensors` (the base model's head and adapted embedding, which PEFT copies into their adapters).
"""

import argparse
import json
import os
import shutil
import warnings
from pathlib import Path

# A base model's name makes PEFT look for its config on the hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from targets_dump import MODELS, describe
from transformers import AutoConfig, AutoModelForCausalLM

warnings.simplefilter("ignore")

FOLDER = Path("test/lora/fixtures/adapters")
CASES = {
    "llama": ("llama", {"r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}),
    "llama_patterns": (
        "llama",
        {
            "r": 3,
            "lora_alpha": 16,
            "lora_dropout": 0.05,
            "use_rslora": True,
            "target_modules": r".*\.[01]\..*(q|v|down)_proj",
            "exclude_modules": ["model.layers.0.self_attn.v_proj"],
            "rank_pattern": {"v_proj": 1, "down_proj": 2},
            "alpha_pattern": {r"layers\.1\..*": 2.5},
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": "modèles/tiny \u2603\U0001f600",
            "revision": "main",
        },
    ),
    "llama_saved": (
        "llama",
        {
            "r": 2,
            "target_modules": ["o_proj"],
            "layers_to_transform": [1],
            "layers_pattern": "layers",
            "modules_to_save": ["lm_head", "model.norm"],
            "init_lora_weights": "gaussian",
            "lora_dropout": 1e-5,
            "task_type": "CAUSAL_LM",
        },
    ),
    "llama_head": ("llama", {"r": 2, "target_modules": ["lm_head"], "task_type": "CAUSAL_LM"}),
    "gpt2": ("gpt2", {"r": 2, "lora_alpha": 3, "target_modules": ["c_attn"], "task_type": "CAUSAL_LM"}),
    "llama_embedding": ("llama", {"r": 2, "target_modules": ["embed_tokens", "q_proj"], "task_type": "CAUSAL_LM"}),
    "gpt2_embedding": ("gpt2", {"r": 2, "target_modules": ["wte", "wpe"], "task_type": "CAUSAL_LM"}),
    "llama_dora": ("llama", {"r": 2, "target_modules": ["k_proj", "down_proj"], "use_dora": True, "task_type": "CAUSAL_LM"}),
    "gpt2_dora": ("gpt2", {"r": 2, "target_modules": ["c_proj"], "use_dora": True, "bias": "lora_only", "task_type": "CAUSAL_LM"}),
    "llama_dora_embedding": ("llama", {"r": 2, "target_modules": ["embed_tokens"], "use_dora": True, "task_type": "CAUSAL_LM"}),
    "llama_tokens": ("llama", {"r": 2, "target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [3, 1], "embed_tokens": [7]}, "task_type": "CAUSAL_LM"}),
    "qwen3_tokens": ("qwen3", {"r": 2, "target_modules": ["v_proj", "lm_head"], "trainable_token_indices": [5, 0, 3], "task_type": "CAUSAL_LM"}),
    "gpt2_tokens": ("gpt2", {"r": 2, "target_modules": ["c_attn"], "trainable_token_indices": {"wte": [1], "wpe": [2, 0]}, "task_type": "CAUSAL_LM"}),
    "gpt2_whole_embeddings": ("gpt2", {"r": 2, "target_modules": ["c_proj"], "modules_to_save": ["wte", "wpe"], "task_type": "CAUSAL_LM"}),
    "qwen3_whole_tied": ("qwen3", {"r": 2, "target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True, "task_type": "CAUSAL_LM"}),
    "qwen3_head_tied": ("qwen3", {"r": 2, "target_modules": ["v_proj"], "modules_to_save": ["lm_head", "norm"], "ensure_weight_tying": True, "task_type": "CAUSAL_LM"}),
    "qwen3_lora_tied": ("qwen3", {"r": 2, "target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True, "task_type": "CAUSAL_LM"}),
    "qwen3_lora_tied_pattern": ("qwen3", {"r": 2, "use_dora": True, "target_modules": r".*(q_proj|lm_head)", "ensure_weight_tying": True, "task_type": "CAUSAL_LM"}),
    "gpt2_bias": ("gpt2", {"r": 2, "target_modules": ["c_attn"], "bias": "lora_only", "lora_bias": True, "task_type": "CAUSAL_LM"}),
    "gpt2_bias_all": ("gpt2", {"r": 2, "target_modules": ["c_fc"], "bias": "all", "task_type": "CAUSAL_LM"}),
    "llama_named": ("llama", {"r": 2, "target_modules": ["v_proj"], "task_type": "CAUSAL_LM"}),
    "llama_tables": ("llama", {"r": 2, "target_modules": ["v_proj"], "task_type": "CAUSAL_LM"}),
    "llama_bf16": (
        "llama",
        {"r": 2, "target_modules": ["v_proj"], "modules_to_save": ["model.norm"], "use_dora": True, "task_type": "CAUSAL_LM"},
    ),
    "gpt2_f16": ("gpt2", {"r": 2, "target_modules": ["c_fc"], "bias": "lora_only", "task_type": "CAUSAL_LM"}),
    "gpt2_all_linear": ("gpt2", {"r": 1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
}


# How some are made and saved otherwise than by default.
NAMES = {"llama_named": "mine"}
DTYPES = {"llama_bf16": torch.bfloat16, "gpt2_f16": torch.float16}
SAVED = {"llama_tables": {"save_embedding_layers": True}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    for name in parser.parse_args().only:
        model_type, case = CASES[name]
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        torch.manual_seed(len(name))
        small = MODELS[model_type] | ({"num_hidden_layers": 2} if model_type == "llama" else {})
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **small))
        model = model.to(DTYPES.get(name, torch.float32))
        modules = describe(model)
        adapter = NAMES.get(name, "default")
        tuned = get_peft_model(model, LoraConfig(**case), adapter, autocast_adapter_dtype=False)
        for key, parameter in tuned.named_parameters():
            # B starts at zero, which would hide a tensor written in the wrong place.
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter)
        # PEFT takes the name of the model it is given; these have none.
        tuned.peft_config[adapter].base_model_name_or_path = case.get("base_model_name_or_path")
        folder = FOLDER / name
        tuned.save_pretrained(folder, **SAVED.get(name, {}))
        (folder / "README.md").unlink()
        if adapter != "default":
            for file in (folder / adapter).iterdir():
                file.rename(folder / file.name)
            (folder / adapter).rmdir()
        head = model.get_output_embeddings()
        head = getattr(head, "base_layer", getattr(head, "original_module", head))
        base = {"lm_head.weight": head.weight.detach().clone()}
        table = model.get_input_embeddings()
        if model_type != "gpt2" and (hasattr(table, "base_layer") or name in SAVED):
            base["model.embed_tokens.weight"] = getattr(table, "base_layer", table).weight.detach().clone()
        save_file(base, folder / "base.safetensors")
        about = {"model_type": model_type, "config": case, "modules": modules}
        (folder / "case.json").write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()
