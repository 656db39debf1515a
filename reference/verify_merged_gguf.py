"""Shows with llama.cpp that a merged GGUF is base and adapter, tokenizer and all.

    python reference/verify_merged_gguf.py [CASE …] [--break permutation|turn|eps|rope] [--write]

For each case of merged_cases.py: PEFT makes an adapter, `npm run export -- … --to merged-gguf` merges it as f32, llama.cpp
loads the file alone, and its logits are compared with those of PEFT's base and adapter: within 1e-4 of the largest. The same
strings must become the same ids. The files in f16 and q8_0 must hold what gguf-py makes of the f32 file's tensors, byte for
byte. What GGUF cannot hold must be refused. `--break` spoils the f32 file before llama.cpp gets it; then no case that has
what is spoilt may be right. Exit code 1 where one is not as it has to be. `--write` adds the hashes of the files to
test/models/fixtures/merged/, where verify_merged.py has written the case.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize
from merged_cases import BASES, CASES, make_adapter
from strings import strings_of
from tokenizers import Tokenizer
from transformers import AutoConfig
from verify_gguf import RoundedGelu, compare, llama_logits, open_llama
from verify_merged import FIXTURES
from verifying import TOLERANCE, arguments, chosen, end, export

# Why an export has to be refused: llama.cpp has no exact gelu for GPT-2, and takes yarn's beta_fast from whoever runs it.
NOT_HELD = {"gpt2_whole": "exact gelu", "llama_yarn": "beta_fast"}
# Within a sliding window, which llama.cpp has not for these families, the two agree.
LENGTHS = {"mistral": 6, "qwen2_window": 5}
QUANTISED = {"f16": GGMLQuantizationType.F16, "q8_0": GGMLQuantizationType.Q8_0}


def export_gguf(base: str, adapter: Path, out: Path, dtype: str) -> None:
    export(BASES / base, adapter, "--to", "merged-gguf", "--dtype", dtype, "--out", out)


def is_refused(case: str, base: str, adapter: Path, out: Path) -> bool:
    """Whether the export ends with the reason that it has to give."""
    done = export(BASES / base, adapter, "--to", "merged-gguf", "--out", out, check=False)
    print(f"{case:22s} {done.stderr.strip()}", flush=True)
    return done.returncode == 1 and done.stderr.startswith("error:") and NOT_HELD[case] in done.stderr


@torch.no_grad()
def peft_logits(model: torch.nn.Module, ids: list[int]) -> np.ndarray:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def same_quantised(plain: Path, file: Path, kind: GGMLQuantizationType) -> bool:
    """Matrices as gguf-py quantises them, f16 where rows are no whole blocks; all else as it was."""
    found = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    for tensor in GGUFReader(plain).tensors:
        wanted = np.array(tensor.data)
        is_matrix = wanted.ndim == 2 and not tensor.name.startswith("position_embd")
        whole = kind != GGMLQuantizationType.Q8_0 or wanted.shape[-1] % 32 == 0
        if is_matrix:
            wanted = quantize(wanted, kind if whole else GGMLQuantizationType.F16)
        if found[tensor.name].data.tobytes() != wanted.tobytes():
            print(f"  {file.name}: {tensor.name} has other bytes than gguf-py's")
            return False
    return True


def tokenised(file: Path, texts: list[str]) -> list[list[int]]:
    model = open_llama(file, None)
    try:
        add_bos = str(model.metadata.get("tokenizer.ggml.add_bos_token")) == "true"
        return [model.tokenize(text.encode(), add_bos=add_bos, special=True) for text in texts]
    finally:
        model.close()


def spoil(file: Path, how: str, config) -> bool:
    """Rewrites a file with one fault in it; False where it has nothing of this."""
    reader = GGUFReader(file)
    architecture = reader.get_field("general.architecture").contents()
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    spoilt = False
    for name, values in tensors.items():
        if how == "permutation" and architecture == "llama" and ("attn_q." in name or "attn_k." in name):
            heads = config.num_attention_heads if "attn_q." in name else config.num_key_value_heads
            half = values.shape[0] // heads // 2
            back = values.reshape(heads, half, 2, -1).swapaxes(1, 2)
            tensors[name], spoilt = np.ascontiguousarray(back.reshape(values.shape)), True
        if how == "turn" and architecture == "gpt2" and name.endswith("attn_output.weight"):
            tensors[name], spoilt = np.ascontiguousarray(values.T), True
        if how == "rope" and name == "rope_freqs.weight":
            tensors[name], spoilt = np.ones_like(values), True
    writer = GGUFWriter(file, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value, kinds = field.contents(), field.types
        if how == "eps" and "epsilon" in field.name:
            value, spoilt = value * 100, True
        writer.add_key_value(field.name, value, kinds[0], kinds[-1] if len(kinds) > 1 else None)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return spoilt


def write_hashes(case: str, folder: Path) -> None:
    record = FIXTURES / case / "merged.json"
    if not record.exists():
        return
    names = {"f32": f"{case}.gguf"} | {dtype: f"{case}.{dtype}.gguf" for dtype in QUANTISED}
    hashes = {dtype: hashlib.sha256((folder / name).read_bytes()).hexdigest() for dtype, name in names.items()}
    about = json.loads(record.read_text(encoding="utf-8")) | {"gguf": hashes}
    record.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def check(case: str, folder: Path, fault: str | None, *, write: bool) -> bool | None:
    """None where the case has nothing of the fault."""
    base, _ = CASES[case]
    adapter, file = folder / f"{case}.adapter", folder / f"{case}.gguf"
    model = make_adapter(case, adapter)
    if case in NOT_HELD:
        return is_refused(case, base, adapter, file) if fault is None else None
    config = AutoConfig.from_pretrained(BASES / base)
    export_gguf(base, adapter, file, "f32")
    if fault is not None and not spoil(file, fault, config):
        print(f"{case:22s} has nothing of this")
        return None
    length = LENGTHS.get(base, 24)
    ids = torch.randint(0, config.vocab_size, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    exact = peft_logits(model, ids)
    if config.model_type == "gpt2":
        for block in model.base_model.model.transformer.h:
            block.mlp.act = RoundedGelu()
    wanted = peft_logits(model, ids)
    off = compare(llama_logits(file, None, ids), wanted)
    line = f"{case:22s} f32 {off:.1e}"
    right = off <= TOLERANCE
    if config.model_type == "gpt2":
        line += f" (with the exact activation {compare(llama_logits(file, None, ids), exact):.1e})"
    if fault is None:
        texts = strings_of(BASES / base)
        # As tokenizer.json has it: Transformers' Qwen2Tokenizer composes characters even where that does not.
        tokenizer = Tokenizer.from_file(str(BASES / base / "tokenizer.json"))
        wrong = [
            text for text, found in zip(texts, tokenised(file, texts), strict=True) if found != tokenizer.encode(text).ids
        ]
        line += f"   {len(texts) - len(wrong)} of {len(texts)} strings alike"
        right = right and not wrong
        for dtype, kind in QUANTISED.items():
            other = folder / f"{case}.{dtype}.gguf"
            export_gguf(base, adapter, other, dtype)
            found = llama_logits(other, None, ids)
            alike = int((found.argmax(axis=1) == wanted.argmax(axis=1)).sum())
            line += f"   {dtype} {compare(found, wanted):.1e}, {alike} of {length} answers alike"
            right = same_quantised(file, other, kind) and right
    print(line if right else f"{line}   FAILED", flush=True)
    if write and right:
        write_hashes(case, folder)
    return right


def main() -> None:
    args = arguments(__doc__, ["permutation", "turn", "eps", "rope"], "--write")
    cases = chosen(args.cases, CASES)
    with tempfile.TemporaryDirectory() as folder:
        results = {case: check(case, Path(folder), args.fault, write=args.write) for case in cases}
    end(results, args.fault)


if __name__ == "__main__":
    main()
