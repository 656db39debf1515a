"""Two hundred strings that tokenizers cut in different ways: words, digits, spaces, code, scripts, special tokens."""

import json
import random
from pathlib import Path

PARTS = [
    *["hello", "World", "don't", "WE'LL", "I'm", "they've", "naïve", "Größe", "x", "internationalisation"],
    *["1", "12", "123", "1234", "3.14159", "2024-06-11", "1,000,000", "٣٤٥", "½"],
    *[" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u200b"],
    *["def f(x):\n    return x**2\n", "a->b", "!=", "/* c */", "<div class='a'>", "{\"k\": [1, 2]}", "C:\\dir", "#!/bin/sh"],
    *["日本語", "한국어", "中文字符", "Привет", "שלום", "مرحبا", "हिन्दी", "ไทย", "Ελληνικά"],
    *["🙂", "👩‍👩‍👧", "🇩🇪", "é", "e\u0301", "ﬁ", "İ", "ß", "𝔘𝔫𝔦", "\ufeff"],
    *[".", "...", "?!", "—", "'", "\"", "(", ")", "%", "€", "–", "…", "_", "__init__", "@user", "https://a.b/c?d=e&f"],
]  # fmt: skip


def strings_of(folder: Path, count: int = 200) -> list[str]:
    """The same ones each time; special tokens are those of the folder's tokenizer."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    special = [token["content"] for token in tokenizer["added_tokens"]]
    chance = random.Random(200)
    texts = [*PARTS, *special, *(f"a{token}b" for token in special)]
    while len(texts) < count:
        words = chance.choices([*PARTS, *special], k=chance.randint(2, 12))
        texts.append(chance.choice(["", " "]).join(words))
    return texts[:count]
