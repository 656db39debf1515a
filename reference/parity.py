"""Trains every case of cases.py with PEFT and writes what Graft has to equal to dumps/.

    python reference/parity.py                  everything: data, bases, runs, noise floor
    python reference/parity.py --only NAME …    these runs alone, on the bases that are there
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import torch
from bases import make_bases, write_json
from cases import CASES, find_case
from compare import change_errors, metric_errors
from corpus import write_data
from grads import GRADIENT_CASES, write_gradients
from oracle import DUMPS, Run, is_read, model_of, rows_of, to_float64, train, whole_state
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from transformers.utils import logging

PROBE = "The quick scion"  # its ids are what the logits are of


def name_tied_head(config: dict, stored: dict) -> None:
    """PEFT takes a tied head's name out of the config, and by that of GPT-2's embedding alone it does not tie again."""
    for setting, tensor in [("modules_to_save", "weight"), ("target_modules", "lora_A.weight")]:
        names = config[setting]
        if isinstance(names, list) and "transformer.wte" in names and f"base_model.model.lm_head.{tensor}" in stored:
            config[setting] = sorted({*names, "lm_head"})


def save_adapter(model: torch.nn.Module, folder: Path) -> None:
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    # PEFT keeps some lists as sets, so their order changes from run to run.
    config = json.loads((folder / "adapter_config.json").read_text())
    for key, value in config.items():
        if key in ("target_modules", "exclude_modules") and isinstance(value, list):
            config[key] = sorted(value)
    weights = folder / "adapter_model.safetensors"
    stored = load_file(weights)
    name_tied_head(config, stored)
    write_json(folder / "adapter_config.json", config)
    read = {key: tensor for key, tensor in stored.items() if is_read(key)}
    if len(read) < len(stored):
        save_file(read, weights, metadata={"format": "pt"})
    if whole := whole_state(model):
        save_file(whole, folder / "whole.safetensors")


def logits_of(model: torch.nn.Module, base: Path) -> dict:
    ids = AutoTokenizer.from_pretrained(base)(PROBE)["input_ids"][:10]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return {"ids": ids, "logits": [[round(value, 8) for value in row] for row in logits.tolist()]}


def trained(case: dict, *, double: bool = False, folder: Path | None = None) -> Run:
    model = model_of(case)
    if double:
        model = to_float64(model)
    if folder is not None:
        save_adapter(model, folder / "initial")
    run = train(model, rows_of(case), case["run"]["train"])
    if folder is not None:
        save_adapter(model, folder / "final")
        logits = logits_of(model, DUMPS / "bases" / case["base"])
        (folder / "logits.json").write_text(json.dumps(logits) + "\n")
    return run


def noise_of(case: dict, run: Run) -> dict[str, float]:
    """How far f32 itself is from f64: what no other f32 implementation can be blamed for."""
    exact = trained(case, double=True)
    return metric_errors(run.metrics, exact.metrics) | change_errors(run.initial, run.final, exact.final)


def write_run(case: dict, runs: Path = DUMPS / "runs") -> dict[str, float]:
    folder = runs / case["name"]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "run.json", case["run"])
    described = {key: case[key] for key in ("name", "base", "data", "about", "core")}
    started = time.time()
    run = trained(case, folder=folder)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.metrics))
    if case["name"] in GRADIENT_CASES:
        write_gradients(case)
    noise = noise_of(case, run)
    write_json(folder / "case.json", described | {"noise": {key: float(f"{value:.2g}") for key, value in noise.items()}})
    losses = [line["loss"] for line in run.metrics]
    figures = " ".join(f"{key} {value:.0e}" for key, value in noise.items())
    print(
        f"{case['name']:24s} {len(losses)} steps, loss {losses[0]:.3f} → {losses[-1]:.3f}, "
        f"{len(run.initial)} tensors, {time.time() - started:.1f} s; noise {figures}",
        flush=True,
    )
    return noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    names = parser.parse_args().only
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if names is None:
        shutil.rmtree(DUMPS / "runs", ignore_errors=True)
        write_data(DUMPS / "data")
        make_bases(DUMPS / "bases")
    for case in CASES if names is None else [find_case(name) for name in names]:
        noise = write_run(case)
        # An ill-conditioned run would blame an implementation for what rounding does.
        if noise["loss"] > 1e-6 or max(noise.values()) > 2e-5:
            print(f"  {case['name']} is too sensitive to rounding to be a reference", flush=True)


if __name__ == "__main__":
    main()
