"""Reads Jane Austen's novels out of the R package janeaustenr, without R.

    python reference/pretrain/austen.py FOLDER OUT     FOLDER: the unpacked package's janeaustenr/data

A novel is one R character vector, a string a line, serialised in XDR and compressed in Rdata.rdb; Rdata.rdx is the
index. Only what these two files hold is understood.
"""

import bz2
import lzma
import struct
import sys
import zlib
from pathlib import Path

# R's type codes.
STRING, STRINGS, LIST, INTEGERS = 9, 16, 19, 13
MISSING = -1


class Reader:
    def __init__(self, serialised: bytes):
        if serialised[:2] != b"X\n":
            sys.exit("Not R's XDR serialisation.")
        self.bytes, self.at = serialised, 2
        version = self.integers(3)[0]
        if version == 3:
            length = self.integers(1)[0]
            self.at += length  # the name of the native encoding

    def integers(self, count: int) -> tuple[int, ...]:
        start, self.at = self.at, self.at + 4 * count
        return struct.unpack(f">{count}i", self.bytes[start : self.at])

    def item(self) -> list | str:
        kind = self.integers(1)[0] & 0xFF
        length = self.integers(1)[0]
        if kind == STRING:
            start, self.at = self.at, self.at + max(length, 0)
            return "" if length == MISSING else self.bytes[start : self.at].decode("utf-8")
        if kind in (STRINGS, LIST):
            return [self.item() for _ in range(length)]
        if kind == INTEGERS:
            return list(self.integers(length))
        sys.exit(f"R's type {kind} is not expected here.")


def inflated(chunk: bytes) -> bytes:
    """Four bytes of length, and from R's second kind of compression on a letter that names it."""
    if chunk[4:5] == b"2":
        return bz2.decompress(chunk[5:])
    if chunk[4:5] == b"Z":
        return lzma.decompress(chunk[5:], format=lzma.FORMAT_AUTO)
    return zlib.decompress(chunk[4:])


def novels(folder: Path) -> dict[str, str]:
    index = zlib.decompress((folder / "Rdata.rdx").read_bytes(), wbits=47)
    reader = Reader(index)
    reader.at += 8  # a list with attributes, of three: variables, references, compressed
    places = reader.item()
    # Behind the first list stand its attributes: a pair list whose one tag, "names", precedes them.
    reader.at = index.index(struct.pack(">i", STRINGS), index.index(b"names") + len(b"names"))
    names = reader.item()
    stored = (folder / "Rdata.rdb").read_bytes()
    return {
        name: "\n".join(Reader(inflated(stored[offset : offset + length])).item())
        for name, (offset, length) in zip(names, places, strict=True)
    }


def main() -> None:
    folder, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    for name, text in novels(folder).items():
        (out / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text)} characters")


if __name__ == "__main__":
    main()
