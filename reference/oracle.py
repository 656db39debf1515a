"""What PEFT and Transformers make of a run file: the loop that Graft has to equal.

Rows are run one by one, so nothing is padded and nothing masked but what lies ahead. The loss of a
step is the sum of all its rows' nats over all its targets, however the step was cut into batches.
"""

import json
import math
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from bases import seed_of
from corpus import EOS
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from peft.optimizers import create_loraplus_optimizer
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, get_scheduler

DUMPS = Path("reference/dumps")

# TrainingArguments' defaults, for what a run file does not say.
TRAIN_DEFAULTS = {
    "max_steps": -1,
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
}


@dataclass
class Run:
    metrics: list[dict]
    initial: dict[str, torch.Tensor]
    final: dict[str, torch.Tensor]


def read_rows(base: Path, data: Path, max_length: int) -> list[list[int]]:
    """Token ids of each row that has a target, in file order."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = []
    for line in data.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        if not text.endswith(EOS):
            text += EOS
        ids = tokenizer(text)["input_ids"][:max_length]
        if len(ids) > 1:
            rows.append(ids)
    return rows


def epoch_of(rows: list[list[int]], stated: dict) -> list[list[list[int]]]:
    """The rows of each optimizer step; the last batch and the last accumulation may be short."""
    settings = TRAIN_DEFAULTS | stated
    batch, accumulation = settings["per_device_train_batch_size"], settings["gradient_accumulation_steps"]
    batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    groups = [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]
    return [[row for rows_of_batch in group for row in rows_of_batch] for group in groups]


def build_model(base: Path, lora: dict, seed: int, *, b: str, perturb: bool) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    # PEFT changes lists of the config.
    model = get_peft_model(model, LoraConfig(**deepcopy(lora)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if b == "random" and "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape) * 0.1)
            if perturb and ("modules_to_save" in name or "trainable_tokens" in name):
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    # The base's own dropouts are off, as in Graft; LoRA's dropout is zero here.
    return model.eval()


def model_of(case: dict) -> torch.nn.Module:
    base = DUMPS / "bases" / case["base"]
    model = build_model(base, case["run"]["lora"], seed_of(case["name"]), b=case["b"], perturb=case["perturb"])
    for name, parameter in model.named_parameters():
        if name_in_base(name) is not None and any(
            re.fullmatch(pattern, name_in_base(name)) for pattern in case["run"]["train"].get("requires_grad", [])
        ):
            parameter.requires_grad_(True)
    return model


def name_in_base(name: str) -> str | None:
    """The base model's own name of a parameter; None for those that PEFT has added."""
    if re.search(r"lora_|modules_to_save|original_module|token_adapter", name):
        return None
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def whole_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors of the base model that train by requires_grad alone: PEFT saves none of them. A tied one has two names."""
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {
        key_of(name): parameter.detach().clone().contiguous()
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad and name_in_base(name) is not None and key_of(name) not in saved
    }


def is_read(key: str) -> bool:
    """Whether PEFT reads a tensor again. With bias: all it writes biases of whole modules twice more."""
    return re.search(r"\.(modules_to_save|original_module)\.bias$", key) is None


def rows_of(case: dict) -> list[list[int]]:
    base, data = DUMPS / "bases" / case["base"], DUMPS / "data" / case["data"]
    return read_rows(base, data, case["run"]["train"]["max_length"])


def adapter_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {key: tensor.detach().clone().contiguous() for key, tensor in state.items()} | whole_state(model)


def make_optimizer(model: torch.nn.Module, train: dict) -> torch.optim.Optimizer:
    """PEFT's own LoRA+, or the Trainer's two groups: biases and norm weights do not decay."""
    lr, decay = train["learning_rate"], train["weight_decay"]
    adamw = {"lr": lr, "betas": (train["adam_beta1"], train["adam_beta2"]), "eps": train["adam_epsilon"]}
    if "loraplus_lr_ratio" in train:
        embedding = {key: train[key] for key in ["loraplus_lr_embedding"] if key in train}
        optimizer = create_loraplus_optimizer(
            model, torch.optim.AdamW, loraplus_lr_ratio=train["loraplus_lr_ratio"], loraplus_weight_decay=decay,
            **embedding, **adamw,
        )  # fmt: skip
    else:
        decayed = set(Trainer.get_decay_parameter_names(None, model))
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for name, p in trained if name in decayed], "weight_decay": decay},
            {"params": [p for name, p in trained if name not in decayed], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, **adamw)
    for group in train.get("param_groups", []):
        regroup(optimizer, model, **group)
    return optimizer


def regroup(optimizer: torch.optim.Optimizer, model: torch.nn.Module, params: str, **rates: float) -> None:
    """Gives the tensors whose whole name a pattern matches rates of their own, unless an earlier pattern has."""
    matched = {id(p) for name, p in model.named_parameters() if re.fullmatch(params, key_of(name))}
    for group in list(optimizer.param_groups):
        taken = [p for p in group["params"] if id(p) in matched]
        if not taken or group.get("regrouped"):
            continue
        group["params"] = [p for p in group["params"] if id(p) not in matched]
        rates_of_group = {"lr": group["lr"], "weight_decay": group["weight_decay"]} | rates
        optimizer.add_param_group({"params": taken, "regrouped": True} | rates_of_group)


def warmup_steps(train: dict, total: int) -> int:
    """A ratio, or a fraction in warmup_steps' place (Transformers 5), rounds up."""
    if "warmup_ratio" in train and not train["warmup_steps"]:
        return math.ceil(total * train["warmup_ratio"])
    steps = train["warmup_steps"]
    return int(steps) if steps >= 1 else math.ceil(total * steps)


