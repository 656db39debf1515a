"""Shows with llama.cpp itself that a GGUF adapter does what the adapter does in PEFT.

    python reference/verify_gguf.py [CASE …] [--break permutation|alpha|swap]
    python reference/verify_gguf.py --runs

For each case of gguf_adapters.py: the base becomes an F32 GGUF, `npm run export` makes the adapter's, llama.cpp loads
both, and its logits are compared with PEFT's: within 1e-4 of the largest. So are the exported bytes with
`expected.gguf`. `--break` spoils the exported file before llama.cpp gets it, as a faulty export would; then no case may
agree. Exit code 1 where one is not as it has to be. `--runs` takes what the runs of dumps/runs ended with, on the same
bases; what `npm run export` refuses is told with its words.

llama.cpp looks GPT-2's activation up in a table of 16-bit floats. For GPT-2, PEFT's model is therefore given an
activation rounded in the same way; the difference from the exact one is printed beside it.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from gguf import GGUFReader, GGUFWriter
from gguf_adapters import BASES, CASES, FOLDER, open_base
from gguf_base import write_base
from llama_cpp import Llama
from oracle import DUMPS
from peft import PeftModel
from verifying import TOLERANCE, arguments, chosen, end, export

GGML_TYPE_F32 = 0
# Mistral's window here is six tokens, and llama.cpp's llama architecture has none: within it they agree.
LENGTHS = {"mistral": 6}


class RoundedGelu(torch.nn.Module):
    """ggml_vec_gelu_f32: both sides of the table are f16; outside ±10 it is not asked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, table))


def peft_logits(base: str, adapter: Path | None, ids: list[int], *, rounded: bool = False) -> np.ndarray:
    model = open_base(base)
    if rounded:
        for block in model.transformer.h:
            block.mlp.act = RoundedGelu()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()


def open_llama(base: Path, adapter: Path | None) -> Llama:
    return Llama(
        str(base),
        lora_path=None if adapter is None else str(adapter),
        n_ctx=256,
        n_gpu_layers=0,
        logits_all=True,
        flash_attn=False,
        # By default keys and values are kept in f16.
        type_k=GGML_TYPE_F32,
        type_v=GGML_TYPE_F32,
        # llama.cpp's own defaults, which leave the file its say.
        yarn_attn_factor=-1.0,
        yarn_beta_fast=-1.0,
        yarn_beta_slow=-1.0,
        verbose=False,
    )


def llama_logits(base: Path, adapter: Path | None, ids: list[int]) -> np.ndarray:
    model = open_llama(base, adapter)
    try:
        model.eval(ids)
        return np.array(model.scores[: len(ids)], dtype=np.float32)
    finally:
        model.close()


def refusal_of(adapter: Path, base: str, out: Path) -> str:
    """What is said where the export is refused; else the file is made."""
    done = export(BASES / base, adapter, "--to", "gguf", "--out", out, check=False)
    if done.returncode and not done.stderr.startswith("error:"):
        raise SystemExit(f"{adapter}: {done.stderr}")
    return done.stderr.strip() if done.returncode else ""


def spoil(file: Path, how: str, config) -> None:
    """Rewrites an exported adapter with one fault in it."""
    reader = GGUFReader(file)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    alpha = float(reader.get_field("adapter.lora.alpha").contents())
    architecture = reader.get_field("general.architecture").contents()
    if how == "permutation":
        for name in tensors:
            if name.endswith(".lora_b") and any(part in name for part in ("attn_q.", "attn_k.", "attn_qkv.")):
                tensors[name] = with_other_rows(name, tensors[name], config, in_pairs=architecture == "llama")
    if how == "swap":
        for name in tensors:
            if name.startswith("blk.0."):
                other = name.replace("blk.0.", "blk.1.", 1)
                if other in tensors and tensors[other].shape == tensors[name].shape:
                    tensors[name], tensors[other] = tensors[other], tensors[name]
    writer = GGUFWriter(file, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    if how != "alpha":
        writer.add_float32("adapter.lora.alpha", alpha)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def with_other_rows(name: str, rows: np.ndarray, config, *, in_pairs: bool) -> np.ndarray:
    """Where rows stand in pairs, as PEFT has them; where they do not, in pairs."""
    heads = config.num_attention_heads * (3 if "attn_qkv" in name else 1)
    if "attn_k." in name:
        heads = config.num_key_value_heads
    half = rows.shape[0] // heads // 2
    split = (heads, half, 2) if in_pairs else (heads, 2, half)
    return np.ascontiguousarray(rows.reshape(*split, -1).swapaxes(1, 2).reshape(rows.shape))


def compare(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest logit."""
    if found.shape != wanted.shape:
        raise SystemExit(f"logits are {found.shape}, expected {wanted.shape}")
    return float(np.abs(found.astype(np.float64) - wanted).max() / np.abs(wanted).max())


def check(case: str, base: str, adapter: Path, folder: Path, fault: str | None) -> bool | None:
    """Whether llama.cpp and PEFT agree; None where the export is refused."""
    config = open_base(base).config
    is_gpt2 = config.model_type == "gpt2"
    length = LENGTHS.get(base, 24)
    ids = torch.randint(0, config.vocab_size, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    base_file, file = folder / f"base_{base}.gguf", folder / f"{case}.gguf"
    if not base_file.exists():
        write_base(BASES / base, base_file)
    if refusal := refusal_of(adapter, base, file):
        print(f"{case:26s} {refusal}")
        return None
    expected = adapter / "expected.gguf"
    same = not expected.exists() or file.read_bytes() == expected.read_bytes()
    if fault is not None:
        spoil(file, fault, config)
    plain = peft_logits(base, None, ids, rounded=is_gpt2)
    wanted = peft_logits(base, adapter, ids, rounded=is_gpt2)
    found = llama_logits(base_file, file, ids)
    off = compare(found, wanted)
    base_off = compare(llama_logits(base_file, None, ids), plain)
    line = f"{case:26s} base {base_off:.1e}   adapter {off:.1e}   (it moves the logits by {compare(plain, wanted):.1e})"
    if is_gpt2:
        line += f"   with the exact activation {compare(found, peft_logits(base, adapter, ids)):.1e}"
    print(line if same else f"{line}   other bytes than expected.gguf")
    return same and base_off <= TOLERANCE and off <= TOLERANCE


def runs() -> dict[str, tuple[str, Path]]:
    """The last adapter of each run on a base that llama.cpp is known to compute as Transformers does."""
    bases = {base for base, _ in CASES.values()}
    folders = {folder.name: folder for folder in sorted((DUMPS / "runs").iterdir())}
    based = {name: json.loads((folder / "case.json").read_text())["base"] for name, folder in folders.items()}
    return {name: (base, folders[name] / "final") for name, base in based.items() if base in bases}


def main() -> None:
    args = arguments(__doc__, ["permutation", "alpha", "swap"], "--runs")
    adapters = runs() if args.runs else {case: (base, FOLDER / case) for case, (base, _) in CASES.items()}
    cases = chosen(args.cases, adapters)
    with tempfile.TemporaryDirectory() as folder:
        found = {case: check(case, *adapters[case], Path(folder), args.fault) for case in cases}
    refused = [case for case, agrees in found.items() if agrees is None]
    if refused and not args.runs:
        raise SystemExit(f"refused: {', '.join(refused)}")
    print(f"{len(refused)} refused")
    end(found, args.fault)


if __name__ == "__main__":
    main()
