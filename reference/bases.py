"""Tiny random checkpoints as Hugging Face directories, under dumps/bases/.

Each is a whole checkpoint (config, weights, tokenizer) small enough to commit. Weights are drawn so
that nothing is degenerate: logits spread over a few units, norm gains differ from 1 and from each
other, biases are not zero. An error in any of them moves the loss.
"""

import copy
import json
import shutil
import zlib
from pathlib import Path

import torch
from corpus import EOS, make_tokenizer
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 180,
    "hidden_size": 32,
    "intermediate_size": 52,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": False,
}
MISTRAL = LLAMA | {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
QWEN2 = LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
QWEN3 = LLAMA | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 173,
    "n_positions": 64,
    "n_embd": 36,
    "n_layer": 2,
    "n_head": 3,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}

# An epsilon of 1e-5 can be misread without a trace in the loss; some bases have a large one.
#
# name -> config, and how the directory differs from Transformers' own habit:
#   absent    keys left out of config.json, so that the family's default must be known
#   dialect4  config.json as Transformers 4 wrote it; `rope_scaling` replaces the scaling's keys
#   dtype     of the stored weights          shards  number of safetensors
#   hub_names GPT-2 as on the hub: no `transformer.` prefix, with attn.bias buffers
#   bos       the tokenizer's post-processor puts this first
#   tokens    the tokenizer's size, where the model's vocabulary is padded beyond it
BASES: dict[str, dict] = {
    "llama": {"config": LLAMA},
    "llama_tied": {
        "config": LLAMA
        | {
            "hidden_size": 40,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "intermediate_size": 74,
            "vocab_size": 151,
            "num_hidden_layers": 3,
            "tie_word_embeddings": True,
        }
    },
    "llama_bias": {
        "config": LLAMA
        | {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1, "rms_norm_eps": 1e-3}
    },
    "llama_linear": {
        "config": LLAMA | {"rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.5}},
        "dialect4": True,
        "rope_scaling": {"type": "linear", "factor": 2.5},
    },
    "llama_llama3": {
        "config": LLAMA
        | {
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        "shards": 3,
    },
    "llama_yarn": {
        "config": LLAMA
        | {
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 500.0,
                "factor": 4.0,
                "beta_fast": 4.0,
                "original_max_position_embeddings": 64,
            },
        }
    },
    "llama_odd": {
        "config": LLAMA
        | {
            "hidden_size": 30,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "intermediate_size": 41,
            "vocab_size": 131,
        }
    },
    "llama_bos": {"config": LLAMA | {"head_dim": 16, "vocab_size": 191}, "bos": "<s>", "tokens": 180},
    "llama_bf16": {"config": LLAMA, "dtype": "bfloat16"},
    "mistral": {"config": MISTRAL | {"sliding_window": 6, "intermediate_size": 54}},
    # Eight key/value heads and a window of 4096 are what Mistral means by silence.
    "mistral_defaults": {
        "config": MISTRAL | {"num_attention_heads": 8, "num_key_value_heads": 8, "sliding_window": 4096},
        "absent": ["num_key_value_heads", "sliding_window", "rope_parameters", "tie_word_embeddings", "head_dim"],
    },
    "qwen2": {"config": QWEN2 | {"tie_word_embeddings": True, "vocab_size": 167, "intermediate_size": 74}},
    "qwen2_bf16": {"config": QWEN2 | {"num_key_value_heads": 4}, "dtype": "bfloat16"},
    "qwen2_window": {
        "config": QWEN2
        | {
            "num_hidden_layers": 3,
            "max_position_embeddings": 128,
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        "absent": ["layer_types"],
        "dialect4": True,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    },
    "qwen3": {"config": QWEN3 | {"head_dim": 12, "vocab_size": 153, "rms_norm_eps": 2e-3}},
    "qwen3_window": {
        "config": QWEN3
        | {
            "head_dim": 8,
            "num_hidden_layers": 3,
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        }
    },
    # A head of 128 is what Qwen3 means by silence.
    "qwen3_defaults": {
        "config": QWEN3 | {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128, "hidden_size": 26},
        "absent": ["head_dim", "rope_parameters", "layer_types", "use_sliding_window", "max_window_layers"],
    },
    "gpt2": {"config": GPT2},
    "gpt2_gelu": {
        "config": GPT2
        | {
            "activation_function": "gelu",
            "n_inner": 90,
            "n_embd": 32,
            "n_head": 2,
            "layer_norm_epsilon": 1e-3,
            "tie_word_embeddings": False,
        }
    },
    "gpt2_hub": {
        "config": GPT2 | {"n_embd": 32, "n_head": 4, "vocab_size": 263},
        "absent": ["n_inner", "tie_word_embeddings"],
        "dialect4": True,
        "hub_names": True,
        "every_byte": True,
    },
    # Room for two hundred tokens; otherwise gpt2, whose adapters fit.
    "gpt2_long": {"config": GPT2 | {"n_positions": 256}},
    "gpt2_f16": {"config": GPT2 | {"n_embd": 38, "n_head": 2, "vocab_size": 181}, "dtype": "float16"},
}


def seed_of(name: str) -> int:
    return zlib.crc32(name.encode())


@torch.no_grad()
def draw_weights(model: torch.nn.Module, name: str) -> None:
    generator = torch.Generator().manual_seed(seed_of(name))

    def normal(like: torch.Tensor, std: float) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator) * std

    tied = model.config.tie_word_embeddings
    for key, parameter in model.named_parameters():
        if "norm" in key or ".ln_" in key:
            parameter.copy_(normal(parameter, 0.2) + (1.0 if key.endswith("weight") else 0.0))
        elif key.endswith("bias"):
            parameter.copy_(normal(parameter, 0.2))
        elif "embed_tokens" in key or "wte" in key:
            # A tied embedding is the head too: this std gives logits of about one unit.
            parameter.copy_(normal(parameter, 0.2 if tied else 0.5))
        elif "wpe" in key:
            parameter.copy_(normal(parameter, 0.15))
        else:
            fan_in = parameter.shape[0] if "c_" in key else parameter.shape[1]
            # The two gelus differ by 5e-4 at most, near ±2: wide inputs and loud outputs make it show in the loss.
            gain = 2.5 if ".mlp.c_" in key else 1.2
            parameter.copy_(normal(parameter, gain / fan_in**0.5))


def state_to_store(model: torch.nn.Module, base: dict) -> dict[str, torch.Tensor]:
    dtype = getattr(torch, base.get("dtype", "float32"))
    state = {}
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        state[key] = tensor.to(dtype).contiguous()
    if not base.get("hub_names"):
        return state
    positions = model.config.n_positions
    causal = torch.tril(torch.ones(positions, positions)).view(1, 1, positions, positions)
    for layer in range(model.config.n_layer):
        state[f"transformer.h.{layer}.attn.bias"] = causal.clone()
    return {key.removeprefix("transformer."): tensor for key, tensor in state.items()}


def save_weights(state: dict[str, torch.Tensor], folder: Path, shards: int) -> None:
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    keys = sorted(state)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        # Every third key, so that a layer's tensors lie in several files.
        part = {key: state[key] for key in keys[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(tensor.nbytes for tensor in state.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def config_to_store(base: dict, eos: int, bos: int | None) -> dict:
    stored = copy.deepcopy(base["config"])
    stored |= {"eos_token_id": eos, "bos_token_id": eos if bos is None else bos}
    dtype = base.get("dtype", "float32")
    if base.get("dialect4"):
        stored |= {"torch_dtype": dtype, "transformers_version": "4.46.0"}
        rope = stored.pop("rope_parameters", None)
        if rope is not None:
            stored |= {"rope_theta": rope["rope_theta"], "rope_scaling": base["rope_scaling"]}
    else:
        stored |= {"dtype": dtype, "transformers_version": "5.23.0"}
    for key in base.get("absent", []):
        stored.pop(key, None)
    return stored


def make_base(name: str, bases: Path) -> None:
    base = BASES[name]
    folder = bases / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    config = base["config"]
    bos = base.get("bos")
    tokenizer = make_tokenizer(
        base.get("tokens", config["vocab_size"]), bos=bos, every_byte=base.get("every_byte", False)
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, bos_token=bos or EOS)
    fast.save_pretrained(folder)
    if base.get("dialect4"):
        words = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        words.pop("backend")
        write_json(folder / "tokenizer_config.json", words | {"tokenizer_class": "PreTrainedTokenizerFast"})
    eos_id = tokenizer.token_to_id(EOS)
    bos_id = None if bos is None else tokenizer.token_to_id(bos)

    write_json(folder / "config.json", config_to_store(base, eos_id, bos_id))
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": bos_id if bos_id is not None else eos_id, "eos_token_id": eos_id},
    )
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    draw_weights(model, name)
    save_weights(state_to_store(model, base), folder, base.get("shards", 1))

    # What is read back must be what was drawn: a misspelt key would quietly be drawn anew.
    again, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    unexpected = [key for key in loading["unexpected_keys"] if not key.endswith("attn.bias")]
    if loading["missing_keys"] or unexpected:
        raise SystemExit(f"{name}: missing {loading['missing_keys']}, unexpected {unexpected}")
    meant, read = AutoConfig.for_model(**config, bos_token_id=0, eos_token_id=0).to_dict(), again.config.to_dict()
    for key in (set(config) - {"architectures"}) & set(meant):
        found = read[key]
        if isinstance(found, dict):
            # Transformers adds fields of its own to the rotary parameters.
            found = {inner: found.get(inner) for inner in meant[key]}
        if found != meant[key]:
            raise SystemExit(f"{name}: {key} is read as {found}, meant {meant[key]}")
    dtype = getattr(torch, base.get("dtype", "float32"))
    for key, tensor in again.state_dict().items():
        if not torch.equal(tensor, model.state_dict()[key].to(dtype).float()):
            raise SystemExit(f"{name}: {key} came back changed")


def make_bases(bases: Path) -> None:
    for name in BASES:
        make_base(name, bases)
        size = sum(file.stat().st_size for file in (bases / name).iterdir())
        print(f"{name:18s} {size / 1024:6.0f} KiB")


if __name__ == "__main__":
    from corpus import write_data

    here = Path("reference/dumps")
    write_data(here / "data")
    make_bases(here / "bases")
