"""
Published chat templates, rendered by Transformers: `python reference/published_templates.py FOLDER` fetches them from
PyPI's source distribution of llama-cpp-python into FOLDER (once), and writes FOLDER/expected.json: for each template
and conversation the text, the prompt, the ids, and which of them are learnt. `npm run test:templates` compares.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from chat_dump import NOW, SPECIAL, conversations, freeze_clock, make_tokenizer, many

RELEASE = "llama-cpp-python==0.3.36"
PLACE = "/vendor/llama.cpp/models/templates/"


def fetch(folder: Path) -> Path:
    templates = folder / "templates"
    if templates.exists():
        return templates
    folder.mkdir(parents=True, exist_ok=True)
    words = ["download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder), RELEASE]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    (archive,) = folder.glob("llama_cpp_python-*.tar.gz")
    found = {}
    with tarfile.open(archive) as files:
        for member in files:
            if PLACE in member.name and member.name.endswith(".jinja"):
                found[Path(member.name).name] = files.extractfile(member).read()
    templates.mkdir()
    for name, source in found.items():
        (templates / name).write_bytes(source)
    archive.unlink()
    return templates


class Rewritten(Exception):
    """A turn is written otherwise once another follows it."""


class Chat:
    """One conversation in one template; what is learnt is found by rendering the turns before."""

    def __init__(self, tokenizer, source: str, conversation: dict) -> None:
        self.tokenizer = tokenizer
        self.words = {"chat_template": source, "tools": conversation.get("tools"), "tokenize": False}
        self.messages = conversation["messages"]
        self.text = self.render(len(self.messages))

    def render(self, turns: int, asking: bool = False) -> str:
        # Transformers refuses an empty list, but templates need not.
        return self.tokenizer.apply_chat_template(
            self.messages[:turns], add_generation_prompt=asking, **self.words
        )

    def end(self, turns: int) -> int:
        """Where the turns end in the whole text, white space after them left out."""
        closed = self.render(turns).rstrip()
        said = self.messages[turns - 1]["content"].rstrip()
        choices = [closed]
        if closed.endswith(SPECIAL["eos_token"]):
            bare = closed.removesuffix(SPECIAL["eos_token"]).rstrip()
            # An end token right behind the answer is the turn's, another the conversation's.
            choices = [closed, bare] if not said or bare.endswith(said[-1]) else [bare]
        for choice in choices:
            if self.text.startswith(choice):
                return len(choice)
        raise Rewritten

    def start(self, turn: int) -> int:
        asked = self.render(turn, asking=True)
        if self.text.startswith(asked):
            return len(asked)
        shared = next((i for i, (a, b) in enumerate(zip(asked, self.text)) if a != b), min(len(asked), len(self.text)))
        if shared < (self.end(turn) if turn else 0):
            raise Rewritten
        return shared

    def learnt(self, turns: list[int], offsets: list[tuple[int, int]]) -> str | None:
        try:
            spans = [(self.start(turn), self.end(turn + 1)) for turn in turns]
        except Rewritten:
            return None
        return "".join(str(int(any(a < end and b > start for start, end in spans))) for a, b in offsets)


def result(tokenizer, source: str, conversation: dict) -> dict:
    messages = conversation["messages"]
    try:
        chat = Chat(tokenizer, source, conversation)
        asked = chat.render(len(messages) - 1, asking=True)
    except Exception as error:
        return {"error": str(error)}
    encoded = tokenizer(chat.text, add_special_tokens=False, return_offsets_mapping=True)
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    found = {"text": chat.text, "asked": asked, "ids": encoded["input_ids"]}
    try:
        if "endgeneration" in source:
            words = {"chat_template": source, "tools": conversation.get("tools")}
            marked = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, **words)
            return {**found, "learnt": "".join(map(str, marked["assistant_masks"]))}
        offsets = encoded["offset_mapping"]
        return {**found, "learnt": chat.learnt(turns, offsets), "last": chat.learnt(turns[-1:], offsets)}
    except Exception as error:
        return {**found, "prefix_error": str(error)}


def main() -> None:
    folder = Path(sys.argv[1])
    templates = fetch(folder)
    freeze_clock()
    tokenizer, added = make_tokenizer()
    talks = conversations() + many(20)
    results = {}
    for path in sorted(templates.glob("*.jinja"), key=lambda path: path.name.lower()):
        source = path.read_text(encoding="utf-8")
        results[path.name] = [result(tokenizer, source, talk) for talk in talks]
    expected = {"now": NOW.isoformat(), "special": SPECIAL, "added": added, "conversations": talks, "results": results}
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False), encoding="utf-8")
    print(f"{len(results)} templates of {RELEASE}, {len(talks)} conversations each")


if __name__ == "__main__":
    main()
