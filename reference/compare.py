"""How far two runs are apart, in the words of the parity proof."""

import math

import torch

KINDS = ("A", "B", "bias", "magnitude", "whole")


def kind_of(key: str) -> str:
    if key.endswith((".lora_B.bias", ".base_layer.bias")):
        return "bias"
    if key.endswith(".lora_magnitude_vector"):
        return "magnitude"
    if ".lora_A." in key or ".lora_embedding_A" in key:
        return "A"
    if ".lora_B." in key or ".lora_embedding_B" in key:
        return "B"
    return "whole"


def worst_relative(found: list[float], wanted: list[float]) -> float:
    """NaN counts as infinitely far: `max` would pass over it."""
    errors = [abs(f - w) / max(abs(w), 1e-30) for f, w in zip(found, wanted, strict=True)]
    return max(error if math.isfinite(error) else math.inf for error in errors)


def change_errors(
    initial: dict[str, torch.Tensor], found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]
) -> dict[str, float]:
    """|found − wanted| / |wanted − initial| over all tensors of a kind; inf where only one of them moved."""
    off = dict.fromkeys(KINDS, 0.0)
    moved = dict.fromkeys(KINDS, 0.0)
    for key, start in initial.items():
        kind = kind_of(key)
        off[kind] += (found[key].double() - wanted[key].double()).pow(2).sum().item()
        moved[kind] += (wanted[key].double() - start.double()).pow(2).sum().item()
    present = {kind_of(key) for key in initial}
    return {
        kind: (off[kind] / moved[kind]) ** 0.5 if moved[kind] > 0 else (0.0 if off[kind] == 0 else float("inf"))
        for kind in KINDS
        if kind in present
    }


def metric_errors(found: list[dict], wanted: list[dict]) -> dict[str, float]:
    if [line["tokens"] for line in found] != [line["tokens"] for line in wanted]:
        raise SystemExit("the runs did not train the same number of targets in every step")
    return {
        name: worst_relative([line[name] for line in found], [line[name] for line in wanted])
        for name in ("loss", "grad_norm", "lr")
    }
