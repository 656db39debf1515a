"""Opens in PEFT what Graft exported at the end of each parity run: key by key, without a warning, with Graft's logits.

    GRAFT_EXPORT=out/exports npm run test:parity
    python reference/verify_runs.py out/exports [NAME …]

Each folder is that of a run under dumps/runs, with the logits that Graft computed (`logits.json`); they have to agree with
PEFT's within 1e-5 of the largest. Exit code 1 where a run fails.
"""

import argparse
import json
from pathlib import Path

import torch
from oracle import DUMPS
from transformers.utils import logging
from verify_adapter import judge
from verifying import chosen, end


def check(name: str, folder: Path) -> bool:
    base = json.loads((DUMPS / "runs" / name / "case.json").read_text(encoding="utf-8"))["base"]
    error, complaints = judge(DUMPS / "bases" / base, folder, folder / "logits.json")
    print("\n  ".join([f"{name:26s} {error:.1e}", *complaints]), flush=True)
    return not complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    folders = {folder.name: folder for folder in sorted(args.exports.iterdir())}
    end({name: check(name, folders[name]) for name in chosen(args.names, folders)})


if __name__ == "__main__":
    main()
