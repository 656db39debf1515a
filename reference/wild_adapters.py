"""Adapters in the forms in which public ones are found, and whether Graft makes of each what it shall.

    python reference/wild_adapters.py OUT_DIR [FORM …]

OUT_DIR gets a folder for each form of wild_forms.py: the adapter, what is expected of Graft and the logits that it has to
equal. PEFT has to do with each what the form says of it. `test/train/wildAdapters.ts`, which this runs, holds Graft against
them, and writes each adapter that it opened once more; PEFT has to open what it wrote, key by key, and compute the same. Exit
code 1 where a form is not as expected.
"""

import argparse
import shutil
import subprocess
import warnings
from pathlib import Path

import torch
from bases import seed_of, write_json
from oracle import DUMPS
from peft import PeftModel
from random_adapters import load, logits_of
from random_runs import decompose_exactly
from transformers.utils import logging
from verify_adapter import judge
from verifying import chosen, end
from wild_forms import AGREES, AS_BEFORE, FAILS, FORMS, LOSES, OPENS, Form

IDS = [5, 17, 3, 29, 11, 40, 8, 22, 2]
# Of the largest logit. An adapter that moved less could be lost unnoticed.
MOVED = 0.05


def open_in_peft(form: Form, folder: Path) -> tuple[str, PeftModel | Exception]:
    """What PEFT does, and its model or why there is none."""
    try:
        model = PeftModel.from_pretrained(load(form.base), folder)
        left = model.load_adapter(folder, "default")
    except Exception as refusal:
        return FAILS, refusal
    return (LOSES if left.missing_keys or left.unexpected_keys else OPENS), model.eval()


def make(name: str, out: Path) -> str | None:
    """One form's folder. What is not as the form says, if anything."""
    form, folder, adapter = FORMS[name], out / name, out / name / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(seed_of(name))
    form.save(form, adapter)
    wanted = open_in_peft(form, adapter)[1]
    for edit in form.edits:
        edit(adapter)
    did, found = open_in_peft(form, adapter)
    if did != form.peft:
        return f"PEFT {did}, and the form says that it {form.peft}: {found if did == FAILS else ''}"
    case = {"base": form.base, "ids": IDS, "graft": form.graft}
    if is_opened(form):
        logits = logits_of(found if form.graft == AGREES else wanted, IDS)
        if moved(form, logits) < MOVED:
            return "it hardly moves the base's logits"
        case["logits"] = logits
        write_json(folder / "peft.json", {"ids": IDS, "logits": logits if did == FAILS else logits_of(found, IDS)})
    write_json(folder / "case.json", case)
    return None


def is_opened(form: Form) -> bool:
    return form.graft in (AGREES, AS_BEFORE)


def moved(form: Form, logits: list[list[float]]) -> float:
    base = torch.tensor(logits_of(load(form.base), IDS))
    return float((torch.tensor(logits) - base).abs().max() / base.abs().max())


def opens_again(name: str, out: Path) -> bool:
    """Whether PEFT opens what Graft has written, and computes with it what it does with the form."""
    again = out / name / "again"
    if not again.exists():
        return False
    try:
        _, complaints = judge(DUMPS / "bases" / FORMS[name].base, again, out / name / "peft.json")
    except Exception as refusal:
        complaints = [f"{type(refusal).__name__}: {refusal}"]
    print(f"{name:22s} in PEFT again: {'; '.join(complaints)[:300] or 'right'}", flush=True)
    return not complaints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("forms", nargs="*", metavar="FORM")
    given = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    decompose_exactly()
    results = {}
    for name in chosen(given.forms, FORMS):
        complaint = make(name, given.out)
        print(f"{name:22s} {FORMS[name].about}: PEFT {FORMS[name].peft}" if complaint is None else f"{name:22s} FAILED: {complaint}", flush=True)
        results[name] = complaint is None
    made = [name for name, right in results.items() if right]
    check = subprocess.run(["node", "scripts/run.mjs", "test/train/wildAdapters.ts", given.out, *made], check=False)
    for name in made:
        if is_opened(FORMS[name]):
            results[name] = opens_again(name, given.out)
    end(results | {"test/train/wildAdapters.ts": check.returncode == 0})


if __name__ == "__main__":
    main()
