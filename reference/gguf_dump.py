"""Small GGUF files as gguf-py writes them: test/formats/fixtures/*.gguf, and what is in them as values.gguf.json."""

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

FOLDER = Path("test/formats/fixtures")


def every_type() -> GGUFWriter:
    writer = GGUFWriter(FOLDER / "every_type.gguf", "llama")
    writer.add_uint8("n.u8", 255)
    writer.add_int8("n.i8", -128)
    writer.add_uint16("n.u16", 65535)
    writer.add_int16("n.i16", -32768)
    writer.add_uint32("n.u32", 2**32 - 1)
    writer.add_int32("n.i32", -(2**31))
    writer.add_float32("n.f32", 0.1)
    writer.add_uint64("n.u64", 2**64 - 1)
    writer.add_int64("n.i64", -(2**63))
    writer.add_float64("n.f64", 0.1)
    writer.add_bool("n.bool", True)
    writer.add_string("n.string", "grün \U0001f331\n")
    writer.add_array("a.bool", [True, False])
    writer.add_array("a.nested", [[[1, 2], [3]], [[4]]])
    writer.add_array("tokenizer.ggml.tokens", ["a", "ä", "", "long token"])
    writer.add_key_value("a.u16", [1, 65535], GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT16)
    writer.add_key_value("a.f64", [0.1, -0.0], GGUFValueType.ARRAY, sub_type=GGUFValueType.FLOAT64)
    writer.add_key_value("a.i64", [-1, 2**62], GGUFValueType.ARRAY, sub_type=GGUFValueType.INT64)
    writer.add_array("a.i32", [-1, 2])
    writer.add_array("a.f32", [0.5, 1.5])
    writer.add_uint32("tokenizer.ggml.eos_token_id", 3)
    return writer


def add_tensors(writer: GGUFWriter) -> dict[str, list[float]]:
    """Tensors of each type that is decoded, and one that is not; gives the values that gguf-py decodes."""
    values = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    values[0, :4] = [0.0, -0.0, 1e-7, 65504.0]
    decoded = {}
    for kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16, GGMLQuantizationType.Q8_0):
        stored = quantize(values, kind)
        writer.add_tensor(f"{kind.name.lower()}.weight", stored, raw_dtype=kind)
        decoded[f"{kind.name.lower()}.weight"] = dequantize(stored, kind).ravel().tolist()
    writer.add_tensor("q4_k.weight", np.zeros((2, 144), np.uint8), raw_dtype=GGMLQuantizationType.Q4_K)
    writer.add_tensor("cube", np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3))
    writer.add_tensor("bytes", np.array([1, -1, 7], np.int8))
    writer.add_tensor("wide", np.array([0.1], np.float64))
    return decoded


def rounded() -> GGUFWriter:
    """Values of many sizes, and such as lie half way between two steps, in the types that Graft writes."""
    random = np.random.default_rng(1)
    values = random.normal(size=(24, 64)) * 10.0 ** random.integers(-9, 4, size=(24, 1))
    values[0, :32] = 0.0
    # Halves of steps where the largest is 127: away from zero, both ways.
    values[1, :32] = np.arange(32) - 15.5
    values[1, 31] = 127
    values[2, :32] = -values[1, :32]
    values[3, :32] = np.arange(32) * 2.0**-26  # f16's smallest steps
    values = values.astype(np.float32)
    writer = GGUFWriter(FOLDER / "rounded.gguf", "llama")
    for kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0):
        writer.add_tensor(kind.name, quantize(values, kind), raw_dtype=kind)
    return writer


def write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    writer = every_type()
    decoded = add_tensors(writer)
    write(writer)
    aligned = GGUFWriter(FOLDER / "aligned.gguf", "gpt2")
    aligned.add_custom_alignment(256)
    aligned.add_tensor("one", np.ones((1, 3), np.float32))
    aligned.add_tensor("two", np.full((2, 2), 2, np.float16))
    write(aligned)
    write(rounded())
    (FOLDER / "values.gguf.json").write_text(json.dumps(decoded) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
