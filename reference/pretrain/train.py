"""Trains the bundled model: a byte-level BPE of 2048, then a Llama of 3 M parameters, on the text of corpus.py.

    python reference/pretrain/train.py CORPUS OUT [--steps 4400] [--threads 2]

Run it again and it goes on from OUT/state.pt. About an hour on two cores that know bf16.
"""

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BATCH, LENGTH, PEAK, WARM_UP = 32, 256, 4e-3, 200
END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# The learning rate never falls below this share of the peak.
FLOOR = 0.02
HELD_ROWS = 40
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def read(corpus: Path, name: str) -> list[tuple[str, str]]:
    return [tuple(json.loads(line)) for line in open(corpus / f"{name}.jsonl", encoding="utf-8")]


def make_tokenizer(corpus: Path, out: Path) -> PreTrainedTokenizerFast:
    if (out / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = [text for _, text in read(corpus, "train")]
    Random(0).shuffle(texts)
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=[END, START, STOP],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts[:20000], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=LENGTH)
    wrapped.chat_template = TEMPLATE
    wrapped.save_pretrained(out)
    return wrapped


def tokenised(corpus: Path, name: str, tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    """All ids in a row, for each kind of text and, as "all", in the order of the file."""
    ids: dict[str, list[int]] = {"all": []}
    for kind, text in read(corpus, name):
        found = tokenizer(text)["input_ids"]
        ids["all"] += found
        ids.setdefault(kind, []).extend(found)
    return {kind: torch.tensor(row, dtype=torch.int16) for kind, row in ids.items()}


def new_model() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=2048,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=True,
            rope_theta=10000.0,
            rms_norm_eps=1e-5,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def optimizer_of(model: LlamaForCausalLM) -> torch.optim.AdamW:
    # The gains of the norms do not decay.
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98), fused=True)


def rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return PEAK * (step + 1) / WARM_UP
    cosine = 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (steps - WARM_UP)))
    return PEAK * max(FLOOR, cosine)


def rows(ids: torch.Tensor, step: int) -> torch.Tensor:
    """Drawn by the step's number alone, so that a run that goes on draws what it would have drawn."""
    starts = torch.randint(0, len(ids) - LENGTH, (BATCH,), generator=torch.Generator().manual_seed(step))
    return torch.stack([ids[start : start + LENGTH] for start in starts.tolist()]).long()


@torch.no_grad()
def held_out(model: LlamaForCausalLM, held: dict[str, torch.Tensor]) -> dict[str, float]:
    model.eval()
    found = {}
    for kind in ("chat", "story", "prose"):
        count = min(len(held[kind]) // LENGTH, HELD_ROWS)
        ids = held[kind][: count * LENGTH].long().view(count, LENGTH)
        found[kind] = round(model(input_ids=ids, labels=ids).loss.item(), 3)
    model.train()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=4400)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    tokenizer = make_tokenizer(given.corpus, given.out)
    ids = tokenised(given.corpus, "train", tokenizer)["all"]
    held = tokenised(given.corpus, "held", tokenizer)
    model = new_model()
    optimizer = optimizer_of(model)
    state_file, first = given.out / "state.pt", 0
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    print(f"{len(ids) / 1e6:.1f} M tokens, {model.num_parameters()} parameters, from step {first}", flush=True)
    began, smooth = time.monotonic(), None
    for step in range(first, given.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, given.steps)
        batch = rows(ids, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        done = step + 1
        if done % 100 == 0:
            speed = (done - first) * BATCH * LENGTH / (time.monotonic() - began)
            print(f"step {done}: loss {smooth:.3f}, {speed:.0f} tokens/s", flush=True)
        if done % 1000 == 0 or done == given.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": done}
            torch.save(state, state_file)
            print(f"held out {held_out(model, held)}", flush=True)
    model.half().save_pretrained(given.out)
    stops = [tokenizer.convert_tokens_to_ids(END), tokenizer.convert_tokens_to_ids(STOP)]
    sampling = GenerationConfig(eos_token_id=stops, pad_token_id=0, do_sample=True, temperature=0.7, top_p=0.95)
    sampling.save_pretrained(given.out)


if __name__ == "__main__":
    main()
