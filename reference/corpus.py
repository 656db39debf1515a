"""The rows that the reference runs train on, and the tokenizers of the tiny bases.

Every file tries something that a plain corpus would not: rows without a target, rows cut at
max_length, rows that already end with the end-of-text token, text outside ASCII.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

EOS = "<|endoftext|>"

MIXED = [
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "",  # nothing but the end-of-text token: no target, unless the tokenizer adds a beginning
    "Grafting joins the tissues of two plants so that they go on growing together.",
    "ok",
    "Zwei Wörter, größer als üblich.",
    "A row that ends by itself." + EOS,  # must not get a second one
    "  two spaces first,\n\tand a tab on the second line\n",
    "naïve café, 日本語 🙂",
    "12345 67890 3.14159",
    "The scion is the upper part; the rootstock is the lower part that keeps its roots. "
    "When both have healed, water and sugar flow through the union as if it had always been there, "
    "and the tree bears the fruit of the one on the strength of the other.",
    "b c",
    "Prune in late winter, graft in early spring.",
    "x",
    "Whip and tongue, cleft, bark, bud, bridge: each graft has its season and its knife.",
    "the the the the the the the the",
    "Why not?",
]

SHORT = [
    "ab",
    "plant a tree",
    "cut",
    "bind it",
    "wait",
    "water, light, time",
    "a union",
    "yes",
    "no, not yet",
    "it grows",
]

LONG = [
    "Grafting is the oldest way to keep a fruit. A seed forgets its parent, but a twig does not: set it on "
    "another root and it remembers every apple it ever bore.",
    "First choose the stock. It should be sound, as thick as a thumb, and used to your soil.",
    "Then choose the scion, a shoot of last year with three buds, cut in winter and kept cold and damp so that it "
    "sleeps while the stock wakes. The knife must be sharp; a torn cut heals badly.",
    "Match the green lines under the bark. Bind, seal, wait.",
    "In a month the buds swell or they do not. If they do, loosen the tape before it bites, stake the shoot against "
    "the wind, and take away what the stock sends up below: it is stronger and would win.",
]

# One target in the first row: attention over one key has no gradient for query and key, exactly.
LONELY = ["a", "the tree", "b", "grows and grows", "c"]

DATA = {"mixed": MIXED, "short": SHORT, "long": LONG, "lonely": LONELY}


def write_data(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in DATA.items():
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_tokenizer(size: int, *, bos: str | None = None, every_byte: bool = False) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens, as GPT-2's.

    A full byte alphabet alone is 256 tokens. The smaller vocabularies know only the bytes of the rows
    above, so that a tiny model stays tiny.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [EOS] if bos is None else [EOS, bos]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if every_byte else [],
        show_progress=False,
    )
    texts = [text.replace(EOS, "") for rows in DATA.values() for text in rows]
    tokenizer.train_from_iterator(texts, trainer)
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer
