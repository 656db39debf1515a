"""What Transformers makes of config.json files, for test/models: read off the modules it builds, not its words."""

import copy
import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

FIXTURE = Path(__file__).parent.parent / "test" / "models" / "fixtures" / "configs.json"

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "vocab_size": 90}
SMALL_GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 3, "vocab_size": 90}
WINDOWED = {"use_sliding_window": True, "sliding_window": 5}

CASES = {
    **{f"{family}, nothing said": {"model_type": family} for family in ["llama", "mistral", "qwen2", "qwen3", "gpt2"]},
    "llama, biases": SMALL | {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama, all null": SMALL | {"model_type": "llama", "num_key_value_heads": None, "head_dim": None, "pad_token_id": None},
    "llama, own head size": SMALL | {"model_type": "llama", "head_dim": 12, "num_key_value_heads": 2},
    "llama, dialect 4": SMALL
    | {"model_type": "llama", "rope_theta": 5000.0, "rope_scaling": None, "torch_dtype": "bfloat16"},
    "llama, linear in dialect 4": SMALL
    | {"model_type": "llama", "rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "llama, both dialects": SMALL
    | {
        "model_type": "llama",
        "rope_theta": 7.0,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 9.0},
        "rope_parameters": {"rope_type": "default", "rope_theta": 11.0},
    },
    "llama, a window that means nothing": SMALL | {"model_type": "llama", "sliding_window": 3},
    "llama, several ends, dropout, tied": SMALL
    | {"model_type": "llama", "eos_token_id": [5, 7], "attention_dropout": 0.1, "tie_word_embeddings": True},
    "llama, llama3": SMALL
    | {
        "model_type": "llama",
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "llama, yarn with its original length outside": SMALL
    | {
        "model_type": "llama",
        "original_max_position_embeddings": 128,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    },
    "llama, yarn without its original length": SMALL
    | {"model_type": "llama", "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 100.0}},
    "mistral, no window": SMALL | {"model_type": "mistral", "sliding_window": None, "num_key_value_heads": 2},
    "mistral, a window": SMALL | {"model_type": "mistral", "sliding_window": 6, "num_key_value_heads": 4},
    "mistral, bias that means nothing": SMALL
    | {"model_type": "mistral", "attention_bias": True, "num_key_value_heads": 4, "head_dim": 10},
    "qwen2, window off": SMALL | {"model_type": "qwen2", "num_key_value_heads": 2, "sliding_window": 5},
    "qwen2, window on the last layers": SMALL
    | WINDOWED
    | {"model_type": "qwen2", "num_key_value_heads": 2, "max_window_layers": 1},
    "qwen2, window on every layer": SMALL
    | WINDOWED
    | {"model_type": "qwen2", "num_key_value_heads": None, "max_window_layers": 0},
    "qwen2, own head size": SMALL | {"model_type": "qwen2", "num_key_value_heads": 1, "head_dim": 6},
    "qwen3, layer types": SMALL
    | WINDOWED
    | {
        "model_type": "qwen3",
        "num_key_value_heads": 2,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "max_window_layers": 0,
    },
    "qwen3, bias": SMALL | {"model_type": "qwen3", "num_key_value_heads": 2, "attention_bias": True, "head_dim": 8},
    "gpt2, inner size, exact gelu, untied": SMALL_GPT2
    | {"n_inner": 50, "activation_function": "gelu", "tie_word_embeddings": False, "n_positions": 33},
    "gpt2, newer names win": SMALL_GPT2 | {"hidden_size": 36, "num_attention_heads": 2, "max_position_embeddings": 20},
    "gpt2, scale by layer": SMALL_GPT2 | {"scale_attn_by_inverse_layer_idx": True, "n_inner": None},
    "gpt2, no scale, no dropout": SMALL_GPT2
    | {"scale_attn_weights": False, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    **{
        f"gpt2, {name}": SMALL_GPT2 | {"activation_function": name}
        for name in ["gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python", "gelu_python_tanh"]
    },
}

ACTIVATIONS = {
    "SiLUActivation": "silu",
    "SiLU": "silu",
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu_new",
    "FastGELUActivation": "gelu_new",
    "AccurateGELUActivation": "gelu_new",
    "GELUTanh": "gelu_new",
}


def window_of(config, layer: int, sees: list[torch.Tensor]) -> int | None:
    """How many keys the last query of a long row sees, as the mask says."""
    seen = int(sees[layer].sum())
    return None if seen == sees[layer].shape[-1] else seen


def masks(config, length: int) -> list[torch.Tensor]:
    """Per layer the last row of the mask that the model's forward pass builds."""
    from transformers import masking_utils

    shared = dict(
        config=config,
        inputs_embeds=torch.zeros(1, length, 1),
        attention_mask=None,
        past_key_values=None,
        position_ids=torch.arange(length)[None],
    )
    config._attn_implementation = "eager"
    full = masking_utils.create_causal_mask(**shared)[0, 0, -1] == 0
    if config.model_type in ("llama", "gpt2"):
        kinds = ["full_attention"] * config.num_hidden_layers
    elif config.model_type == "mistral":
        kind = "full_attention" if config.sliding_window is None else "sliding_attention"
        kinds = [kind] * config.num_hidden_layers
    else:
        kinds = config.layer_types
    if "sliding_attention" in kinds:
        sliding = masking_utils.create_sliding_window_causal_mask(**shared)[0, 0, -1] == 0
    return [full if kind == "full_attention" else sliding for kind in kinds]


def read(case: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(case))
        config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    length = 5000 if getattr(config, "sliding_window", None) == 4096 else 60
    sees = masks(config, length)
    eos = config.eos_token_id
    result = {
        "modelType": config.model_type,
        "vocabSize": model.get_input_embeddings().weight.shape[0],
        "hiddenSize": model.get_input_embeddings().weight.shape[1],
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "maxPositions": config.max_position_embeddings,
        "tied": config.tie_word_embeddings,
        "slidingWindow": [window_of(config, layer, sees) for layer in range(config.num_hidden_layers)],
        "storedDtype": None if config.dtype is None else str(config.dtype).removeprefix("torch."),
        "bosTokenId": config.bos_token_id,
        "eosTokenIds": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "padTokenId": config.pad_token_id,
    }
    if config.model_type == "gpt2":
        block = model.transformer.h[0]
        attention = [layer.attn for layer in model.transformer.h]
        dropouts = {"embd_pdrop": model.transformer.drop.p}
        dropouts |= {"attn_pdrop": attention[0].attn_dropout.p, "resid_pdrop": attention[0].resid_dropout.p}
        return result | {
            "intermediateSize": block.mlp.c_fc.weight.shape[1],
            "keyValueHeads": config.num_attention_heads,
            "headDim": attention[0].head_dim,
            "attentionScale": [layer.scaling for layer in attention],
            "normKind": "layer",
            "normEps": block.ln_1.eps,
            "activation": ACTIVATIONS[type(block.mlp.act).__name__],
            "mlpKind": "plain",
            "qkvBias": attention[0].c_attn.bias is not None,
            "outputBias": attention[0].c_proj.bias is not None,
            "mlpBias": block.mlp.c_fc.bias is not None,
            "qkNorm": False,
            "rotary": None,
            "dropouts": [name for name, rate in dropouts.items() if rate > 0],
        }
    block = model.model.layers[0]
    attention = [layer.self_attn for layer in model.model.layers]
    with torch.device("cpu"):
        rotary = type(model.model.rotary_emb)(config)
    return result | {
        "intermediateSize": block.mlp.gate_proj.weight.shape[0],
        "keyValueHeads": attention[0].k_proj.weight.shape[0] // attention[0].head_dim,
        "headDim": attention[0].head_dim,
        "attentionScale": [layer.scaling for layer in attention],
        "normKind": "rms",
        "normEps": block.input_layernorm.variance_epsilon,
        "activation": ACTIVATIONS[type(block.mlp.act_fn).__name__],
        "mlpKind": "gated",
        "qkvBias": attention[0].q_proj.bias is not None,
        "outputBias": attention[0].o_proj.bias is not None,
        "mlpBias": block.mlp.gate_proj.bias is not None,
        "qkNorm": hasattr(attention[0], "q_norm"),
        "rotary": {
            "type": rotary.rope_type,
            "inv_freq": rotary.inv_freq.tolist(),
            "attention_scaling": rotary.attention_scaling,
        },
        "dropouts": ["attention_dropout"] if attention[0].attention_dropout > 0 else [],
    }


def main() -> None:
    cases = [{"name": name, "config": case, "read": read(case)} for name, case in CASES.items()]
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
