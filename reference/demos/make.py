"""Writes the page's data sets to public/data/ from the sources that README.md says how to fetch.

    python reference/demos/make.py [SOURCES]     (.cache/demos where it is left out)

The same sources give the same bytes: every choice is seeded.
"""

import json
import sys
from pathlib import Path

import bible
import capitals
import pirate
import spam

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    sources = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache/demos"
    out = ROOT / "public/data"
    out.mkdir(parents=True, exist_ok=True)
    for part in (capitals, spam, pirate, bible):
        for name, rows in part.make(sources).items():
            file = out / f"{name}.jsonl"
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
            print(f"{file.relative_to(ROOT)}: {len(rows)} rows, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
