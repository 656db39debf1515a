"""Runs of PEFT with settings drawn by chance, for Graft to equal: what nobody thought of combining.

    python reference/random_runs.py SEED COUNT OUT_DIR

Each run is a folder as under dumps/runs, on the bases that are there; where PEFT refuses the settings it holds
`refused.txt`. The same seed draws the same runs. `test/train/randomRuns.ts` holds Graft against them.
"""

import argparse
import random
import traceback
import warnings
from pathlib import Path

import torch
from bases import BASES, write_json
from cases import case
from parity import write_run
from transformers.utils import logging

# What names there are, by skeleton, and patterns of them.
LLAMA = {
    "linear": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "deep": ["self_attn.q_proj", "layers.1.mlp.up_proj", "model.layers.0.self_attn.v_proj", "1.mlp.down_proj"],
    "tables": ["embed_tokens", "model.embed_tokens"],
    "saved": ["norm", "model.norm", "input_layernorm", "layers.1.post_attention_layernorm", "layers.0.mlp", "self_attn", "tokens", "up_proj"],
    "patterns": [r".*layers\.[01]\.self_attn\.[qkv]_proj", r".*(gate|up)_proj", r"model\.layers\.\d+\.(mlp\.down|self_attn\.o)_proj",
                 r".*\.(q_proj|v_proj)", r"(.*\.)?embed_tokens|.*\.v_proj", r"lm_head|.*0\.self_attn\.k_proj", ".*proj"],
    "keys": ["^model.layers.0.self_attn.q_proj", "mlp.*", "[qk]_proj", r"layers\.\d\.self_attn\.(v|o)_proj"],
    "excluded": [r".*layers\.0\..*", r".*\.mlp\..*", r".*k_proj", "lm_head", ["embed_tokens"]],
    "layers": ["layers", ["layers"], "h", "lay.*s", []],
    "tensors": [r"model\.norm\.weight", r".*layers\.0\.mlp\.down_proj\.weight", r".*_layernorm\.weight",
                r"model\.embed_tokens\.weight", r".*layers\.1\.self_attn\.o_proj\..*"],
    "groups": [r".*layers\.0\..*", ".*embed.*"],
}  # fmt: skip
GPT2 = {
    "linear": ["c_attn", "c_fc", "c_proj"],
    "deep": ["attn.c_proj", "mlp.c_proj", "h.1.attn.c_attn", "transformer.h.0.mlp.c_fc"],
    "tables": ["wte", "wpe", "transformer.wte"],
    "saved": ["ln_1", "ln_2", "ln_f", "h.0.ln_1", "h.1.mlp", "attn", "0.attn.c_attn", "c_fc"],
    "patterns": [r".*h\.[01]\.attn\.c_attn", r".*\.mlp\.(c_fc|c_proj)", r"transformer\.h\.\d+\.(attn|mlp)\.c_proj", r".*wte|.*c_fc",
                 r"lm_head|.*wpe|.*0\.mlp\.c_proj"],
    "keys": ["^transformer.h.0.attn.c_attn", "mlp.*", "c_(fc|proj)", r"h\.\d\.attn\.c_proj"],
    "excluded": [r".*h\.0\..*", r".*\.mlp\..*", r".*attn\.c_proj", "lm_head", ["wte"]],
    "layers": ["h", ["h"], "layers", "h.*", []],
    "tensors": [r"transformer\.ln_f\.weight", r".*h\.0\.mlp\.c_proj\.weight", r".*ln_[12]\.bias", r".*c_attn\.bias",
                r"transformer\.wte\.weight", r"transformer\.wpe\.weight"],
    "groups": [r".*h\.0\..*", ".*wte.*"],
}  # fmt: skip
EMPTY = [{"exclude_modules": []}, {"modules_to_save": []}, {"trainable_token_indices": []}, {"trainable_token_indices": {}},
         {"rank_pattern": {}}, {"layers_pattern": []}, {"layers_to_transform": []}, {"target_modules": []}]  # fmt: skip
STARTS = [False, True, "gaussian", "orthogonal", "pissa", "olora"]
GROUPS = [".*lora_A.*", r".*lora_(embedding_)?B.*", ".*"]