def backward_step(model: torch.nn.Module, rows: list[list[int]]) -> tuple[float, int]:
    """Adds the gradient of the step's mean loss; returns that loss in nats and the number of targets."""
    targets = sum(len(row) - 1 for row in rows)
    total_nats = 0.0
    for row in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids, use_cache=False).logits
        row_nats = cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")
        (row_nats / targets).backward()
        total_nats += row_nats.item()
    return total_nats / targets, targets


def clip(parameters: list[torch.nn.Parameter], max_norm: float) -> float:
    """The norm before clipping. At 0 the Trainer does not clip; it reports the norm all the same."""
    if max_norm > 0:
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]).item()


def train(model: torch.nn.Module, rows: list, stated: dict, backward=backward_step) -> Run:
    """`backward` takes the rows of a step, whatever a row is to it."""
    settings = TRAIN_DEFAULTS | stated
    epoch = epoch_of(rows, settings)
    total = settings["max_steps"]
    if total <= 0:
        total = math.ceil(settings["num_train_epochs"] * len(epoch))
    optimizer = make_optimizer(model, settings)
    schedule = get_scheduler(settings["lr_scheduler_type"], optimizer, warmup_steps(settings, total), total)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    initial = adapter_state(model)
    metrics = []
    for step in range(total):
        loss, tokens = backward(model, epoch[step % len(epoch)])
        grad_norm = clip(parameters, settings["max_grad_norm"])
        lr = settings["learning_rate"] * schedule.lr_lambdas[0](step)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        metrics.append({"step": step + 1, "loss": loss, "lr": lr, "grad_norm": grad_norm, "tokens": tokens})
    return Run(metrics, initial, adapter_state(model))


def key_of(name: str) -> str:
    """The name that a parameter has in an adapter file."""
    return re.sub(r"\.(modules_to_save\.)?default(?=\.|$)", "", name).replace("vector.weight", "vector")


def gradients_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients under the names that PEFT gives the tensors in an adapter file."""
    gradients = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradients[key_of(name)] = (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).clone()
    return gradients


def has_tied_factors(model: torch.nn.Module) -> bool:
    """Whether LoRA's factors of the head share the storage of the embedding's, by ensure_weight_tying."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not hasattr(table, "lora_embedding_B") or not hasattr(head, "lora_A"):
        return False
    return head.lora_A["default"].weight.data_ptr() == table.lora_embedding_B["default"].data_ptr()


def as_double(model: torch.nn.Module) -> torch.nn.Module:
    """Turns a model in place. A head's factors that are the embedding's stay so; the conversion by itself parts them."""
    is_tied = has_tied_factors(model)
    model = model.double()
    if is_tied:
        table, head = model.get_input_embeddings(), model.get_output_embeddings()
        head.lora_A["default"].weight.data = table.lora_embedding_B["default"].data.t()
        head.lora_B["default"].weight.data = table.lora_embedding_A["default"].data.t()
    return model


def to_float64(model: torch.nn.Module) -> torch.nn.Module:
    """The same model in f64, for the noise floor: also where Transformers goes down to f32 by itself.

    The rotary tables stay rounded to f32: they belong to the model's definition.
    """
    model = as_double(model)
    model.base_model.model.set_attn_implementation("sdpa")  # eager takes the softmax in f32

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = forward.__get__(module)
    return model
