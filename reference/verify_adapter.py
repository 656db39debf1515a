"""Opens an exported adapter folder in PEFT and says whether it is what it claims to be.

    python reference/verify_adapter.py MODEL_DIR ADAPTER_DIR [--logits FILE] [--expect METRICS]

Fails (exit code 1) where PEFT warns, where a key of the file was not used, where a trainable tensor was
not in the file or came back with another value. `--logits` names what Graft computed with the same
adapter, {"ids": […], "logits": [[…], …]}: it has to agree with PEFT within 1e-5 of the largest logit.
`--expect` names a metrics.jsonl: steps from 1 without a gap, numbers finite, as many as it says trained.
"""

import argparse
import json
import math
import sys
import warnings
from pathlib import Path

import torch
from oracle import is_read
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

TOLERANCE = 1e-5
# PEFT's remarks on things that are meant: a tied head trained whole, Conv1D's orientation, B's bias where the base has
# none, Torch's own news.
EXPECTED_WARNINGS = ("ensure_weight_tying", "fan_in_fan_out", "`lora_bias=True`", "is_gradient_checkpointing")


def open_adapter(model_dir: Path, adapter_dir: Path) -> tuple[PeftModel, list[str]]:
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")
    config = PeftConfig.from_pretrained(adapter_dir)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(model, adapter_dir, config=config, is_trainable=True)
    said = [str(warning.message) for warning in caught]
    return model.eval(), [text for text in said if not any(known in text for known in EXPECTED_WARNINGS)]


def key_complaints(model: PeftModel, adapter_dir: Path) -> list[str]:
    stored = load_file(adapter_dir / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    # PEFT writes copies of the base's head and embedding along, and loads them over the base's.
    copied = {key: tensor for key, tensor in model.state_dict().items() if key in stored and key not in loaded}
    loaded |= copied
    complaints = [f"not used by PEFT: {key}" for key in sorted(set(stored) - set(loaded))]
    complaints += [f"missing in the file: {key}" for key in sorted(set(loaded) - set(stored)) if is_read(key)]
    for key in sorted(set(stored) & set(loaded)):
        if stored[key].shape != loaded[key].shape or not torch.equal(stored[key].float(), loaded[key].float()):
            complaints.append(f"loaded with another value: {key}")
    return complaints


def logit_error(model: PeftModel, file: Path) -> float:
    """How far Graft's logits are from PEFT's, relative to the largest."""
    dump = json.loads(file.read_text(encoding="utf-8"))
    with torch.no_grad():
        wanted = model(input_ids=torch.tensor([dump["ids"]]), use_cache=False).logits[0].double()
    found = torch.tensor(dump["logits"], dtype=torch.float64)
    if found.shape != wanted.shape:
        raise SystemExit(f"{file}: logits are {list(found.shape)}, PEFT's {list(wanted.shape)}")
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def logit_complaints(error: float) -> list[str]:
    # Written so that NaN fails.
    return [] if error <= TOLERANCE else [f"logits differ by {error:.2e} of the largest"]


def judge(model_dir: Path, adapter_dir: Path, logits: Path) -> tuple[float, list[str]]:
    """How far Graft's logits are from those of PEFT's model, and all that is wrong with the adapter."""
    model, complaints = open_adapter(model_dir, adapter_dir)
    error = logit_error(model, logits)
    return error, [*complaints, *key_complaints(model, adapter_dir), *logit_complaints(error)]


def metric_complaints(file: Path) -> list[str]:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    complaints = []
    if not steps or [line["step"] for line in steps] != list(range(1, len(steps) + 1)):
        complaints.append(f"{file}: steps do not count 1, 2, 3 …")
    for line in steps:
        if not all(math.isfinite(line[name]) for name in ("loss", "lr", "grad_norm", "elapsed_ms")):
            complaints.append(f"{file}: step {line['step']} holds a number that is not finite")
        if line["tokens"] < 1:
            complaints.append(f"{file}: step {line['step']} trained no target")
    return complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("adapter_dir", type=Path)
    parser.add_argument("--logits", type=Path)
    parser.add_argument("--expect", type=Path, metavar="METRICS")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()

    model, complaints = open_adapter(args.model_dir, args.adapter_dir)
    trainable = [(name, tuple(p.shape)) for name, p in model.named_parameters() if p.requires_grad]
    for name, shape in trainable:
        print(f"{name} {list(shape)}")
    print(f"{len(trainable)} trainable tensors, {sum(math.prod(shape) for _, shape in trainable)} numbers")

    complaints += key_complaints(model, args.adapter_dir)
    if args.logits is not None:
        error = logit_error(model, args.logits)
        print(f"largest difference of logits {error:.2e} of the largest, allowed {TOLERANCE:.0e}")
        complaints += logit_complaints(error)
    else:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[0, 1, 2, 3]]), use_cache=False).logits
        print(f"largest logit on the ids 0 1 2 3: {logits.abs().max().item():.6f}")
    if args.expect is not None:
        complaints += metric_complaints(args.expect)

    for complaint in complaints:
        print(f"error: {complaint}", file=sys.stderr)
    if complaints:
        raise SystemExit(1)
    print("PEFT opens it, key by key")


if __name__ == "__main__":
    main()
