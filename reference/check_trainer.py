"""Holds the oracle's plain loop against Transformers' own Trainer, on padded batches.

    python reference/check_trainer.py [NAME …]

Exit code 1 where a loss, a learning rate, a gradient norm or a trained tensor is off by more than rounding.
"""

import json
import sys
import tempfile
import warnings

import torch
from cases import find_case
from compare import change_errors, worst_relative
from oracle import DUMPS, adapter_state, model_of, rows_of
from safetensors.torch import load_file
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments
from transformers.utils import logging

# Accumulation, clipping and none, epochs, every schedule, decay beside biases and norms, Conv1D.
NAMES = [
    "llama_all_linear", "llama_fractional_epochs", "llama_tied_head", "llama_norms", "llama_bias_rslora",
    "llama_bias_whole", "llama_pattern", "mistral_window", "qwen3_norms", "gpt2_all_linear", "gpt2_whole",
]  # fmt: skip
ALLOWED = 5e-6


class FileOrderTrainer(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps: list[dict] = []
        # The Trainer counts shifted labels, but not for GPT-2, whose loss it does not find by name: there it
        # divides by one too many for each row. The mean over trained tokens is what is meant.
        self._loss_shifts_labels = True

    def _get_train_sampler(self, *_args, **_kwargs):
        return SequentialSampler(self.train_dataset)

    def log(self, logs, *_args, **_kwargs):
        if "loss" in logs:
            self.steps.append(logs)


def padded(rows: list[dict]) -> dict[str, torch.Tensor]:
    longest = max(len(row["ids"]) for row in rows)

    def pad(value: int, own=None) -> torch.Tensor:
        filled = [[own] * len(row["ids"]) if own is not None else row["ids"] for row in rows]
        return torch.tensor([row + [value] * (longest - len(row)) for row in filled])

    return {"input_ids": pad(0), "attention_mask": pad(0, own=1), "labels": pad(-100)}


def errors_of(name: str) -> dict[str, float]:
    case = find_case(name)
    stated = {key: value for key, value in case["run"]["train"].items() if key not in ("shuffle", "max_length")}
    if "warmup_ratio" in stated:
        stated["warmup_steps"] = stated.pop("warmup_ratio")
    model = model_of(case)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the Trainer switches the model to training
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, use_cpu=True, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True,
            remove_unused_columns=False, optim="adamw_torch", **stated,
        )  # fmt: skip
        rows = [{"ids": ids} for ids in rows_of(case)]
        trainer = FileOrderTrainer(model=model, args=arguments, train_dataset=rows, data_collator=padded)
        trainer.train()
    run = DUMPS / "runs" / name
    wanted = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    initial, final = (load_file(run / part / "adapter_model.safetensors") for part in ("initial", "final"))
    errors = {
        ours: worst_relative([step[theirs] for step in trainer.steps], [line[ours] for line in wanted])
        for ours, theirs in (("loss", "loss"), ("lr", "learning_rate"), ("grad_norm", "grad_norm"))
    }
    return errors | change_errors(initial, adapter_state(model), final)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    off = False
    for name in sys.argv[1:] or NAMES:
        errors = errors_of(name)
        print(f"{name:24s} " + " ".join(f"{key} {value:.1e}" for key, value in errors.items()), flush=True)
        off |= not all(error <= ALLOWED for error in errors.values())
    if off:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
