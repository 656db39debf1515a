"""Shows with llama.cpp that each kind of tokenizer that GGUF has a name for cuts texts as Transformers does.

    python reference/verify_tokenizers.py [KIND …]

A small tokenizer of each kind is trained on Graft's own sources, put beside a tiny base whose vocabulary is as large, and
exported with a merged GGUF; llama.cpp and Transformers must give the same ids for 200 strings. Exit code 1 where one does not.
"""

import argparse
import json
import shutil
import tempfile
import unicodedata
from pathlib import Path

import torch
from merged_cases import BASES
from peft import LoraConfig, get_peft_model
from strings import PARTS, strings_of
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging
from verify_merged_gguf import tokenised
from verifying import end, export

END, TURN = "<|endoftext|>", "<|im_end|>"
SIZE = 1200
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(Path("docs").glob("*.md"))] + PARTS * 20


def split_by(digits: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(WORDS.replace("DIGITS", digits)), "isolated", invert=False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre: pre_tokenizers.PreTokenizer, **model: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=[END, TURN], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def llama3() -> Tokenizer:
    tokenizer = byte_level(split_by(r"\p{N}{1,3}"), ignore_merges=True)
    start = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
    return tokenizer


def qwen2() -> Tokenizer:
    tokenizer = byte_level(split_by(r"\p{N}"))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def pieces() -> Tokenizer:
    """As Transformers converts Llama 2's and Mistral's SentencePiece: all cuts of every piece, in the pieces' order."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=SIZE - 259, show_progress=False)
    trained.train_from_iterator(TEXTS, trainer)
    made = json.loads(trained.to_str())["model"]
    special = ["<unk>", "<s>", "</s>"]
    wholes = list(dict.fromkeys("".join(pair) for pair in made["merges"]))
    letters = [token for token in made["vocab"] if token not in set(wholes)]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *wholes, *letters]
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    merges = []
    for whole in wholes:
        cuts = [(whole[:at], whole[at:]) for at in range(1, len(whole))]
        known = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
        merges += sorted(known, key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return tokenizer


KINDS = {
    "gpt-2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "smollm": lambda: byte_level(
        pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    ),
    "llama-bpe": llama3,
    "qwen2": qwen2,
    "pieces": pieces,
}


def make_folders(kind: str, folder: Path) -> tuple[Path, Path]:
    """A base with this tokenizer, and an adapter of it."""
    base, adapter = folder / "base", folder / "adapter"
    tokenizer = KINDS[kind]()
    end, start = ("</s>", "<s>") if kind == "pieces" else (END, END if kind == "llama-bpe" else None)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=start).save_pretrained(base)
    shutil.copy(BASES / "llama_tied/config.json", base)
    config = AutoConfig.from_pretrained(base, vocab_size=tokenizer.get_vocab_size(), eos_token_id=None, bos_token_id=None)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(base)
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=1)).save_pretrained(adapter)
    return base, adapter


def check(kind: str, folder: Path) -> bool:
    base, adapter = make_folders(kind, folder)
    export(base, adapter, "--to", "merged-gguf", "--dtype", "f16", "--out", folder / "merged.gguf")
    texts = strings_of(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    wanted = [tokenizer(text)["input_ids"] for text in texts]
    as_is = tokenised(folder / "merged.gguf", texts)
    found = as_is
    if kind == "qwen2":
        # llama.cpp has no normalizer: whoever asks must compose characters, as nearly all texts have them.
        found = tokenised(folder / "merged.gguf", [unicodedata.normalize("NFC", text) for text in texts])
    alike, plain = (sum(ids == right for ids, right in zip(given, wanted, strict=True)) for given in (found, as_is))
    line = f"{kind:10s} {alike} of {len(texts)} strings alike"
    print(line if plain == alike else f"{line}, {plain} where characters are not composed", flush=True)
    for text, ids, right in zip(texts, found, wanted, strict=True):
        if ids != right:
            print(f"  {text!r}: {tokenizer.convert_ids_to_tokens(ids)}, expected {tokenizer.convert_ids_to_tokens(right)}")
    return alike == len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    args = parser.parse_args()
    logging.disable_progress_bar()
    results = {}
    for kind in args.kinds or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            results[kind] = check(kind, Path(folder))
    end(results)


if __name__ == "__main__":
    main()
