"""PEFT's side of a run on conversations, of which the answers are learnt: a run directory, as parity.py makes them.

    python reference/chat_run.py MODEL_DIR ROWS.jsonl RUN.json OUT_DIR

Graft starts from OUT_DIR/initial with the same files, and compare_run.py says how far the two are apart. Each row has one
answer, its last turn. What the trained adapter answers is told at the end.
"""

import argparse
import json
from pathlib import Path

import torch
from oracle import build_model, train
from parity import save_adapter
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer
from transformers.utils import logging


def read_row(tokenizer, messages: list[dict]) -> tuple[list[int], int]:
    """Ids up to the token that ends the answer, and where the answer begins."""
    asked = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    ids = tokenizer.apply_chat_template(messages, return_dict=False)
    if ids[: len(asked)] != asked:
        raise SystemExit("the template writes the question otherwise once there is an answer")
    end = len(asked) + ids[len(asked) :].index(tokenizer.eos_token_id) + 1
    return ids[:end], len(asked)


def answers_backward(model: torch.nn.Module, rows: list[tuple[list[int], int]]) -> tuple[float, int]:
    """Adds the gradient of the step's mean loss over answers; returns that loss in nats and the number of targets."""
    targets = sum(len(ids) - start for ids, start in rows)
    total_nats = 0.0
    for row, start in rows:
        ids = torch.tensor([row])
        logits = model(input_ids=ids, use_cache=False).logits
        row_nats = cross_entropy(logits[0, start - 1 : -1], ids[0, start:], reduction="sum")
        (row_nats / targets).backward()
        total_nats += row_nats.item()
    return total_nats / targets, targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    run = json.loads(args.run.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    chats = [json.loads(line)["messages"] for line in args.rows.read_text(encoding="utf-8").splitlines()]
    rows = [read_row(tokenizer, messages) for messages in chats]

    model = build_model(args.model, run["lora"], 0, b="zero", perturb=False)
    args.out.mkdir(parents=True, exist_ok=True)
    save_adapter(model, args.out / "initial")
    metrics = train(model, rows, run["train"], answers_backward).metrics
    save_adapter(model, args.out / "final")
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    (args.out / "metrics.jsonl").write_text(lines, encoding="utf-8")
    (args.out / "case.json").write_text(json.dumps({"noise": {}}) + "\n", encoding="utf-8")
    for line in metrics:
        print(f"step {line['step']}  loss {line['loss']:.6f}  grad_norm {line['grad_norm']:.6f}  tokens {line['tokens']}")
    for ids, start in rows:
        with torch.no_grad():
            found = model.generate(torch.tensor([ids[:start]]), max_new_tokens=16, do_sample=False)[0, start:]
        print(json.dumps(tokenizer.decode(found, skip_special_tokens=True), ensure_ascii=False))


if __name__ == "__main__":
    main()
