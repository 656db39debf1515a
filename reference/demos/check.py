"""Trains a bundled data set with PEFT and scores it, or scores an adapter that Graft made.

    python reference/demos/check.py train ID [--out DIR]     before and after the run that src/data/bundled.json names
    python reference/demos/check.py score ID ADAPTER         ADAPTER: a folder, or the zip that the page offers
    options: --model DIR (public/model), --threads N (1)

Exit code 1 where the data set's goal is missed. Training does what Graft does with the same run file: rows in a new
order each epoch, the loss averaged over the step's targets, answers alone in chats, Transformers' AdamW and schedule.
"""

import argparse
import json
import random
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

ROOT = Path(__file__).resolve().parents[2]
IGNORED = -100
# Answers are short; one that goes on past this is wrong anyway.
MOST_NEW_TOKENS = 24

Row = tuple[list[int], list[int]]


def read_rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (ROOT / "public/data" / name).read_text(encoding="utf-8").splitlines()]


class Scorer:
    def __init__(self, folder: Path):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prompt(self, messages: list[dict]) -> str:
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def row(self, row: dict) -> Row:
        """Ids and labels: of a text every token, of a conversation its answer up to the end of the turn."""
        if "text" in row:
            ids = self.ids(row["text"] + self.tokenizer.eos_token)
            return ids, ids
        whole = self.tokenizer.apply_chat_template(row["messages"], tokenize=False)
        ids = self.ids(whole)
        start, end = len(self.ids(self.prompt(row["messages"][:-1]))), len(self.ids(whole.rstrip()))
        return ids, [IGNORED] * start + ids[start:end] + [IGNORED] * (len(ids) - end)

    @torch.no_grad()
    def answer(self, question: list[dict]) -> str:
        ids = torch.tensor([self.ids(self.prompt(question))])
        # The ids that end an answer are the model's own, in generation_config.json.
        out = self.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST_NEW_TOKENS, do_sample=False
        )
        return self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()

    @torch.no_grad()
    def loss(self, rows: list[dict]) -> float:
        """Nats per target token, over all rows together."""
        total = targets = 0
        for ids, labels in map(self.row, rows):
            count = sum(label != IGNORED for label in labels[1:])
            total += self.model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item() * count
            targets += count
        return total / targets

    def score(self, demo: dict) -> dict[str, float]:
        self.model.eval()
        found = {}
        for check in demo["checks"]:
            rows = read_rows(check["rows"])
            if demo["metric"] == "loss":
                found[check["id"]] = self.loss(rows)
                continue
            right = sum(self.answer(row["messages"][:-1]) == row["messages"][-1]["content"] for row in rows)
            found[check["id"]] = right / len(rows)
        return found

    def train(self, demo: dict) -> None:
        lora, train = demo["run"]["lora"], demo["run"]["train"]
        torch.manual_seed(0)
        self.model = get_peft_model(self.model, LoraConfig(task_type="CAUSAL_LM", **lora)).train()
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=train["learning_rate"], weight_decay=0)
        schedule = get_linear_schedule_with_warmup(optimizer, train["warmup_steps"], train["max_steps"])
        rows = [self.row(row) for row in read_rows(demo["train"])]
        batches = epochs(rows, train["per_device_train_batch_size"])
        for step in range(1, train["max_steps"] + 1):
            loss = self.model(**padded(next(batches))).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if step % 50 == 0:
                print(f"  step {step}: loss {loss.item():.3f}", flush=True)


def epochs(rows: list[Row], batch: int):
    rng = random.Random(0)
    while True:
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), batch):
            yield order[start : start + batch]


def padded(rows: list[Row]) -> dict[str, torch.Tensor]:
    length = max(len(ids) for ids, _ in rows)

    def fill(values: list[int], value: int) -> list[int]:
        return values + [value] * (length - len(values))

    return {
        "input_ids": torch.tensor([fill(ids, 0) for ids, _ in rows]),
        "attention_mask": torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows]),
        "labels": torch.tensor([fill(labels, IGNORED) for _, labels in rows]),
    }


def reached(demo: dict, before: dict[str, float], after: dict[str, float]) -> bool:
    """Every check of the data set has to reach its goal. Written so that NaN does not."""
    goal = demo["goal"]
    if "atLeast" in goal:
        return all(value >= goal["atLeast"] for value in after.values())
    return all(before[name] - value >= goal["downBy"] for name, value in after.items())


def adapter_folder(given: Path, unpacked: Path) -> Path:
    if given.is_dir():
        return given
    with zipfile.ZipFile(given) as archive:
        archive.extractall(unpacked)
    configs = list(unpacked.rglob("adapter_config.json"))
    if len(configs) != 1:
        sys.exit(f"{given} holds {len(configs)} files adapter_config.json, expected one.")
    return configs[0].parent


def main() -> None:
    demos = {demo["id"]: demo for demo in json.loads((ROOT / "src/data/bundled.json").read_text(encoding="utf-8"))}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["train", "score"])
    parser.add_argument("id", choices=list(demos))
    parser.add_argument("adapter", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "public/model")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if (given.mode == "score") != (given.adapter is not None):
        parser.error("score takes an adapter, train does not")
    torch.set_num_threads(given.threads)
    demo, scorer = demos[given.id], Scorer(given.model)
    before = scorer.score(demo)
    show("before", before)
    if given.mode == "train":
        scorer.train(demo)
        if given.out:
            scorer.model.save_pretrained(given.out)
    else:
        with tempfile.TemporaryDirectory() as unpacked:
            folder = adapter_folder(given.adapter, Path(unpacked))
            scorer.model = PeftModel.from_pretrained(scorer.model, folder)
    after = scorer.score(demo)
    show("after", after)
    for prompt in demo["prompts"] if demo["kind"] == "chat" else []:
        print(f"  {prompt} → {scorer.answer([{'role': 'user', 'content': prompt}])}")
    if not reached(demo, before, after):
        sys.exit(f"{given.id}: the goal {demo['goal']} is missed.")


def show(when: str, found: dict[str, float]) -> None:
    print(f"{when}: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
