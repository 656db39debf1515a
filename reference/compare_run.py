"""Compares a Graft run with the reference run it should equal.

    python reference/compare_run.py reference/dumps/runs/NAME GRAFT_OUT_DIR

Exit code 1 where losses differ by more than 1e-5, gradient norms by more than 1e-4 (relative), or the
change of a kind of tensor by more than 1e-3 (relative norm, each kind by itself).
"""

import argparse
import json
from pathlib import Path

from compare import KINDS, change_errors, metric_errors
from safetensors.torch import load_file

ALLOWED = {"loss": 1e-5, "grad_norm": 1e-4, "lr": 1e-9} | dict.fromkeys(KINDS, 1e-3)


def read_metrics(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "loss" in line]  # evaluations are lines of their own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("graft_dir", type=Path)
    args = parser.parse_args()

    found, wanted = (read_metrics(folder / "metrics.jsonl") for folder in (args.graft_dir, args.run_dir))
    if [line["step"] for line in found] != [line["step"] for line in wanted]:
        raise SystemExit(f"Graft ran {len(found)} steps, PEFT {len(wanted)}")
    initial, wanted_final, found_final = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (args.run_dir / "initial", args.run_dir / "final", args.graft_dir)
    )
    if missing := set(wanted_final) ^ set(found_final):
        raise SystemExit(f"tensors that only one of the two adapters has: {', '.join(sorted(missing))}")

    errors = metric_errors(found, wanted) | change_errors(initial, found_final, wanted_final)
    noise = json.loads((args.run_dir / "case.json").read_text(encoding="utf-8"))["noise"]
    for name, error in errors.items():
        verdict = "ok" if error <= ALLOWED[name] else "TOO FAR"
        print(f"{name:10s} {error:.2e}  allowed {ALLOWED[name]:.0e}  f32's own noise {noise.get(name, 0):.0e}  {verdict}")
    if not all(error <= ALLOWED[name] for name, error in errors.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
