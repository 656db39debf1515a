"""LoRA adapters in PEFT's form and, beside each, the GGUF that llama.cpp should be given: test/lora/fixtures/gguf/.

    python reference/gguf_adapters.py

`expected.gguf` is made from PEFT's live modules: their scale, their rank. `verify_gguf.py` shows with llama.cpp that it
is right, and that Graft writes the same bytes.
"""

import json
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from bases import seed_of
from gguf import GGUFWriter
from gguf_base import ARCHITECTURES, gguf_module, heads_of, pair_rows
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

warnings.simplefilter("ignore")

BASES = Path("reference/dumps/bases")
FOLDER = Path("test/lora/fixtures/gguf")
ALL = {"target_modules": "all-linear"}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]

# name -> base, what of LoraConfig is stated. No scale is 1, so that a missing alpha is seen; all adapt q or k.
CASES = {
    "llama": ("llama", {"r": 3, "lora_alpha": 7, **ALL}),
    "llama_rslora": ("llama", {"r": 2, "lora_alpha": 3, "use_rslora": True, "target_modules": ATTENTION}),
    "llama_patterns": (
        "llama",
        {
            "r": 2,
            "lora_alpha": 5,
            "use_rslora": True,
            "target_modules": [*ATTENTION, "down_proj"],
            "rank_pattern": {"k_proj": 4, r"layers\.1\.self_attn\.o_proj": 1},
            "alpha_pattern": {"v_proj": 1, "0.self_attn.q_proj": 9},
        },
    ),
    "llama_one_key_head": ("llama_bias", {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj", "gate_proj"]}),
    "llama_head": ("llama", {"r": 2, "lora_alpha": 5, "target_modules": ["lm_head", "q_proj"]}),
    "llama_embedding": ("llama", {"r": 2, "lora_alpha": 5, "target_modules": ["embed_tokens", "k_proj"]}),
    "mistral": ("mistral", {"r": 2, "lora_alpha": 5, **ALL}),
    "mistral_patterns": (
        "mistral",
        {"r": 3, "lora_alpha": 4, "target_modules": ATTENTION, "rank_pattern": {"q_proj": 1}, "alpha_pattern": {"k_proj": 11}},
    ),
    "qwen2": ("qwen2", {"r": 2, "lora_alpha": 5, **ALL, "alpha_pattern": {"up_proj": 1.5}}),
    "qwen2_rslora": ("qwen2", {"r": 3, "lora_alpha": 2, "use_rslora": True, "target_modules": ATTENTION}),
    "qwen3": ("qwen3", {"r": 2, "lora_alpha": 5, **ALL, "rank_pattern": {"k_proj": 5}}),
    "qwen3_rslora": ("qwen3", {"r": 2, "lora_alpha": 3, "use_rslora": True, "target_modules": ["q_proj", "k_proj"], "rank_pattern": {"q_proj": 4}}),
    "gpt2": ("gpt2", {"r": 2, "lora_alpha": 5, **ALL}),
    "gpt2_patterns": (
        "gpt2",
        {
            "r": 2,
            "lora_alpha": 3,
            "use_rslora": True,
            "target_modules": ["c_attn", "attn.c_proj", "c_fc"],
            "rank_pattern": {"c_attn": 3},
            "alpha_pattern": {"c_fc": 8},
        },
    ),
}  # fmt: skip


def open_base(base: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(BASES / base, dtype=torch.float32, attn_implementation="eager")


def make_adapter(name: str) -> None:
    base, lora = CASES[name]
    torch.manual_seed(seed_of(name))
    model = get_peft_model(open_base(base), LoraConfig(task_type="CAUSAL_LM", **lora))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key or "lora_embedding_A" in key:
                parameter.copy_(torch.randn(parameter.shape) * 0.15)
    config = model.peft_config["default"]
    config.base_model_name_or_path = base
    config.target_modules = sorted(config.target_modules)  # a set, which PEFT saves in no fixed order
    folder = FOLDER / name
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    (folder / "case.json").write_text(json.dumps({"base": base, "lora": lora}) + "\n", encoding="utf-8")
    write_expected(model, folder)


def write_expected(model: PeftModel, folder: Path) -> None:
    """alpha such that alpha / r is the scale of most modules; B takes what is left."""
    config = model.config
    layers = {
        key.removeprefix("base_model.model."): module for key, module in model.named_modules() if hasattr(module, "lora_A")
    }
    alphas = {key: module.scaling["default"] * module.r["default"] for key, module in layers.items()}
    stored = load_file(folder / "adapter_model.safetensors")
    modules = []
    for key in sorted(stored):
        module, half = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        if half.endswith("A"):
            modules.append((module, key, f"{key.removesuffix('.weight')[:-1]}B{'.weight' if key.endswith('.weight') else ''}"))
    common = Counter(round(alphas[module], 9) for module, _, _ in modules).most_common(1)[0][0]
    alpha = np.float32(next(value for value in alphas.values() if round(value, 9) == common))
    writer = GGUFWriter(folder / "expected.gguf", ARCHITECTURES[config.model_type])
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(alpha))
    for module, key_a, key_b in modules:
        a, b = stored[key_a].numpy(), stored[key_b].numpy()
        if round(alphas[module], 9) != common:
            b = (b.astype(np.float64) * (alphas[module] / float(alpha))).astype(np.float32)
        heads = heads_of(module, config)
        if heads is not None:
            b = pair_rows(b, heads)
        if "embedding" in key_a:
            a = np.ascontiguousarray(a.T)
        writer.add_tensor(f"{gguf_module(module)}.weight.lora_a", a)
        writer.add_tensor(f"{gguf_module(module)}.weight.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in CASES:
        make_adapter(name)


if __name__ == "__main__":
    main()
