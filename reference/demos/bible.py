"""Verses of the King James Bible, as plain text."""

import os
import random
import subprocess
from pathlib import Path

TRAIN, HELD = 2000, 200
# In characters: room for a whole thought, and short enough that a batch is quick.
SHORTEST, LONGEST = 30, 220


def verses(sources: Path) -> list[str]:
    """Every verse without its number, printed by the program that Debian has for its compressed text."""
    root = sources / "bible/usr"
    command = [root / "bin/bible", "-p", root / "lib", "-f", "gen1:1-rev22:21"]
    printed = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "COLUMNS": "9999"}).stdout
    lines = [line.partition(" ") for line in printed.decode("ascii").splitlines() if line.strip()]
    return [verse.strip() for _, _, verse in lines]


def make(sources: Path) -> dict[str, list[dict]]:
    # Some verses stand in two books: each is taken once.
    distinct = list(dict.fromkeys(verse for verse in verses(sources) if SHORTEST <= len(verse) <= LONGEST))
    random.Random(0).shuffle(distinct)
    rows = [{"text": verse} for verse in distinct[: TRAIN + HELD]]
    return {"bible.train": rows[:TRAIN], "bible.held": rows[TRAIN:]}
