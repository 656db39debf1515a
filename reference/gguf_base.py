"""A tiny checkpoint of dumps/bases/ as an F32 GGUF, laid out as llama.cpp's convert_hf_to_gguf.py lays it out.

That converter knows a tokenizer by a hash of what it does, and these tokenizers it has never seen; so the file is
written here, with gguf-py. That it is right is seen by llama.cpp's logits without any adapter.
"""

import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from transformers import AutoConfig, AutoModelForCausalLM

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2"}

# Transformers' name of a module inside a layer -> llama.cpp's.
LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
}
OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "lm_head": "output",
}


def gguf_module(name: str) -> str:
    """`model.layers.3.self_attn.q_proj` -> `blk.3.attn_q`."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER[rest]}"


def pair_rows(rows: np.ndarray, heads: int) -> np.ndarray:
    """convert_hf_to_gguf.py's LlamaModel.permute: llama.cpp rotates neighbours, Transformers rotates halves."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def heads_of(module: str, config: AutoConfig) -> int | None:
    """Of how many heads the rows are moved into pairs, if they are."""
    if ARCHITECTURES[config.model_type] != "llama":
        return None
    if module.endswith("q_proj"):
        return config.num_attention_heads
    return config.num_key_value_heads if module.endswith("k_proj") else None


def add_vocabulary(writer: GGUFWriter, folder: Path, size: int) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    by_id = {id_: token for token, id_ in tokenizer["model"]["vocab"].items()}
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    by_id |= special
    tokens = [by_id.get(id_, f"[PAD{id_}]") for id_ in range(size)]
    types = [
        TokenType.CONTROL if id_ in special else TokenType.NORMAL if id_ in by_id else TokenType.UNUSED
        for id_ in range(size)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    eos = next(iter(special))
    writer.add_bos_token_id(eos)
    writer.add_eos_token_id(eos)
    writer.add_add_bos_token(False)


def add_sizes(writer: GGUFWriter, config: AutoConfig) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)


def write_base(folder: Path, out: Path) -> None:
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    writer = GGUFWriter(out, ARCHITECTURES[config.model_type])
    add_sizes(writer, config)
    add_vocabulary(writer, folder, config.vocab_size)
    for key, tensor in model.state_dict().items():
        module, part = key.rsplit(".", 1)
        if module == "lm_head" and config.tie_word_embeddings:
            continue
        values = tensor.numpy()
        if config.model_type == "gpt2" and ".c_" in key and part == "weight":
            values = np.ascontiguousarray(values.T)  # Conv1D stores [in, out]
        heads = heads_of(module, config)
        if heads is not None:
            values = pair_rows(values, heads)
        writer.add_tensor(f"{gguf_module(module)}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
