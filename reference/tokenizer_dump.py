"""Tiny tokenizers and the ids that Transformers gives, for test/data."""

import json
import tempfile
from pathlib import Path

from corpus import EOS, MIXED, make_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import AutoTokenizer

FIXTURE = Path(__file__).parent.parent / "test" / "data" / "fixtures" / "tokenizers.json"
TEXTS = [text + EOS for text in MIXED] + ["", " ", "ends with <s> inside", "x" * 30, f"{EOS}twice{EOS}"]


def byte_level(**words) -> Tokenizer:
    return make_tokenizer(300, every_byte=True, **words)


def sentence_piece() -> Tokenizer:
    """As Llama 2's: spaces become ▁, unknown characters become bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<unk>", "<s>", EOS] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([text for text in MIXED if text.isascii()], trainer)
    # Bytes are words of the vocabulary, not special tokens.
    written = json.loads(tokenizer.to_str())
    written["added_tokens"] = [token for token in written["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


CASES = {
    "byte level": (byte_level(), {"eos_token": EOS}),
    "byte level, special tokens as objects": (byte_level(), {"eos_token": {"__type": "AddedToken", "content": EOS}}),
    "a beginning from the post-processor": (byte_level(bos="<s>"), {"eos_token": EOS, "bos_token": "<s>"}),
    "add_bos_token false takes nothing away": (
        byte_level(bos="<s>"),
        {"eos_token": EOS, "bos_token": "<s>", "add_bos_token": False},
    ),
    "add_bos_token and add_eos_token add nothing": (
        byte_level(),
        {"eos_token": EOS, "bos_token": EOS, "add_bos_token": True, "add_eos_token": True},
    ),
    "sentence piece": (sentence_piece(), {"eos_token": EOS, "bos_token": "<s>", "unk_token": "<unk>"}),
}


def main() -> None:
    cases = []
    for name, (tokenizer, words) in CASES.items():
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **words}
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(str(Path(folder) / "tokenizer.json"), pretty=False)
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
            loaded = AutoTokenizer.from_pretrained(folder)
            ids = [loaded(text)["input_ids"] for text in TEXTS]
            assert loaded.eos_token == EOS
            written = json.loads((Path(folder) / "tokenizer.json").read_text())
        cases.append({"name": name, "tokenizer": written, "config": config, "ids": ids})
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    FIXTURE.write_text(f'{{"texts": {json.dumps(TEXTS)}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
