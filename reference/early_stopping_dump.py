"""Which evaluation Transformers holds for the best, and when its callback ends a run: test/train/fixtures/early_stopping.json."""

import json
import logging
import random
from pathlib import Path
from types import SimpleNamespace

from transformers import EarlyStoppingCallback, Trainer, TrainerControl, TrainerState, TrainingArguments

# metric_for_best_model, greater_is_better, patience, threshold
CASES = [
    (None, None, 2, 0.0),
    ("eval_loss", None, 1, 0.0),
    ("loss", None, 3, 0.05),
    ("mean_token_accuracy", None, 2, 0.0),
    ("eval_mean_token_accuracy", None, 2, 0.02),
    ("eval_loss", True, 2, 0.0),
    ("entropy", None, 3, 0.01),
    ("eval_mean_token_accuracy", False, 2, 0.0),
]
EVALUATIONS = 12


def follow(metric: str | None, greater: bool | None, patience: int, threshold: float, draw: random.Random) -> dict:
    arguments = TrainingArguments(
        output_dir="unused",
        report_to=[],
        eval_strategy="steps",
        eval_steps=10,
        save_steps=10,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=greater,
    )
    state, control = TrainerState(), TrainerControl()
    callback = EarlyStoppingCallback(patience, threshold)
    trainer = SimpleNamespace(args=arguments, state=state)
    values, bests, stops = [], [], None
    for evaluation in range(1, EVALUATIONS + 1):
        state.global_step = 10 * evaluation
        metrics = {f"eval_{name}": round(draw.random(), 3) for name in ("loss", "entropy", "mean_token_accuracy")}
        if evaluation == 5:
            # The same as before is no better.
            metrics = dict(values[3])
        callback.on_evaluate(arguments, state, control, metrics)
        Trainer._determine_best_metric(trainer, metrics, None)
        values.append(metrics)
        bests.append(state.best_global_step)
        if control.should_training_stop and stops is None:
            stops = state.global_step
    return {
        "settings": {
            "metric_for_best_model": metric,
            "greater_is_better": greater,
            "early_stopping_patience": patience,
            "early_stopping_threshold": threshold,
        },
        "evaluations": values,
        "best_steps": bests,
        "stops_after": stops,
    }


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    draw = random.Random(3)
    found = [follow(*case, draw) for case in CASES for _ in range(3)]
    lines = ",\n".join(json.dumps(case) for case in found)
    Path("test/train/fixtures/early_stopping.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
