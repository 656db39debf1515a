"""Shows with Transformers that a merged checkpoint is base and adapter.

    python reference/verify_merged.py [CASE …] [--break scale|turn|untie] [--write]

For each case of merged_cases.py: PEFT makes an adapter, `npm run export -- … --to merged` merges it, Transformers opens
the result as it stands, and its logits are compared with those of PEFT's base and adapter: within 1e-4 of the largest for
bases in f32. For bases in bf16 or f16 every merged value must be the exact one rounded once. The folder must have the
base's files, no key missing or too many, and a tokenizer that gives the base's ids. `--break` spoils the merged weights
as a faulty export would; then no case that has what is spoilt may be right. Exit code 1 where one is not as it has to be.
`--write` renews test/models/fixtures/merged/: some of the adapters, with the hashes of the files that were seen to be right.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import torch
from merged_cases import BASES, CASES, make_adapter, open_base
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from verifying import TOLERANCE, arguments, chosen, end, export

FIXTURES = Path("test/models/fixtures/merged")
KEPT = ["llama_shards", "tied_embedding", "gpt2_hub_embedding", "llama_bf16_dora", "qwen3", "kept_tied"]
TEXT = "The quick brown fox, 1234 times: naïve 東京!"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            tensors |= {key: opened.get_tensor(key) for key in opened.keys()}
    return tensors


def logits(model: torch.nn.Module, vocabulary: int) -> torch.Tensor:
    ids = torch.randint(0, vocabulary, (1, 24), generator=torch.Generator().manual_seed(24))
    with torch.no_grad():
        return model.eval()(input_ids=ids, use_cache=False).logits[0].double()


def compare(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def exact_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Base and adapter merged in float64, by PEFT's own delta of each module."""
    model = model.double()
    exact = {}
    for name, module in model.base_model.model.named_modules():
        if not hasattr(module, "get_delta_weight"):
            continue
        base = module.get_base_layer().weight
        merged = base + module.get_delta_weight("default")
        if module.lora_magnitude_vector:
            turned = getattr(module, "fan_in_fan_out", False)
            norm = merged.norm(dim=0 if turned else 1)
            stretch = module.lora_magnitude_vector["default"].weight / norm
            merged = stretch * merged if turned else stretch[:, None] * merged
        exact[f"{name}.weight"] = merged
    return exact


def wrongly_rounded(found: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> int:
    """Values that are not the exact ones rounded once; f64 and f32 on the way may part them at a tie alone."""
    wrong = 0
    for name, wanted in exact.items():
        values = found[name]
        other = values != wanted.float().to(values.dtype)
        beside = (values.double() - wanted).abs() > wanted.abs() * torch.finfo(values.dtype).eps * 0.5 * (1 + 1e-5)
        wrong += int((other & beside).sum())
    return wrong


def spoil(folder: Path, how: str, base: str) -> bool:
    """False where the case has nothing of this to spoil."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if how == "untie":
        before = open_base(base).config.tie_word_embeddings
        if before == config.get("tie_word_embeddings", before):
            return False
        config["tie_word_embeddings"] = True
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return True
    spoilt = False
    plain = stored(BASES / base)
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            metadata, tensors = opened.metadata(), {key: opened.get_tensor(key) for key in opened.keys()}
        for key, values in tensors.items():
            if key not in plain or torch.equal(values, plain[key]):
                continue
            before = plain[key].double()
            change = values.double() - before
            if how == "scale":
                tensors[key] = (before + 0.5 * change).to(values.dtype)
                spoilt = True
            elif values.ndim == 2 and values.shape[0] == values.shape[1]:
                tensors[key] = (before + change.T).contiguous().to(values.dtype)
                spoilt = True
        save_file(tensors, file, metadata=metadata)
    return spoilt


def write_fixture(case: str, adapter: Path, merged: Path) -> None:
    folder = FIXTURES / case
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(adapter / name, folder / name)
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(merged.iterdir())}
    about = {"base": CASES[case][0], "sha256": hashes}
    (folder / "merged.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def check(case: str, folder: Path, fault: str | None, *, write: bool) -> bool | None:
    """None where the case has nothing of the fault."""
    base, _ = CASES[case]
    adapter, out = folder / f"{case}.adapter", folder / case
    model = make_adapter(case, adapter)
    export(BASES / base, adapter, "--to", "merged", "--out", out)
    if fault is not None and not spoil(out, fault, base):
        print(f"{case:22s} has nothing of this")
        return None
    names = {file.name for file in out.iterdir()}
    same_files = {file.name for file in (BASES / base).iterdir()} == names
    merged, loading = AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    strange = [key for key in [*loading["missing_keys"], *loading["unexpected_keys"]] if not key.endswith("attn.bias")]
    tokenizers = [AutoTokenizer.from_pretrained(path)(TEXT)["input_ids"] for path in (out, BASES / base)]
    found, before = stored(out), stored(BASES / base)
    kept = all(found[key].dtype == before[key].dtype for key in before)
    vocabulary = merged.config.vocab_size
    wanted = logits(model, vocabulary)
    off, moved = compare(logits(merged, vocabulary), wanted), compare(logits(open_base(base), vocabulary), wanted)
    dtype = next(iter(before.values())).dtype
    line = f"{case:22s} {off:.1e}   (it moves the logits by {moved:.1e})   {'tied' if merged.config.tie_word_embeddings else 'untied'}"
    # Transformers sees that two tensors are there and differ; the config must say so all the same.
    says_so = merged.config.tie_word_embeddings == ("lm_head.weight" not in found)
    right = same_files and says_so and not strange and kept and tokenizers[0] == tokenizers[1]
    if dtype == torch.float32:
        right = right and off <= TOLERANCE
    else:
        wrong = wrongly_rounded(found, exact_weights(model))
        line += f"   {str(dtype).removeprefix('torch.')}: {wrong} values wrongly rounded"
        right = right and wrong == 0
    if strange:
        line += f"   keys {strange}"
    print(line if right else f"{line}   FAILED", flush=True)
    if write and right and case in KEPT:
        write_fixture(case, adapter, out)
    return right


def main() -> None:
    args = arguments(__doc__, ["scale", "turn", "untie"], "--write")
    cases = chosen(args.cases, CASES)
    with tempfile.TemporaryDirectory() as folder:
        results = {case: check(case, Path(folder), args.fault, write=args.write) for case in cases}
    end(results, args.fault)


if __name__ == "__main__":
    main()
