"""Learning rates as Transformers' Trainer uses them: test/train/fixtures/schedules.json."""

import json
from pathlib import Path

import torch
from transformers import TrainingArguments, get_scheduler

CASES = [
    ("constant", 0, 4),
    ("constant", 3, 6),
    ("linear", 0, 5),
    ("linear", 3, 10),
    ("linear", 0.1, 25),
    ("linear", 0.07, 100),
    ("linear", 10, 10),
    ("linear", 20, 10),
    ("linear", 1, 1),
    ("linear", 2.7, 9),
    ("cosine", 0, 7),
    ("cosine", 4, 13),
    ("cosine", 0.34, 17),
    ("cosine", 0.0001, 3),
    ("constant_with_warmup", 0, 3),
    ("constant_with_warmup", 4, 8),
    ("constant_with_warmup", 0.5, 5),
]


def rates(name: str, warmup: float, total: int) -> list[float]:
    arguments = TrainingArguments(output_dir="unused", warmup_steps=warmup, report_to=[])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    scheduler = get_scheduler(name, optimizer, arguments.get_warmup_steps(total), total)
    used = []
    for _ in range(total):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return used


cases = [{"type": name, "warmup_steps": warmup, "total": total, "rates": rates(name, warmup, total)} for name, warmup, total in CASES]
Path("test/train/fixtures/schedules.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
