"""What Transformers renders from chat templates, the ids, and which of them are learnt, for test/data."""

import datetime
import gzip
import hashlib
import json
import random
import re
from pathlib import Path

import transformers.utils.chat_template_utils as chat_template_utils
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parent.parent
TEMPLATES = Path(__file__).parent / "templates"
FIXTURE = ROOT / "test" / "data" / "fixtures" / "chats.json.gz"
NOW = datetime.datetime(2026, 3, 5, 14, 7, 9)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}

# What stands right before an answer, and what ends it: known from each family's format, so that what is learnt is
# found here in another way than by rendering the turns before.
FAMILIES = {
    "chatml": ("<|im_start|>assistant\n", "<|im_end|>"),
    "zephyr": ("<|assistant|>\n", "</s>"),
    "llama3": ("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    "qwen2_5": ("<|im_start|>assistant\n", "<|im_end|>"),
    "qwen3": ("<|im_start|>assistant\n", "<|im_end|>"),
    "smollm2": ("<|im_start|>assistant\n", "<|im_end|>"),
    "mistral": (["[/INST]", "[/TOOL_RESULTS]"], "</s>"),
    "gemma3": ("<start_of_turn>model\n", "<end_of_turn>"),
    "phi3": ("<|assistant|>\n", "<|end|>"),
    "phi4": ("<|im_start|>assistant<|im_sep|>", "<|im_end|>"),
    "marked": None,
    "marked_without_end": None,
}
ADDED = ["<s>", "</s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>"]
ADDED += ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|im_sep|>"]

CODE = "```python\ndef f(x):\n    return {'a': [x, \"y\"]}\n```"
CALL = {"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says what the weather <b>will</b> be & \"how\" 天气.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
QUESTIONS = ["Who are you?", "你好，今天怎么样？", "Say it in emoji 🎉👩‍💻", "  spaces around \n", f"What does this do?\n{CODE}", "1 < 2 & 'three'?"]
ANSWERS = ["I am a tree.", "很好，谢谢！🌳", "🎉👩‍💻 café", "\n It \n stands.  ", CODE, "It's \"four\"."]


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str, **more) -> dict:
    return {"role": "assistant", "content": text, **more}


def conversations() -> list[dict]:
    made = []
    for turns in range(1, 6):
        for system in (None, "Be brief.", " 你是一棵树。\n"):
            messages = [{"role": "system", "content": system}] if system else []
            for turn in range(turns):
                place = turn + 2 * turns
                messages += [user(QUESTIONS[place % 6]), assistant(ANSWERS[(place + turns) % 6])]
            made.append({"messages": messages})
    thought = "<think>\nLet me see.\n</think>\n\n"
    made += [
        {"messages": [user("Why?"), assistant(thought + "Because.")]},
        {"messages": [user("Why?"), assistant("Because.", reasoning_content="Let me see.")]},
        {"messages": [user("Why?"), assistant(thought + "Because."), user("Sure?"), assistant(thought + "Yes.")]},
        {"messages": [user("One"), user("Two"), assistant("Three")]},
        {"messages": [user("Weather?"), assistant("20 degrees.")], "tools": [TOOL]},
        {
            "messages": [
                {"role": "system", "content": "Call."},
                user("Weather?"),
                assistant("", tool_calls=[CALL]),
                {"role": "tool", "content": '{"t": 20}', "name": "weather", "tool_call_id": "call12345"},
                assistant("20 degrees."),
            ],
            "tools": [TOOL],
        },
    ]
    return made


def many(count: int) -> list[dict]:
    """Conversations at random, always the same ones."""
    draw = random.Random(7)
    words = "tree leaf 树 叶子 🌲 x=1; \"quoted\" it's\n\tline   café naïve 42 <b> {{x}} {% y %}".split(" ")
    text = lambda: " ".join(draw.choices(words, k=draw.randint(1, 12)))  # noqa: E731
    made = []
    for _ in range(count):
        messages = [{"role": "system", "content": text()}] if draw.random() < 0.4 else []
        for _ in range(draw.randint(1, 5)):
            messages += [user(text()), assistant(text())]
        made.append({"messages": messages})
    return made


def freeze_clock() -> None:
    class Frozen(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Frozen


def make_tokenizer() -> tuple[PreTrainedTokenizerFast, list[dict]]:
    """The bundled model's, with the tokens of the other families."""
    written = json.loads((ROOT / "public" / "model" / "tokenizer.json").read_text())
    first = len(written["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": first + i, "content": text, **flags} for i, text in enumerate(ADDED)]
    written["added_tokens"] += added
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(written)), **SPECIAL), added


def learnt_spans(text: str, markers: tuple[str | list[str], str]) -> list[tuple[int, int]]:
    before, after = markers
    opening = "|".join(map(re.escape, [before] if isinstance(before, str) else before))
    return [match.span(1) for match in re.finditer(f"(?:{opening})(.*?{re.escape(after)})", text, re.DOTALL)]


def render(tokenizer, name: str, source: str, conversation: dict) -> dict:
    words = {"tools": conversation.get("tools"), "chat_template": source}
    messages = conversation["messages"]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **words)
        asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, **words)
    except Exception as error:
        return {"error": str(error)}
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    if FAMILIES[name]:
        spans = learnt_spans(text, FAMILIES[name])
        learnt = [int(any(a < end and b > start for start, end in spans)) for a, b in encoded["offset_mapping"]]
    else:
        learnt = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, **words)["assistant_masks"]
    answers = sum(message["role"] == "assistant" for message in messages)
    return {"text": text, "asked": asked, "ids": encoded["input_ids"], "learnt": "".join(map(str, learnt)), "answers": answers}


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:16]


def main() -> None:
    freeze_clock()
    tokenizer, added = make_tokenizer()
    talks = conversations()
    sources = {name: (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8") for name in FAMILIES}
    families = {name: [render(tokenizer, name, sources[name], talk) for talk in talks] for name in FAMILIES}
    more = many(200)
    rendered = [render(tokenizer, "smollm2", sources["smollm2"], talk) for talk in more]
    fixture = {
        "now": NOW.isoformat(),
        "special": SPECIAL,
        "added": added,
        "conversations": talks,
        "families": families,
        "many": {
            "conversations": more,
            "digests": [digest([one["text"], one["asked"], one["ids"], one["learnt"]]) for one in rendered],
        },
    }
    packed = json.dumps(fixture, ensure_ascii=False, separators=(",", ":")).encode()
    FIXTURE.write_bytes(gzip.compress(packed, mtime=0))
    refused = {name: sum("error" in one for one in cases) for name, cases in families.items()}
    print(f"{FIXTURE.stat().st_size} bytes; refused of {len(talks)}: {refused}")


if __name__ == "__main__":
    main()
