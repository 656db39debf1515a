"""The forms of adapter for wild_adapters.py: how each is made, what PEFT does with it and what Graft shall.

They are those of public adapters: what versions of PEFT since 0.2 wrote, other trainers and converters, and hands that
edited a config. Each begins as a folder that PEFT saved of a tiny base's adapter, and is edited until it is the form.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from oracle import DUMPS
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftConfig, get_peft_model
from random_adapters import give_values, load
from safetensors.torch import load as parse
from safetensors.torch import save_file
from targets_dump import UNSLOTH
from transformers import AutoModel, AutoModelForSequenceClassification

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = r"^base_model\.model\."
QV = ["q_proj", "v_proj"]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TABLES = ["embed_tokens", "lm_head"]
BY_PEFT = {"format": "pt"}
Edit = Callable[[Path], None]
Tensors = dict[str, torch.Tensor]

# What PEFT does.
OPENS, LOSES, FAILS = "opens", "leaves tensors out", "refuses"
# What Graft shall do, or the code of the error with which it refuses: equal PEFT, or PEFT with the folder before the edits.
AGREES, AS_BEFORE = "agrees", "agrees with what it was before"


@dataclass
class Form:
    about: str
    edits: list[Edit] = field(default_factory=list)
    graft: str = AGREES
    peft: str = OPENS
    lora: dict = field(default_factory=dict)
    base: str = "llama"
    save: Callable[["Form", Path], None] = lambda form, folder: tuned(form).save_pretrained(folder)


def settings(form: Form) -> dict:
    return {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | form.lora


def tuned(form: Form, base: torch.nn.Module | None = None) -> torch.nn.Module:
    given = settings(form)
    model = get_peft_model(load(form.base) if base is None else base, LoraConfig(**given))
    give_values(model, given.get("init_lora_weights", True))
    return model


def config(**changes: object) -> Edit:
    """Other values in adapter_config.json."""
    return lambda folder: write_config(folder, read_config(folder) | changes)


def only(keys: str) -> Edit:
    """What an earlier version of PEFT knew, or a hand wrote."""

    def edit(folder: Path) -> None:
        there = read_config(folder)
        write_config(folder, {key: there[key] for key in keys.split() if key in there})

    return edit


def read_config(folder: Path) -> dict:
    return json.loads((folder / CONFIG).read_text(encoding="utf-8"))


def write_config(folder: Path, content: dict) -> None:
    (folder / CONFIG).write_text(json.dumps(content, indent=2), encoding="utf-8")


def config_bytes(change: Callable[[bytes], bytes]) -> Edit:
    return lambda folder: change_bytes(folder / CONFIG, change)


def weight_bytes(change: Callable[[bytes], bytes]) -> Edit:
    return lambda folder: change_bytes(folder / WEIGHTS, change)


def change_bytes(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


def stored(folder: Path) -> Tensors:
    """Read whole: a file that is mapped must not be written."""
    return parse((folder / WEIGHTS).read_bytes())


def tensors(change: Callable[[Tensors], Tensors], metadata: dict[str, str] | None = BY_PEFT) -> Edit:
    def edit(folder: Path) -> None:
        changed = {key: tensor.contiguous() for key, tensor in change(stored(folder)).items()}
        save_file(changed, folder / WEIGHTS, metadata)

    return edit


def each(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Edit:
    return tensors(lambda all_: {key: change(key, tensor) for key, tensor in all_.items()})


def keys(pattern: str, replacement: str) -> Edit:
    return tensors(lambda all_: {re.sub(pattern, replacement, key): tensor for key, tensor in all_.items()})


def files(**contents: bytes) -> Edit:
    """More files; `__` in a name stands for the dot."""

    def edit(folder: Path) -> None:
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_bytes(content)

    return edit


def pickled(folder: Path) -> None:
    torch.save(stored(folder), folder / "adapter_model.bin")


def without_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled_in_place(folder: Path) -> None:
    torch.save(stored(folder), folder / WEIGHTS)


def as_mlx(folder: Path) -> None:
    """mlx-lm's own: A and B lie the other way round, and the config is of the run."""
    there = stored(folder)
    turned = {re.sub(r"lora_([AB])\.weight$", lambda half: f"lora_{half[1].lower()}", key): value.T for key, value in there.items()}
    save_file({re.sub(PREFIX, "", key): value.contiguous() for key, value in turned.items()}, folder / "adapters.safetensors")
    without_safetensors(folder)
    parameters = {"rank": 4, "scale": 2.0, "dropout": 0.0, "keys": [f"self_attn.{name}" for name in QV]}
    write_config(folder, {"fine_tune_type": "lora", "model": "a/b", "num_layers": 2, "lora_parameters": parameters})


