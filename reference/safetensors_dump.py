"""Small files written by Python's safetensors, for test/formats: what Graft reads and writes must be these bytes."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).parent.parent / "test" / "formats" / "fixtures"

FLOATS = [0.0, -0.0, 1.0, -1.5, 65504.0, 6.1e-5, 5.9e-8, float("inf"), float("-inf"), float("nan"), 1e-3, 3.14159]


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    every_type = {
        "f32": torch.tensor(FLOATS).reshape(3, 4),
        "f64": torch.tensor(FLOATS, dtype=torch.float64) / 3,
        "f16": torch.tensor(FLOATS).half(),
        "bf16": torch.tensor(FLOATS).bfloat16(),
        "i64": torch.tensor([-1, 2**40]),
        "i32": torch.tensor([[-7]], dtype=torch.int32),
        "i16": torch.tensor([-300, 300], dtype=torch.int16),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(2, 0),
    }
    save_file(every_type, FIXTURES / "every_type.safetensors", metadata={"format": "pt"})
    # Names whose order in UTF-8 differs from that in UTF-16, and all that JSON escapes.
    names = ["\U0001f600", "\uffee", "é", "z", "a", 'quote"\\/', "tab\t\x01\x7f\u2028", "__proto__", "model.layers.10.w"]
    save_file({name: torch.tensor([float(i)]) for i, name in enumerate(names)}, FIXTURES / "names.safetensors")

    shards = FIXTURES / "sharded"
    shards.mkdir(exist_ok=True)
    parts = [{"a": torch.arange(4.0)}, {"b": torch.arange(6.0).reshape(2, 3), "c": torch.tensor([1.0]).half()}]
    weight_map = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file(part, shards / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 42}, "weight_map": weight_map}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()
