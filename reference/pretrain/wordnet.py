"""WordNet 3.1's definitions, examples, kinds and opposites of everyday words.

Only words of the Dale-Chall list are taken: words that children know, and no slurs.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")


@dataclass
class Words:
    definitions: list[tuple[str, str]] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    opposites: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Synset:
    offset: str
    kind: str
    words: list[str]
    # Four fields each: symbol, offset, part of speech, source and target word as two hexadecimal bytes.
    pointers: list[str]
    gloss: str


def synsets(database: Path, part: str) -> Iterator[Synset]:
    for line in (database / f"data.{part}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        count = int(fields[3], 16)
        # Markers such as "(a)" behind an adjective say where it may stand.
        words = [fields[4 + 2 * i].split("(")[0] for i in range(count)]
        first = 5 + 2 * count
        pointers = fields[first : first + 4 * int(fields[first - 1])]
        yield Synset(fields[0], fields[2], words, pointers, gloss.strip())


def read(database: Path, everyday: Path) -> Words:
    easy = {word.lower() for word in json.loads(everyday.read_text(encoding="utf-8"))}
    # "s" is an adjective that stands by another one; pointers call both "a".
    named = {
        (synset.offset, "a" if synset.kind == "s" else synset.kind): [word.replace("_", " ") for word in synset.words]
        for part in PARTS
        for synset in synsets(database, part)
    }
    words = Words()
    for part in PARTS:
        for synset in synsets(database, part):
            collect(synset, part, named, words)
    return Words(
        [entry for entry in words.definitions if entry[0] in easy],
        [entry for entry in words.examples if entry[0] in easy],
        [entry for entry in words.kinds if entry[0] in easy and entry[1]],
        [entry for entry in words.opposites if entry[0] in easy and entry[1] in easy],
    )


def collect(synset: Synset, part: str, named: dict[tuple[str, str], list[str]], words: Words) -> None:
    word = synset.words[0].replace("_", " ")
    definition, *examples = (piece.strip() for piece in re.split(r";\s*(?=\")", synset.gloss))
    ordinary = word[0].islower() and word.isascii() and 3 <= len(word) <= 14 and len(definition) < 110
    # Capitals are what a data set of the page teaches.
    if ordinary and not re.search(r"capital (and|of|city)", definition):
        words.definitions.append((word, definition))
    for example in (example.strip('"').strip() for example in examples):
        if 12 < len(example) < 160 and example.isascii():
            words.examples.append((word, example))
    pointers = synset.pointers
    for i in range(0, len(pointers) - 3, 4):
        symbol, offset, _, ends = pointers[i : i + 4]
        if symbol == "@" and part == "noun" and word.islower() and " " not in word:
            above = named.get((offset, "n"), [""])[0]
            if above.islower():
                words.kinds.append((word, above))
        if symbol == "!" and part in ("adj", "noun", "verb") and ends != "0000":
            others = named.get((offset, part[0]), [""])
            own, other = int(ends[:2], 16) - 1, int(ends[2:], 16) - 1
            if 0 <= other < len(others) and 0 <= own < len(synset.words):
                words.opposites.append((synset.words[own], others[other]))
