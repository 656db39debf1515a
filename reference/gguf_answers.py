"""Asks llama.cpp with an exported GGUF adapter what the adapter was trained on, beside PEFT with the same adapter.

    python reference/gguf_answers.py MODEL_DIR ADAPTER_DIR ROWS.jsonl [--count 20] [--graft METRICS]

Rows are conversations; each is asked up to its last answer, greedily. Fails (exit code 1) where llama.cpp and PEFT answer
differently, or their logits before the answer differ by more than 1e-4 of the largest. How many answers are the row's own,
with the adapter and without, is told. `--graft` names the metrics.jsonl of a run whose samples ask the rows' questions: its
last answers have to be llama.cpp's too. The model's folder becomes an F32 GGUF; ids are made by Transformers.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from gguf_base import write_base
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from verify_gguf import compare, open_llama
from verifying import TOLERANCE

LONGEST_ANSWER = 32


def answer(next_logits, ids: list[int], stops: set[int]) -> list[int]:
    found = []
    while len(found) < LONGEST_ANSWER:
        token = int(np.argmax(next_logits(ids + found)))
        if token in stops:
            break
        found.append(token)
    return found


def by_llama(model):
    def next_logits(ids: list[int]) -> np.ndarray:
        model.reset()
        model.eval(ids)
        return np.array(model.scores[len(ids) - 1])

    return next_logits


def by_peft(model):
    def next_logits(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()

    return next_logits


def answers_of_graft(metrics: Path) -> list[str]:
    """The last greedy answers of a run, in the order of its prompts."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [sample["greedy"].strip() for sample in [line for line in lines if "samples" in line][-1]["samples"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--graft", type=Path, metavar="METRICS")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager")
    tuned = by_peft(PeftModel.from_pretrained(model, args.adapter).eval())
    eos = model.generation_config.eos_token_id
    stops = set(eos if isinstance(eos, list) else [eos]) | {tokenizer.eos_token_id}
    rows = [json.loads(line)["messages"] for line in args.rows.read_text(encoding="utf-8").splitlines()[: args.count]]

    with tempfile.TemporaryDirectory() as folder:
        base, file = Path(folder) / "base.gguf", Path(folder) / "adapter.gguf"
        write_base(args.model, base)
        command = ["npm", "run", "--silent", "export", "--", str(args.adapter), "--model", str(args.model)]
        subprocess.run([*command, "--to", "gguf", "--out", str(file)], check=True)
        found, plain = by_llama(open_llama(base, file)), by_llama(open_llama(base, None))
        same = right = right_without = 0
        worst = 0.0
        told = []
        for messages in rows:
            chat = messages[:-1]
            ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            worst = max(worst, compare(found(ids), tuned(ids)))
            answers = [answer(next_logits, ids, stops) for next_logits in (found, tuned, plain)]
            wanted = messages[-1]["content"].strip()
            texts = [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers]
            same += answers[0] == answers[1]
            right += texts[0] == wanted
            right_without += texts[2] == wanted
            told.append(texts[0])
            print(f"{chat[-1]['content']!r}: {texts[0]!r}, without the adapter {texts[2]!r}")
    print(f"{same} of {len(rows)} answers are PEFT's; logits differ by {worst:.1e} of the largest at most")
    print(f"{right} are the rows' own, {right_without} without the adapter")
    if args.graft is not None:
        given = answers_of_graft(args.graft)
        print(f"{sum(map(str.__eq__, told, given))} of {len(given)} answers are Graft's")
        if told != given:
            raise SystemExit(1)
    # Written so that NaN fails.
    if same < len(rows) or not worst <= TOLERANCE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
