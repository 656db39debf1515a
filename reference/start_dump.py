"""Starts that PEFT takes from a weight, of matrices that both sides can make: test/lora/fixtures/starts.json.

    python reference/start_dump.py

Each matrix is a formula over a hash of the index, exact in f32. A record has the singular values and a sample of what
PEFT's first A and B add, s·B·A; PEFT's f32 is held against float64 before anything is written. `verify_starts.py` takes the
weights of a real model.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

SAMPLES = 200


def noise(count: int, seed: int) -> np.ndarray:
    """uint32 from a counter (lowbias32 of Chris Wellons' hash-prospector)."""
    x = (np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)).astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def uniform(rows: int, columns: int, seed: int) -> np.ndarray:
    """In [-1, 1), multiples of 2⁻²³."""
    return ((noise(rows * columns, seed) >> np.uint32(8)) * 2.0**-23 - 1).reshape(rows, columns)


def matrix_of(kind: str, rows: int, columns: int, seed: int) -> np.ndarray:
    drawn = uniform(rows, columns, seed)
    row, column = np.arange(rows)[:, None], np.arange(columns)[None, :]
    if kind == "uniform":
        return drawn
    if kind == "falling":  # singular values that fall slowly, as a trained weight's do
        return drawn * (64 / (64 + row)) * (64 / (64 + column))
    if kind == "graded":  # over twenty binary orders
        return drawn * 2.0 ** -(20 * row // rows)
    if kind.startswith("rank"):  # of whole numbers, so that no product is rounded
        rank = int(kind[4:])
        left = noise(rows * rank, seed).reshape(rows, rank).astype(np.int64) % 15 - 7
        right = noise(rank * columns, seed + 1).reshape(rank, columns).astype(np.int64) % 15 - 7
        return (left @ right).astype(np.float64)
    raise SystemExit(f"no kind {kind}")


CASES = [
    # kind, rows (out), columns (in), r, alpha, rsLoRA, Conv1D
    ("uniform", 5, 3, 2, 4, False, False),
    ("uniform", 24, 40, 8, 16, False, False),
    ("uniform", 24, 40, 8, 16, True, True),
    ("falling", 192, 576, 16, 16, False, False),
    ("falling", 576, 576, 16, 32, False, False),
    ("falling", 576, 1536, 16, 16, True, False),
    ("falling", 1536, 576, 8, 16, False, False),
    ("graded", 64, 48, 40, 40, False, False),
    ("rank6", 60, 44, 6, 12, False, False),
    ("rank6", 60, 44, 10, 5, False, False),
    ("rank1", 7, 9, 3, 3, False, True),
]


class OneLinear(torch.nn.Module):
    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.linear.weight.data = weight.clone()


def peft_start(weight: torch.Tensor, init: str, r: int, alpha: float, rslora: bool) -> tuple[torch.Tensor, float]:
    """s·B·A as PEFT begins, and how far what is left of the base is from W without it."""
    config = LoraConfig(r=r, lora_alpha=alpha, use_rslora=rslora, init_lora_weights=init, target_modules=["linear"])
    layer = get_peft_model(OneLinear(weight), config).base_model.model.linear
    a, b = layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data
    change = layer.scaling["default"] * b.double() @ a.double()
    off = (layer.base_layer.weight.data.double() + change - weight.double()).abs().max().item()
    return change, off


def record_of(weight: torch.Tensor, r: int, alpha: float, rslora: bool, seed: int) -> dict:
    exact = weight.double()
    u, s, vh = torch.linalg.svd(exact, full_matrices=False)
    q, upper = torch.linalg.qr(exact)
    scale = alpha / r**0.5 if rslora else alpha / r
    products = {"pissa": u[:, :r] @ torch.diag(s[:r]) @ vh[:r]}
    # Beyond the rank of the columns that it is made of, Q is whatever rounding makes of it.
    if torch.linalg.matrix_rank(exact[:, :r]) == r:
        products["olora"] = scale * q[:, :r] @ upper[:r]
    largest = weight.abs().max().item()
    at = noise(SAMPLES, seed).astype(np.int64) % weight.numel()
    samples = {}
    for init, wanted in products.items():
        found, off = peft_start(weight, init, r, alpha, rslora)
        error = (found - wanted).abs().max().item() / largest
        print(f"PEFT's f32 {init} is off by {error:.1e}, its base by {off / largest:.1e}", file=sys.stderr)
        # Two singular values close to each other at the cut: rounding to f32 turns their vectors.
        if error > 1e-4 or off > 1e-6 * largest:
            raise SystemExit("PEFT does something else")
        samples[init] = [float(f"{wanted.flatten()[i]:.9g}") for i in at]
    return {
        "r": r, "alpha": alpha, "rslora": rslora, "seed": seed, "largest": largest,
        "values": [float(f"{value:.12g}") for value in s[:r]], "samples": samples,
    }  # fmt: skip


def main() -> None:
    records = []
    for seed, (kind, rows, columns, r, alpha, rslora, turned) in enumerate(CASES, start=1):
        weight = torch.tensor(matrix_of(kind, rows, columns, seed), dtype=torch.float32)
        shape = {"kind": kind, "rows": rows, "columns": columns, "turned": turned}
        records.append(shape | record_of(weight, r, alpha, rslora, seed))
    lines = ",\n".join(json.dumps(record) for record in records)
    Path("test/lora/fixtures/starts.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
