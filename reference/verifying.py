"""What the scripts share that hold exports against PEFT: their command lines, the export itself, and how they end."""

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers.utils import logging

# Of the largest logit.
TOLERANCE = 1e-4


def arguments(about: str, faults: list[str], flag: str) -> argparse.Namespace:
    """CASE …, --break FAULT as `fault`, and one flag of the script's own."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--break", dest="fault", choices=faults)
    parser.add_argument(flag, action="store_true")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    return parser.parse_args()


def chosen(asked: list[str], there: Iterable[str]) -> list[str]:
    """The cases that were asked for; all that there are, where none was."""
    if unknown := set(asked) - set(there):
        raise SystemExit(f"no case {', '.join(unknown)}; there are: {', '.join(there)}")
    return asked or list(there)


def end(results: dict[str, bool | None], fault: str | None = None) -> None:
    """Tells which cases were right, and which not; None is left out. With a fault in it every case has to be wrong.

    Exit code 1 where one is not as it has to be.
    """
    judged = {case: right for case, right in results.items() if right is not None}
    unlike = [case for case, right in judged.items() if right != (fault is None)]
    print(f"{len(judged) - len(unlike)} of {len(judged)} {'right' if fault is None else 'noticed'}")
    if unlike or not judged:
        print(f"{'failed' if fault is None else 'not noticed'}: {', '.join(unlike) or 'no case'}", file=sys.stderr)
        raise SystemExit(1)


def export(base: Path, adapter: Path, *options: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`npm run export`. Where it fails that ends the script, too, unless whoever called looks at it (`check=False`)."""
    command = ["npm", "run", "--silent", "export", "--", str(adapter), "--model", str(base)]
    done = subprocess.run([*command, *map(str, options)], check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{adapter}: {done.stderr}")
    return done
