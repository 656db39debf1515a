"""Rotary tables of Transformers for test/models: inverse frequencies whole, cos and sin at some positions."""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

FIXTURE = Path(__file__).parent.parent / "test" / "models" / "fixtures" / "rotary.json"
POSITIONS = [1, 7, 100, 2000]

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
CASES = [
    (64, {"rope_type": "default", "rope_theta": 10000.0}),
    (128, {"rope_type": "default", "rope_theta": 1000000.0}),
    (80, {"rope_type": "default", "rope_theta": 10000000}),
    (10, {"rope_type": "default", "rope_theta": 500000.0}),
    (64, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}),
    (96, {"rope_type": "linear", "rope_theta": 5000.0, "factor": 3}),
    (64, LLAMA3 | {"rope_theta": 500000.0}),
    (128, LLAMA3 | {"rope_theta": 500000.0, "factor": 32.0}),
    (16, LLAMA3 | {"rope_theta": 10000.0, "original_max_position_embeddings": 32}),
    (128, YARN | {"rope_theta": 1000000.0}),
    (64, YARN | {"rope_theta": 10000.0, "factor": 1.5, "truncate": False}),
    (64, YARN | {"rope_theta": 10000.0, "mscale": 0.707, "mscale_all_dim": 1.2, "beta_fast": 16, "beta_slow": 2}),
    (16, YARN | {"rope_theta": 500.0, "beta_fast": 4.0, "original_max_position_embeddings": 64}),
    (64, YARN | {"rope_theta": 10000.0, "attention_factor": 1.25, "beta_slow": 0}),
    (64, YARN | {"rope_theta": 10000.0, "factor": None}),
    # Both ends of the ramp fall on feature 0.
    (8, YARN | {"rope_theta": 10000.0, "original_max_position_embeddings": 1}),
]


def main() -> None:
    dumps = []
    for head_dim, parameters in CASES:
        config = LlamaConfig(
            hidden_size=head_dim * 2,
            num_attention_heads=2,
            head_dim=head_dim,
            max_position_embeddings=131072,
            rope_parameters=dict(parameters),
        )
        rotary = LlamaRotaryEmbedding(config)
        cos, sin = rotary(torch.zeros(1), torch.tensor([POSITIONS]))
        half = head_dim // 2
        dumps.append(
            {
                "head_dim": head_dim,
                "rope_parameters": parameters,
                "inv_freq": rotary.inv_freq.tolist(),
                "cos": cos[0, :, :half].tolist(),
                "sin": sin[0, :, :half].tolist(),
            }
        )
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(dump) for dump in dumps)
    FIXTURE.write_text(f'{{"positions": {json.dumps(POSITIONS)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