def extracted(all_: Tensors) -> Tensors:
    """As mergekit extracts a LoRA from a finetuned model: the smaller ranks are what the matrices needed."""
    return {key: cut(key, tensor) for key, tensor in all_.items()}


def cut(key: str, tensor: torch.Tensor) -> torch.Tensor:
    if "mlp" not in key:
        return tensor
    return tensor[:2] if "lora_A" in key else tensor[:, :2]


def halves_of_tables(key: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor if "lora_" in key else tensor.bfloat16()


def save_tables(form: Form, folder: Path) -> None:
    tuned(form).save_pretrained(folder, save_embedding_layers=True)


def save_in(dtype: torch.dtype) -> Callable[[Form, Path], None]:
    return lambda form, folder: tuned(form).to(dtype).save_pretrained(folder)


def save_converted(form: Form, folder: Path) -> None:
    """As LLaMA-Factory and PEFT's examples hand on a start that was taken from the base."""
    model = get_peft_model(load(form.base), LoraConfig(**settings(form)))
    init = model.peft_config["default"].init_lora_weights
    model.peft_config["default"].init_lora_weights = True
    start = folder.parent / "start"
    model.save_pretrained(start)
    model.peft_config["default"].init_lora_weights = init
    give_values(model, init)
    model.save_pretrained(folder, path_initial_model_for_weight_conversion=str(start))


def save_with_another(form: Form, folder: Path) -> None:
    """As TRL does with the adapter that a preference is held against."""
    model = tuned(form)
    model.add_adapter("reference", LoraConfig(r=2, target_modules=QV, task_type="CAUSAL_LM"))
    model.save_pretrained(folder)


def save_weighted(form: Form, folder: Path) -> None:
    model = tuned(form)
    model.add_adapter("other", LoraConfig(r=2, target_modules=ALL, task_type="CAUSAL_LM"))
    model.set_adapter("other")
    give_values(model, True)
    model.add_weighted_adapter(["default", "other"], [0.7, 0.5], "both", combination_type="cat")
    model.save_pretrained(folder.parent, selected_adapters=["both"])
    (folder.parent / "both").rename(folder)


def save_by_transformers(form: Form, folder: Path) -> None:
    model = load(form.base)
    model.add_adapter(LoraConfig(**settings(form)))
    give_values(model, True)
    model.save_pretrained(folder)


def save_of(model_type: type) -> Callable[[Form, Path], None]:
    """Of a model without the head, or with a head of its own."""

    def save(form: Form, folder: Path) -> None:
        model = model_type.from_pretrained(DUMPS / "bases" / form.base, dtype=torch.float32, num_labels=2)
        tuned(form, model).save_pretrained(folder)

    return save


def save_method(method: type[PeftConfig]) -> Callable[[Form, Path], None]:
    return lambda form, folder: get_peft_model(load(form.base), method(task_type="CAUSAL_LM", **form.lora)).save_pretrained(folder)


def save_resized(save_embedding_layers: bool | str) -> Callable[[Form, Path], None]:
    """Of a base that was given three tokens more."""

    def save(form: Form, folder: Path) -> None:
        base = load(form.base)
        base.resize_token_embeddings(base.config.vocab_size + 3)
        tuned(form, base).save_pretrained(folder, save_embedding_layers=save_embedding_layers)

    return save


V02 = "base_model_name_or_path bias fan_in_fan_out inference_mode lora_alpha lora_dropout modules_to_save peft_type r target_modules task_type"
V04 = f"{V02} auto_mapping init_lora_weights layers_pattern layers_to_transform revision"
V07 = f"{V04} alpha_pattern rank_pattern loftq_config megatron_config megatron_core"
V10 = f"{V07} use_rslora use_dora layer_replication"
UNSLOTH_MAPPING = {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama", "unsloth_fixed": True}
EVA = {"rho": 2.0, "tau": 0.99, "use_label_mask": True, "label_mask_value": -100, "whiten": False, "adjust_scaling_factors": True}
CHECKPOINT = {"optimizer__pt": b"PK", "scheduler__pt": b"PK", "rng_state__pth": b"PK", "training_args__bin": b"PK", "trainer_state__json": b"{}",
              "tokenizer_config__json": b"{}", "value_head__safetensors": b"\x08" + bytes(7) + b"{}      "}  # fmt: skip
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 83945296\n"


def not_opened(about: str, code: str, *edits: Edit, peft: str = FAILS, **more: object) -> Form:
    return Form(about, list(edits), graft=code, peft=peft, **more)


# A file whose names no longer are save_pretrained's: PEFT opens it, says so in a warning and computes the base.
def renamed(about: str, pattern: str, replacement: str, **more: object) -> Form:
    return not_opened(about, "tensor-missing", keys(pattern, replacement), peft=LOSES, **more)


FORMS = {
    # Configs over the years.
    "plain": Form("as PEFT saves it today"),
    "v0_2": Form("PEFT 0.2, with keys that are gone", [only(V02), config(enable_lora=None, merge_weights=False)], lora={"target_modules": QV}),
    "v0_4": Form("PEFT 0.4", [only(V04)]),
    "v0_7": Form("PEFT 0.7, with patterns", [only(V07)], lora={"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 4}}),
    "v0_10": Form("PEFT 0.10, with DoRA", [only(V10)], lora={"use_dora": True, "use_rslora": True}),
    "v0_4_bias": not_opened("PEFT 0.4 with biases, whose names were others", "tensor-missing", only(V04), keys(r"\.base_layer\.bias$", ".bias"), peft=LOSES,
                            base="llama_bias", lora={"bias": "all"}),
    "unknown_keys": Form("keys that no PEFT knows", [config(peft_version="0.17.1@UNKNOWN", bnb_config=None, torch_dtype="bfloat16", future={"a": [1]})]),
    "in_training": Form("a checkpoint of a run: inference_mode is false", [config(inference_mode=False, lora_dropout=0.05)]),
    # Trainers and services.
    "torchtune": Form("torchtune: what has no default, and no more", [only("peft_type r lora_alpha target_modules")]),
    "defaults": Form("no more than the method and the modules", [only("peft_type target_modules")], lora={"r": 8}),
    "axolotl": Form("axolotl: null where its YAML is empty, tables trained", [config(fan_in_fan_out=None, layers_to_transform=None)],
                    lora={"modules_to_save": TABLES, "lora_dropout": 0.05}),
    "llama_factory": Form("LLaMA-Factory: a Trainer's checkpoint, pickles and a value head beside the adapter", [files(**CHECKPOINT)]),
    "swift": Form("ms-swift: keys and a file of its own",
                  [config(lora_dtype=None, lorap_lr_ratio=None, lorap_emb_lr=1e-06), files(additional_config__json=b"{}")]),
    "unsloth": Form("Unsloth: a pattern for language and vision layers", [config(auto_mapping=UNSLOTH_MAPPING, unsloth_version="2025.9")],
                    lora={"target_modules": UNSLOTH}),
    "unsloth_tables": Form("Unsloth: tables trained, in bf16 beside factors in f32", [each(halves_of_tables)],
                           lora={"target_modules": QV, "modules_to_save": TABLES}),
    "trl_reference": Form("TRL: another adapter in a folder of its own", save=save_with_another),
    "mergekit": Form("mergekit: extracted, a rank for each matrix by name, norms whole",
                     [tensors(extracted), config(rank_pattern={f"model.layers.{layer}.mlp.{name}": 2 for layer in (0, 1) for name in ALL[4:]})],
                     lora={"target_modules": ALL, "alpha_pattern": {"down_proj": 5}, "modules_to_save": ["input_layernorm", "model.norm"]}),
    "weighted": Form("two adapters made one by add_weighted_adapter", save=save_weighted),
    "transformers": Form("Transformers' own add_adapter", save=save_by_transformers, lora={"target_modules": QV}),
    "mlx_metadata": Form("converted from MLX: its name in the metadata", [tensors(dict, {"format": "mlx"})]),
    "mlx": not_opened("mlx-lm's own form", "no-adapter-weights", as_mlx, lora={"target_modules": QV}),
    # Nulls, and numbers written otherwise.
    "null_switches": Form("null where PEFT takes it for false",
                          [config(use_rslora=None, use_dora=None, lora_bias=None, fan_in_fan_out=None, init_lora_weights=None)]),
    "null_keys": Form("null where nothing is described",
                      [config(base_model_name_or_path=None, revision=None, auto_mapping=None, layers_pattern=None, eva_config=None, runtime_config=None)]),
    "null_patterns": Form("null for no pattern", [config(rank_pattern=None, alpha_pattern=None, loftq_config=None)], AS_BEFORE, FAILS),
    "null_dropout": not_opened("null for no dropout", "bad-value", config(lora_dropout=None)),
    "null_bias": not_opened("null for no biases", "bad-value", config(bias=None)),
    "empty_lists": Form("empty lists", [config(layers_pattern=[], modules_to_save=[], exclude_modules=[], layers_to_transform=[], target_parameters=[])]),
    "empty_pattern": Form("an empty text for no pattern of layers", [config(layers_pattern="")]),
    "float_alpha": Form("alpha with a point, dropout without", [config(lora_alpha=8.0, lora_dropout=0)]),
    "float_rank": Form("a rank with a point", [config(r=4.0)], AS_BEFORE, FAILS),
    "negative_alpha": Form("an adapter that is taken away", [config(lora_alpha=-4)]),
    "string_numbers": not_opened("numbers in quotes", "bad-value", config(r="4", lora_alpha="8")),
    # Which modules, and for what.
    "seq_cls": Form("said to classify", lora={"task_type": "SEQ_CLS"}),
    "features": Form("said to extract features", lora={"task_type": "FEATURE_EXTRACTION"}),
    "no_task": Form("of no task", lora={"task_type": None}),
    "whole_names": Form("modules by their whole names", lora={"target_modules": ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"]}),
    "other_names": Form("names twice, and those of other families among them", [config(target_modules=[*QV, *QV, "query_key_value", "Wqkv"])], lora={"target_modules": QV}),
    "all_linear": Form("all-linear by that name", [config(target_modules="all-linear")]),
    "one_name": not_opened("a name where a pattern would stand", "no-module-matched", config(target_modules="q_proj"), lora={"target_modules": ["q_proj"]}),
    "lookahead": not_opened("a pattern that leaves vision layers out by a lookahead, which no matcher of linear time has", "bad-pattern", peft=OPENS,
                            lora={"target_modules": r"^(?!.*visual).*\.(?:q_proj|v_proj)$"}),
    "fewer_modules": not_opened("the file holds more modules than the config names", "unknown-tensor", config(target_modules=QV), peft=LOSES),
    "more_modules": not_opened("the config names more modules than the file holds", "tensor-missing", config(target_modules=ALL), peft=LOSES,
                               lora={"target_modules": QV}),
    "other_rank": not_opened("a rank that the file has not", "rank-mismatch", config(r=8)),
    "conv1d": Form("GPT-2, which PEFT corrects", [config(fan_in_fan_out=False)], base="gpt2", lora={"target_modules": ["c_attn", "c_proj"]}),
    "qwen3": Form("Qwen 3", base="qwen3", lora={"target_modules": QV}),
    # Tensors by other names.
    "default_in_keys": Form("the adapter's name in the keys, of a model's whole state", [keys(r"\.(weight)$", r".default.\1")]),
    "weight_of_magnitudes": Form("DoRA's magnitudes as a layer's weight", [keys(r"(magnitude_vector)$", r"\1.weight")], lora={"use_dora": True}),
    "name_in_keys": renamed("another adapter's name in the keys", r"\.(weight)$", r".policy.\1"),
    "compiled_within": renamed("torch.compile below PEFT", PREFIX, "base_model.model._orig_mod."),
    "compiled_around": renamed("torch.compile around PEFT", "^", "_orig_mod."),
    "parallel": renamed("DataParallel around PEFT", "^", "module."),
    "lightning": renamed("Lightning around PEFT", "^", "_forward_module."),
    "fsdp": renamed("FSDP around a layer", r"(layers\.0\.)", r"\1_fsdp_wrapped_module."),
    "checkpointed": renamed("recomputed activations around a layer", r"(layers\.0\.)", r"\1_checkpoint_wrapped_module."),
    "no_prefix": renamed("inject_adapter_in_model, without PEFT's wrappers", PREFIX, ""),
    "language_model": renamed("the language model of a vision model", rf"{PREFIX}model\.", "base_model.model.model.language_model."),
    "headless": not_opened("of a model without a head, as those that embed texts", "tensor-missing", peft=LOSES,
                           lora={"task_type": "FEATURE_EXTRACTION"}, save=save_of(AutoModel)),
    "reward": not_opened("of a model that scores texts, with its head", "unknown-tensor", peft=LOSES,
                         lora={"task_type": "SEQ_CLS"}, save=save_of(AutoModelForSequenceClassification)),
    # Files.
    "half": Form("in f16", save=save_in(torch.float16)),
    "bf16": Form("in bf16", save=save_in(torch.bfloat16)),
    "double": Form("in f64, as NumPy writes it", [each(lambda _, tensor: tensor.double())]),
    "one_half": Form("A in f16, B in f32", [each(lambda key, tensor: tensor.half() if "lora_A" in key else tensor)]),
    "no_metadata": Form("no metadata", [tensors(dict, None)]),
    "both_files": Form("a pickle beside it", [pickled]),
    "pickle": not_opened("a pickle, as PEFT wrote until 0.7", "pickle", pickled, without_safetensors, peft=OPENS),
    "pickle_by_name": not_opened("a pickle that is called safetensors", "safetensors-other-file", pickled_in_place),
    "lfs_pointer": not_opened("Git's pointer to the file", "safetensors-other-file", weight_bytes(lambda _: LFS)),
    "cut_off": not_opened("a download that ended early", "safetensors-data-short", weight_bytes(lambda content: content[:-100])),
    "zero3": not_opened("DeepSpeed's ZeRO-3 without its shards", "shape-mismatch", each(lambda _, tensor: tensor.new_zeros(0))),
    "counter": not_opened("a step counter among the tensors", "unknown-tensor", tensors(lambda all_: all_ | {"step": torch.tensor(7)}), peft=LOSES),
    "windows": Form("lines that end as on Windows", [config_bytes(lambda content: content.replace(b"\n", b"\r\n"))]),
    "byte_order_mark": Form("a byte order mark", [config_bytes(lambda content: b"\xef\xbb\xbf" + content)], AS_BEFORE, FAILS),
    "utf16": not_opened("UTF-16", "json", config_bytes(lambda content: content.decode().encode("utf-16"))),
    "comma": not_opened("a comma too many", "json", config_bytes(lambda content: content.replace(b"\n}", b",\n}"))),
    # Tables.
    "tables_adapted": Form("LoRA on embedding and head", lora={"target_modules": [*QV, *TABLES]}),
    "tables_along": Form("tables saved along", lora={"target_modules": QV}, save=save_tables),
    "tables_rounded": Form("tables of a base in bf16 saved along; Graft takes the base's", [each(halves_of_tables)], AS_BEFORE, OPENS,
                           lora={"target_modules": QV}, save=save_tables),
    "tables_tied": Form("both tables of a tied base trained", base="llama_tied", lora={"target_modules": QV, "modules_to_save": TABLES}),
    "embedding_tied": Form("the embedding of a tied base trained, not its head", base="llama_tied", lora={"modules_to_save": ["embed_tokens"]}),
    "resized": not_opened("tables with more tokens saved along", "shape-mismatch", lora={"target_modules": QV}, save=save_resized("auto")),
    "resized_trained": not_opened("tables with more tokens trained", "shape-mismatch", save=save_resized(False),
                                  lora={"target_modules": QV, "modules_to_save": TABLES}),
    "resized_left_out": Form("trained on a base with more tokens, which are not saved", lora={"target_modules": QV}, save=save_resized(False)),
    # Starts.
    "pissa": Form("pissa as trained", lora={"init_lora_weights": "pissa"}),
    "pissa_converted": Form("pissa converted", lora={"init_lora_weights": "pissa"}, save=save_converted),
    "pissa_niter": not_opened("pissa from random vectors", "start-unknown", peft=OPENS, lora={"init_lora_weights": "pissa_niter_16"}),
    "corda_converted": Form("corda converted, its settings kept", [config(corda_config={"cache_file": None, "corda_method": "ipm"})]),
    "corda": not_opened("corda as trained", "start-unknown", config(init_lora_weights="corda", corda_config={})),
    "eva": Form("eva", [config(init_lora_weights="eva", eva_config=EVA)]),
    "mica": Form("mica", [config(init_lora_weights="mica")]),
    "lora_ga": not_opened("lora_ga as trained, whose base PEFT has not either", "start-unknown", config(init_lora_weights="lora_ga"), peft=OPENS),
    "loftq": not_opened("loftq, for which PEFT wants a package", "start-unknown", config(init_lora_weights="loftq", loftq_config={"loftq_bits": 4})),
    # What is not built.
    "layers_stacked": not_opened("layers stacked anew", "not-supported", peft=OPENS, lora={"layer_replication": [[0, 2], [1, 2]]}),
    "parameters": not_opened("parameters by name", "not-supported", peft=OPENS, lora={"target_modules": [], "target_parameters": ["q_proj.weight"]}),
    "activated": not_opened("LoRA from some tokens on", "not-supported", peft=OPENS, lora={"alora_invocation_tokens": [5, 17]}),
    "megatron": not_opened("Megatron's layers, for which PEFT wants a package", "not-supported", config(megatron_config={"tensor_model_parallel_size": 1})),
    "adalora": not_opened("AdaLoRA", "not-lora", peft=OPENS, save=save_method(AdaLoraConfig), lora={"init_r": 4, "total_step": 9, "target_modules": QV}),
    "ia3": not_opened("IA3", "not-lora", peft=OPENS, save=save_method(IA3Config), lora={"target_modules": ["k_proj"], "feedforward_modules": []}),
}  # fmt: skip