class Drawing:
    """Draws the settings of one run."""

    def __init__(self, seed: int, index: int):
        self.random = random.Random(f"{seed} {index}")
        self.name = f"random_{seed}_{index}"
        self.base = self.random.choice(sorted(set(BASES) - {"gpt2_long"}))
        self.names = GPT2 if self.base.startswith("gpt2") else LLAMA
        config = BASES[self.base]["config"]
        self.vocabulary = config["vocab_size"]
        self.tied = config.get("tie_word_embeddings", self.names is GPT2)

    def some(self, things: list, most: int) -> list:
        return self.random.sample(things, self.random.randint(1, min(most, len(things))))

    def happens(self, share: float) -> bool:
        return self.random.random() < share

    def targets(self) -> str | list[str] | None:
        kind = self.random.choices(["default", "all-linear", "list", "pattern"], [1, 2, 7, 2])[0]
        if kind == "default":
            return None
        if kind == "all-linear":
            return kind
        if kind == "pattern":
            return self.random.choice(self.names["patterns"])
        names = self.some(self.names["linear"] + self.names["deep"][:2] + self.some(self.names["deep"], 1), 4)
        names += self.some(self.names["tables"], 2) if self.happens(0.4 if self.tied else 0.25) else []
        return names + (["lm_head"] if self.happens(0.15) else [])

    def tokens(self) -> list[int]:
        return self.random.sample(range(min(self.vocabulary, 64 if self.names is GPT2 else 1000)), self.random.randint(1, 5))

    def token_rows(self) -> list[int] | dict[str, list[int]]:
        if self.happens(0.5):
            return self.tokens()
        modules = self.some([*self.names["tables"], "lm_head"], 2)
        same = self.tokens() if self.happens(0.4) else None
        return {module: same or self.tokens() for module in modules}

    def patterns(self, values: list) -> dict:
        """Sorted: PEFT saves keys so, and what it reads again would be another model where the order matters."""
        names = self.names
        keys = [*names["linear"], *names["deep"], *names["tables"], *names["keys"], names["patterns"][0], ".*", "lm_head"]
        return {key: self.random.choice(values) for key in sorted(self.some(keys, 3))}

    def lora(self) -> dict:
        r = self.random.choice([1, 2, 3, 4, 4, 6, 8, 8, 12, 20])
        lora = {"r": r, "lora_alpha": self.random.choice([1, 2, 4, 6, 16, 0.5]), "target_modules": self.targets(), "task_type": "CAUSAL_LM"}
        names = self.names
        if self.happens(0.3):
            lora["use_rslora"] = True
        if self.happens(0.3):
            lora["use_dora"] = True
        if self.happens(0.4):
            lora["bias"] = self.random.choice(["all", "lora_only"])
        if self.happens(0.15) and ("use_dora" not in lora or self.happens(0.1)):
            lora["lora_bias"] = True
        if self.happens(0.5):
            starts = [False, True] if "lora_bias" in lora and self.happens(0.9) else STARTS
            lora["init_lora_weights"] = self.random.choice(starts)
        if self.happens(0.2):
            kinds = [self.some(names["linear"], 1), self.some(names["deep"], 2), self.random.choice(names["excluded"])]
            lora["exclude_modules"] = self.random.choice(kinds)
        if self.happens(0.3) and (isinstance(lora["target_modules"], list) or self.happens(0.1)):
            lora["layers_to_transform"] = self.random.choice([0, 1, [0], [1], [0, 1], [1, 7], []])
            if self.happens(0.4):
                lora["layers_pattern"] = self.random.choice(names["layers"])
        if self.happens(0.3):
            lora["rank_pattern"] = self.patterns([1, 2, 5, 8])
        if self.happens(0.3):
            lora["alpha_pattern"] = self.patterns([1, 3, 8, 2.5])
        if self.happens(0.25):
            lora["trainable_token_indices"] = self.token_rows()
        if self.happens(0.3):
            lora["modules_to_save"] = self.some([*names["saved"], *names["tables"], "lm_head"], 2)
        if self.happens(0.5 if self.tied else 0.1):
            lora["ensure_weight_tying"] = True
        if self.happens(0.1):
            lora |= self.random.choice(EMPTY)
        return {key: value for key, value in lora.items() if value is not None}

    def group(self) -> dict:
        rare = [*self.names["groups"], r".*\.bias", ".*lora_magnitude_vector", r".*lm_head\..*"]
        group = {"params": self.random.choice(rare if self.happens(0.3) else GROUPS)}
        if self.happens(0.7):
            group["lr"] = self.random.choice([0.0, 1e-3, 5e-3])
        if self.happens(0.5):
            group["weight_decay"] = self.random.choice([0.0, 0.3])
        return group

    def train(self) -> dict:
        train = {
            "max_steps": 10,
            "learning_rate": self.random.choice([5e-4, 1e-3, 3e-3]),
            "per_device_train_batch_size": self.random.randint(1, 4),
            "gradient_accumulation_steps": self.random.choice([1, 1, 1, 2, 3]),
            "lr_scheduler_type": self.random.choice(["linear", "cosine", "constant", "constant_with_warmup"]),
            "max_length": self.random.choice([3, 16, 48, 64]),
            # Gradients that are zero but for rounding would otherwise become whole steps.
            "adam_epsilon": self.random.choice([1e-4, 1e-4, 1e-3, 1e-6]),
        }
        if self.happens(0.2):
            train |= {"max_steps": None, "num_train_epochs": self.random.choice([1, 1.4, 2])}
        if self.happens(0.5):
            train |= self.random.choice([{"warmup_steps": 3}, {"warmup_steps": 0.25}, {"warmup_ratio": 0.15}])
        if self.happens(0.5):
            train["max_grad_norm"] = self.random.choice([0, 0.05, 0.5])
        if self.happens(0.5):
            train["weight_decay"] = self.random.choice([0.01, 0.3])
        if self.happens(0.2):
            train |= {"adam_beta1": self.random.choice([0.0, 0.7]), "adam_beta2": self.random.choice([0.9, 0.99])}
        if self.happens(0.2):
            train["loraplus_lr_ratio"] = self.random.choice([2, 0.5, 8])
            if self.happens(0.6):
                train["loraplus_lr_embedding"] = self.random.choice([1e-3, 4e-3])
        if self.happens(0.2):
            train["param_groups"] = [self.group() for _ in range(self.random.randint(1, 3))]
        if self.happens(0.2):
            config = BASES[self.base]["config"]
            of_attention = self.base.startswith("qwen2") or config.get("attention_bias")
            more = ([r".*\.q_proj\.bias"] if of_attention else []) + ([] if self.tied else [r"lm_head\.weight"])
            train["requires_grad"] = self.some(self.names["tensors"] + more, 2)
        if self.happens(0.2):
            train["gradient_checkpointing"] = True
        return train

    def case(self) -> dict:
        data = self.random.choice(["mixed", "short", "lonely", "long" if self.names is LLAMA else "short"])
        start = {"b": self.random.choice(["random", "zero"]), "perturb": self.happens(0.5)}
        return case(self.name, self.base, data, "Drawn by chance", self.lora(), self.train(), **start)


def decompose_exactly() -> None:
    """Graft decomposes in float64. In f32 the starts of pissa and olora are off by more than the runs' tolerances allow."""
    for name in ("svd", "qr"):
        exact = getattr(torch.linalg, name)

        def rounded(weight, exact=exact, **options):
            parts = exact(weight.double(), **options)
            return type(parts)([part.to(weight.dtype) for part in parts])

        setattr(torch.linalg, name, rounded)


def arguments(about: str) -> argparse.Namespace:
    """SEED COUNT OUT_DIR; what is drawn by chance warns of much that is of no account."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    return parser.parse_args()


def main() -> None:
    given = arguments(__doc__)
    decompose_exactly()
    for index in range(given.count):
        drawn = Drawing(given.seed, index).case()
        folder = given.out / drawn["name"]
        try:
            write_run(drawn, given.out)
        except Exception as refusal:
            print(f"{drawn['name']:24s} refused: {type(refusal).__name__}: {str(refusal)[:150]}", flush=True)
            (folder / "refused.txt").write_text(traceback.format_exc())
            described = {key: drawn[key] for key in ("name", "base", "data", "about", "core")}
            write_json(folder / "case.json", described)


if __name__ == "__main__":
    main()
