"""Writes PEFT's gradients of the first optimizer step, before clipping, of some runs, tensor by tensor.

A loss that is off says that something is wrong; a named gradient says where.
"""

import warnings

import torch
from cases import find_case
from oracle import DUMPS, backward_step, epoch_of, gradients_of, model_of, rows_of
from safetensors.torch import save_file

GRADIENT_CASES = ("llama_all_linear", "gpt2_all_linear", "llama_odd_whole", "qwen3_norms")


def write_gradients(case: dict) -> None:
    model = model_of(case)
    first_step = epoch_of(rows_of(case), case["run"]["train"])[0]
    loss, targets = backward_step(model, first_step)
    save_file(
        {key: gradient.contiguous() for key, gradient in gradients_of(model).items()},
        DUMPS / "runs" / case["name"] / "gradients.safetensors",
        metadata={"format": "pt", "loss": repr(loss), "targets": str(targets)},
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in GRADIENT_CASES:
        write_gradients(find_case(name))
