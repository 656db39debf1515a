"""What Transformers and PEFT answer greedily: test/train/fixtures/generation.json.

The prompts are chosen so that the two best scores are never close: then every implementation has to give the same
tokens, and a test can ask for all of them.
"""

import json
import warnings
from pathlib import Path

import torch
from oracle import DUMPS
from peft import PeftModel
from transformers import AutoModelForCausalLM

# Base, and the run whose final adapter is added to it.
MODELS = [
    ("llama", "llama_all_linear"),
    ("mistral", "mistral_window"),
    ("qwen2", "qwen2_layers"),
    ("qwen3", "qwen3_all_linear"),
    ("gpt2_long", "gpt2_all_linear"),
]
NEW_TOKENS = 200
PENALISED_TOKENS = 60
PENALTY = 1.3
# The two best scores are at least so far apart.
SMALLEST_GAP = 1e-3


def greedy(model: torch.nn.Module, prompt: list[int], count: int, penalty: float) -> tuple[list[int], float]:
    """The answer, and how close its two best scores came."""
    ids = torch.tensor([prompt])
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=count,
        do_sample=False,
        repetition_penalty=penalty,
        # Nothing ends an answer before it is long enough.
        eos_token_id=None,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    best = torch.stack(output.scores)[:, 0].topk(2).values
    return output.sequences[0, len(prompt) :].tolist(), (best[:, 0] - best[:, 1]).min().item()


def record(base: str, run: str) -> dict:
    model = AutoModelForCausalLM.from_pretrained(DUMPS / "bases" / base, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    model = PeftModel.from_pretrained(model, DUMPS / "runs" / run / "final").eval()
    generator = torch.Generator().manual_seed(1)
    for _ in range(500):
        prompt = torch.randint(10, 120, (5,), generator=generator).tolist()
        tokens, gap = greedy(model, prompt, NEW_TOKENS, 1.0)
        penalised, penalised_gap = greedy(model, prompt, PENALISED_TOKENS, PENALTY)
        # An answer that goes round in small circles shows little.
        if min(gap, penalised_gap) > SMALLEST_GAP and len(set(tokens)) > 12 and penalised != tokens[:PENALISED_TOKENS]:
            return {
                "base": base,
                "run": run,
                "prompt": prompt,
                "gap": min(gap, penalised_gap),
                "tokens": tokens,
                "penalty": PENALTY,
                "penalised": penalised,
            }
    raise SystemExit(f"{base}: no prompt keeps the two best scores apart")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    records = [record(base, run) for base, run in MODELS]
    for entry in records:
        print(entry["base"], f"gap {entry['gap']:.1e}", len(set(entry["tokens"])), "different tokens")
    lines = ",\n".join(json.dumps(entry) for entry in records)
    Path("test/train/fixtures/generation.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
