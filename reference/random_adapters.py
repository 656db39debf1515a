"""Adapters with settings drawn by chance, as PEFT saves them, and what PEFT makes of them, for Graft to equal.

    python reference/random_adapters.py SEED COUNT OUT_DIR

The settings are those of random_runs.py. Every trained tensor gets values of its own; some adapters are saved in halves, with
the tables (`save_embedding_layers`), or converted from pissa or olora. OUT_DIR gets a folder for each, with the logits of
PEFT's model that has opened it again, and stacks.json: adapters at strengths, without layers and added up, on weights that
are made here in float64 as docs/adapters.md defines them. The same seed draws the same adapters. `test/train/randomAdapters.ts`
holds Graft against them.
"""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bases import write_json
from oracle import DUMPS, as_double
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper
from random_runs import Drawing, arguments, decompose_exactly
from transformers import AutoModelForCausalLM

TOKENS = 9
OF_BASE = ("pissa", "olora")
Weights = dict[str, torch.Tensor]


def load(base: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(DUMPS / "bases" / base, dtype=torch.float32).eval()


def logits_of(model: torch.nn.Module, ids: list[int]) -> list[list[float]]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return [[float(f"{value:.8g}") for value in row] for row in logits.tolist()]


@torch.no_grad()
def give_values(model: torch.nn.Module, init: bool | str) -> None:
    for key, parameter in model.named_parameters():
        # With bias "all" PEFT trains what stands below modules_to_save too, and then runs the other.
        if not parameter.requires_grad or "original_module" in key:
            continue
        noise = torch.randn(parameter.shape)
        if "lora_magnitude_vector" in key:
            parameter.mul_(1 + 0.2 * noise)
        elif "lora_" in key and init not in OF_BASE:
            parameter.copy_(0.15 * noise)
        else:
            parameter.add_(0.1 * noise)


def save(model: torch.nn.Module, folder: Path, draw: random.Random) -> None:
    config = model.peft_config["default"]
    init = config.init_lora_weights
    converts = init in OF_BASE and draw.random() < 0.5
    if converts:
        config.init_lora_weights = True
        model.save_pretrained(folder / "start")
        config.init_lora_weights = init
    give_values(model, init)
    half = draw.choice([None, None, torch.bfloat16, torch.float16])
    if half is not None and init not in OF_BASE:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(half)
    start = {"path_initial_model_for_weight_conversion": str(folder / "start")} if converts else {}
    model.save_pretrained(folder / "adapter", save_embedding_layers=draw.choice(["auto", True, False]), **start)


@dataclass
class Change:
    """What an adapter makes of a parameter: (the parameter, strength) → the parameter."""

    name: str
    at: Callable[[torch.Tensor, float], torch.Tensor]


def replaced(name: str, after: torch.Tensor) -> Change:
    return Change(name, lambda before, s: before + s * (after - before))


def replaced_rows(name: str, indices: list[int], rows: torch.Tensor) -> Change:
    def at(before: torch.Tensor, s: float) -> torch.Tensor:
        after = before.clone()
        after[indices] += s * (rows - before[indices])
        return after

    return Change(name, at)


def adapted(name: str, module: LoraLayer, base: Weights) -> list[Change]:
    layer = module.get_base_layer()
    layer = getattr(layer, "original_module", layer)
    # pissa and olora take what A and B began as out of the base.
    delta = module.get_delta_weight("default") + (layer.weight - base[f"{name}.weight"])
    by_feature = 0 if getattr(module, "fan_in_fan_out", False) or "default" in module.lora_embedding_A else 1

    def at(before: torch.Tensor, s: float) -> torch.Tensor:
        after = before + s * delta
        if "default" not in module.lora_magnitude_vector:
            return after
        length = before.norm(dim=by_feature, keepdim=True)
        magnitude = module.lora_magnitude_vector["default"].weight.view(length.shape)
        return (length + s * (magnitude - length)) * after / after.norm(dim=by_feature, keepdim=True)

    changes = [Change(f"{name}.weight", at)]
    bias = module.lora_B["default"].bias if "default" in module.lora_B else None
    if bias is not None:
        changes.append(Change(f"{name}.bias", lambda before, s: before + s * module.scaling["default"] * bias))
    return changes


def changes_of(model: torch.nn.Module, base: Weights) -> list[Change]:
    """Of PEFT's model in float64. LoRA comes last: it may lie upon rows that train."""
    whole, lora = {}, []
    for path, module in model.base_model.model.named_modules():
        name = re.sub(r"\.(base_layer|modules_to_save\.default|original_module|token_adapter)", "", path)
        if isinstance(module, ModulesToSaveWrapper):
            for part, parameter in module.modules_to_save["default"].named_parameters():
                whole[f"{name}.{part}"] = replaced(f"{name}.{part}", parameter)
        elif isinstance(module, TrainableTokensWrapper):
            rows = module.token_adapter.tied_adapter or module.token_adapter
            indices = module.token_adapter.token_indices["default"]
            whole[f"{name}.weight"] = replaced_rows(f"{name}.weight", indices, rows.trainable_tokens_delta["default"])
        elif isinstance(module, LoraLayer):
            lora += adapted(name, module, base)
        bias = getattr(module, "bias", None)
        if isinstance(bias, torch.nn.Parameter) and f"{name}.bias" in base:
            whole.setdefault(f"{name}.bias", replaced(f"{name}.bias", bias))
    return [*whole.values(), *lora]


def base_weights(base: str) -> Weights:
    model = load(base).double()
    # A tied head by its own name: an adapter may change it and leave the embedding.
    return {"lm_head.weight": model.lm_head.weight.detach(), **{name: p.detach() for name, p in model.named_parameters()}}


@torch.no_grad()
def stacked_logits(base: str, weights: Weights, stack: list[tuple[list[Change], dict]], ids: list[int]) -> list[list[float]]:
    after = dict(weights)
    for changes, use in stack:
        own: Weights = {}
        for change in changes:
            layer = re.search(r"\.(?:layers|h)\.(\d+)\.", change.name)
            if use["strength"] == 0 or (layer and int(layer[1]) in use["layersOff"]):
                continue
            before = own.get(change.name, weights.get(change.name, torch.zeros(())))
            own[change.name] = change.at(before, use["strength"])
        for name, values in own.items():
            zero = torch.zeros_like(values)
            after[name] = after.get(name, zero) + values - weights.get(name, zero)
    model = load(base)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    for name, values in after.items():
        path, part = name.rsplit(".", 1)
        setattr(model.get_submodule(path), part, torch.nn.Parameter(values.float()))
    return logits_of(model, ids)


def make(drawing: Drawing, folder: Path) -> torch.nn.Module:
    """One adapter and its logits; PEFT's model that has opened it again."""
    torch.manual_seed(drawing.random.randrange(2**31))
    model = get_peft_model(load(drawing.base), LoraConfig(**drawing.lora()))
    save(model, folder, drawing.random)
    model = PeftModel.from_pretrained(load(drawing.base), folder / "adapter").eval()
    ids = [drawing.random.randrange(drawing.vocabulary) for _ in range(TOKENS)]
    write_json(folder / "case.json", {"base": drawing.base, "ids": ids, "logits": logits_of(model, ids)})
    return model


def draw_stack(names: list[str], layers: int, draw: random.Random) -> list[dict]:
    return [
        {
            "name": draw.choice(names),
            "strength": draw.choice([0, 0.37, 1, 1, 1.6, 2]),
            "layersOff": [draw.randrange(layers)] if draw.random() < 0.3 else [],
        }
        for _ in range(draw.choice([1, 1, 2, 3]))
    ]


def main() -> None:
    given = arguments(__doc__)
    decompose_exactly()
    made: dict[str, dict[str, list[Change]]] = {}
    for index in range(given.count):
        drawing = Drawing(given.seed, index)
        try:
            model = make(drawing, given.out / drawing.name)
        except Exception as refusal:
            print(f"{drawing.name:16s} refused: {type(refusal).__name__}: {str(refusal)[:150]}", flush=True)
            shutil.rmtree(given.out / drawing.name, ignore_errors=True)
            continue
        # What fails from here on is no refusal of PEFT's.
        with torch.no_grad():
            changes = changes_of(as_double(model), base_weights(drawing.base))
        made.setdefault(drawing.base, {})[drawing.name] = changes
    draw = random.Random(given.seed)
    stacks = []
    for base, adapters in made.items():
        weights = base_weights(base)
        for _ in range(2 * len(adapters)):
            uses = draw_stack(list(adapters), load(base).config.num_hidden_layers, draw)
            ids = [draw.randrange(len(weights["lm_head.weight"])) for _ in range(TOKENS)]
            logits = stacked_logits(base, weights, [(adapters[use["name"]], use) for use in uses], ids)
            stacks.append({"base": base, "ids": ids, "adapters": uses, "logits": logits})
    (given.out / "stacks.json").write_text(json.dumps(stacks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
