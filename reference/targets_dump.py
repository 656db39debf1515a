"""Which modules PEFT adapts, with which rank and scale, for many configs on three tiny models.

Writes test/lora/fixtures/targets.json: the modules of each model as PyTorch names them, and for every
config what PEFT made of it, or that it refused.
"""

import json
import random
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

warnings.simplefilter("ignore")

SMALL = {
    "vocab_size": 32,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
MODELS = {
    "llama": SMALL,
    "qwen3": SMALL | {"head_dim": 6, "num_hidden_layers": 2, "tie_word_embeddings": True},
    "gpt2": {"vocab_size": 32, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2},
}

ALL_LLAMA = [
    f"model.layers.{layer}.{name}"
    for layer in range(12)
    for name in ["self_attn.q_proj", "mlp.down_proj"]
]

# Of layers of language and vision, as Unsloth writes it.
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\."
    r"(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\.(?:(?:k_proj|v_proj|q_proj|o_proj|gate_proj|up_proj|down_proj)))"
)

CASES: dict[str, list[dict]] = {
    "llama": [
        {},
        {"r": 3, "lora_alpha": 5},
        {"r": 3, "lora_alpha": 5, "use_rslora": True},
        {"target_modules": "all-linear"},
        {"target_modules": "All-Linear", "exclude_modules": ["down_proj"]},
        {"target_modules": ["q_proj"], "layers_to_transform": 1},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 11]},
        {"target_modules": ["q_proj"], "layers_to_transform": []},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "lay.*"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
        {"target_modules": ["q_proj"], "layers_to_transform": [99]},
        {"target_modules": ["q_proj", "model.layers.5.mlp.up_proj"], "layers_to_transform": [1]},
        {"target_modules": ALL_LLAMA, "layers_to_transform": [1]},
        {"target_modules": ALL_LLAMA[:10], "layers_to_transform": [1]},
        {"target_modules": ALL_LLAMA},
        {"target_modules": ["self_attn.k_proj", "1.self_attn.v_proj", "nothing"]},
        {"target_modules": ["proj"]},
        {"target_modules": []},
        {"target_modules": ["lm_head", "o_proj"]},
        {"target_modules": ["self_attn"]},
        {"target_modules": ["norm"]},
        {"target_modules": r".*"},
        {"target_modules": r".*mlp\..*"},
        {"target_modules": r".*_proj"},
        {"target_modules": r".*\.(0|1)\..*(q|v)_proj"},
        {"target_modules": r"q_proj"},
        {"target_modules": r"model\.layers\.\d{2}\.self_attn\.(?P<which>[qk])_proj"},
        {"target_modules": r".*\.[^.]{,6}_proj"},
        {"target_modules": r".*q_proj\Z"},
        {"target_modules": r".*q_proj", "layers_to_transform": [0]},
        {"target_modules": ["q_proj"], "layers_pattern": "layers"},
        {"target_modules": ["q_proj", "k_proj"], "exclude_modules": r".*\.[3-9]\..*"},
        {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["model.layers.0.self_attn.q_proj", "k_proj"]},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"proj": 2, "q": 3, "self_attn.q_proj": 4}},
        {"target_modules": ["q_proj"], "rank_pattern": {r".*\.1\..*": 2, "q_proj": 3, "model.layers.2.self_attn.q_proj": 4}},
        {"target_modules": ["q_proj"], "rank_pattern": {"^model.layers.1.self_attn.q_proj": 2, r"\d+.self_attn.q_proj": 5}},
        {"target_modules": ["q_proj", "v_proj"], "alpha_pattern": {"q_proj|v_proj": 3.5}, "use_rslora": True},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"layers.1.self_attn.(q|v)_proj": 1}},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["model.norm"]},
        {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["mlp"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["q_proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["proj"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["layers"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["v_proj", "k_pro."]},
        {"target_modules": ["q_proj"], "modules_to_save": ["nothing"]},
        {"r": 100, "target_modules": ["k_proj"]},
        {"r": 0},
        {"r": -1},
        {"rank_pattern": {"q_proj": 0}},
    ],
    "qwen3": [
        {},
        {"target_modules": "all-linear"},
        {"target_modules": "all-linear", "modules_to_save": ["norm"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["q_norm"]},
        {"target_modules": ["lm_head"]},
        {"target_modules": ["q_norm"]},
        {"target_modules": UNSLOTH},
        {"use_rslora": None, "use_dora": None, "lora_bias": None, "fan_in_fan_out": None, "init_lora_weights": None},
        {"exclude_modules": [], "modules_to_save": [], "layers_pattern": [], "layers_to_transform": [], "target_parameters": []},
        {"layers_pattern": ""},
        {"lora_alpha": -4},
        {"target_modules": r"model\.layers\.1\..*_proj", "rank_pattern": {"down_proj": 4}, "alpha_pattern": {".*up_.*": 2}},
    ],
    "gpt2": [
        {},
        {"fan_in_fan_out": True},
        {"target_modules": "all-linear", "use_rslora": True},
        {"target_modules": ["c_proj"]},
        {"target_modules": ["mlp.c_proj"]},
        {"target_modules": ["attn.c_proj", "c_fc"], "layers_to_transform": [1]},
        {"target_modules": ["c_attn"], "layers_to_transform": [1], "layers_pattern": "h"},
        {"target_modules": ["c_attn", "lm_head"]},
        {"target_modules": ["c_attn"], "modules_to_save": ["ln_f", "ln_1"]},
        {"target_modules": ["c_attn"], "modules_to_save": ["lm_head", "c_proj"]},
        {"target_modules": ["attn"]},
        {"target_modules": r".*\.h\.0\.(attn|mlp)\.c_\w+"},
    ],
}


def random_cases(count: int) -> list[dict]:
    """Combinations of everything on llama, from a fixed seed."""
    rng = random.Random(7)
    targets = [
        ["q_proj", "v_proj"],
        ["proj", "o_proj"],
        "all-linear",
        r".*\.[0-4]\..*(gate|q)_proj",
        ALL_LLAMA,
        ["model.layers.3.mlp.gate_proj", "k_proj"],
        ["mlp.up_proj", "lm_head"],
    ]
    ranks = ["q_proj", r".*\.(1|2)\..*", "model.layers.3.mlp.gate_proj", "^model.layers.0.*", "proj", r"layers\.\d\.\w+\.up_proj"]
    cases = []
    for _ in range(count):
        case: dict = {"target_modules": rng.choice(targets), "r": rng.randint(1, 6), "lora_alpha": rng.randint(1, 20)}
        if rng.random() < 0.4:
            case["exclude_modules"] = rng.choice([["k_proj"], r".*\.2\..*", ["model.layers.0.self_attn.q_proj"]])
        if isinstance(case["target_modules"], list) and rng.random() < 0.5:
            case["layers_to_transform"] = rng.sample(range(13), rng.randint(1, 5))
            if rng.random() < 0.5:
                case["layers_pattern"] = rng.choice(["layers", ["layers", "h"], "l.*s"])
        for key in ["rank_pattern", "alpha_pattern"]:
            if rng.random() < 0.6:
                case[key] = {name: rng.randint(1, 9) for name in rng.sample(ranks, rng.randint(1, 4))}
        if rng.random() < 0.3:
            case["modules_to_save"] = rng.choice([["lm_head"], ["norm"], ["input_layernorm", "model.norm"]])
        case["use_rslora"] = rng.random() < 0.3
        cases.append(case)
    return cases


def kind_of(module: torch.nn.Module, is_head: bool) -> str | None:
    if isinstance(module, torch.nn.Linear):
        return "head" if is_head else "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    if isinstance(module, torch.nn.Embedding):
        return "embedding"
    if any(True for _ in module.children()) or isinstance(module, torch.nn.ModuleList):
        return None
    return "norm" if any(True for _ in module.parameters()) else "other"


def describe(model: torch.nn.Module) -> list[dict]:
    modules = []
    for name, module in model.named_modules():
        kind = kind_of(module, module is model.get_output_embeddings())
        if not name or kind is None:
            continue
        parameters = {key: list(value.shape) for key, value in module.named_parameters()}
        shape = parameters.get("weight", [0, 0])
        width = {"linear": shape[::-1], "head": shape[::-1], "norm": shape * 2}.get(kind, shape)
        described = {"name": name, "kind": kind, "inFeatures": width[0], "outFeatures": width[1]}
        if kind == "head" and model.config.tie_word_embeddings:
            described["tiedTo"] = next(n for n, m in model.named_modules() if m is model.get_input_embeddings())
        modules.append(described | {"parameters": parameters})
    return modules


def outcome(model_type: str, model: torch.nn.Module, case: dict) -> dict:
    import copy

    try:
        config = LoraConfig(**case)
        tuned = get_peft_model(copy.deepcopy(model), config).base_model.model
    except (ValueError, TypeError) as refusal:
        return {"refused": type(refusal).__name__}
    adapted = {
        name: [module.r["default"], module.scaling["default"]]
        for name, module in tuned.named_modules()
        if isinstance(module, LoraLayer)
    }
    saved = sorted(
        {
            f"{name}.{inner}".removesuffix(".") if (inner := key.rpartition(".")[0]) else name
            for name, module in tuned.named_modules()
            if isinstance(module, ModulesToSaveWrapper)
            for key, _ in module.original_module.named_parameters()
        }
    )
    targets = config.target_modules
    return {
        "lora": adapted,
        "saved": saved,
        "target_modules": targets if isinstance(targets, str) else sorted(targets),
        "fan_in_fan_out": config.fan_in_fan_out,
    }


def main() -> None:
    models = {}
    cases = []
    for model_type, small in MODELS.items():
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **small))
        models[model_type] = describe(model)
        for case in CASES[model_type] + (random_cases(60) if model_type == "llama" else []):
            cases.append({"model": model_type, "config": case, **outcome(model_type, model, case)})
    path = Path("test/lora/fixtures/targets.json")
    lines = [json.dumps(case) for case in cases]
    modules = ",\n".join(f'"{name}": [\n' + ",\n".join(map(json.dumps, listed)) + "]" for name, listed in models.items())
    path.write_text('{"models": {\n' + modules + '},\n"cases": [\n' + ",\n".join(lines) + "]}\n")
    print(len(cases), "cases,", sum("refused" in case for case in cases), "refused")


if __name__ == "__main__":
    main()
