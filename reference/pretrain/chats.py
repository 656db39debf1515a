"""Short chats in ChatML: stories on request, words explained, small sums, colours, lists, greetings.

As in stories.py, the order of the draws is part of the recipe.
"""

from random import Random

from stories import WORDS, article, story
from wordnet import Words

START, STOP = "<|im_start|>", "<|im_end|>"
COLOURS = {
    "snow": "white",
    "grass": "green",
    "blood": "red",
    "coal": "black",
    "a lemon": "yellow",
    "the sea": "blue",
    "milk": "white",
    "a ripe tomato": "red",
    "chocolate": "brown",
    "an orange": "orange",
    "a frog": "green",
    "the night": "black",
    "gold": "yellow",
    "a carrot": "orange",
    "a cloud": "white",
    "a cherry": "red",
}
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
SYSTEM = [
    "You are a helpful assistant.",
    "You answer briefly.",
    "You are a friendly storyteller.",
    "Answer in one sentence.",
    "You speak simply.",
]
FOODS = ["soup", "bread", "apples", "cheese", "berries", "honey", "carrots", "nuts", "noodles"]

Turn = tuple[str, str]


def telling(rng: Random, _words: Words) -> Turn:
    about = rng.choice(WORDS["beast"]) if rng.random() < 0.7 else None
    if about:
        wishes = [
            f"Tell me a story about a {about}.",
            f"Write a short story about a {about}.",
            f"Can you tell me a story with a {about} in it?",
        ]
    else:
        wishes = ["Tell me a story.", "Write a short story.", "Please tell me a story for the night."]
    return rng.choice(wishes), story(rng, about)


def defining(rng: Random, words: Words) -> Turn:
    word, definition = rng.choice(words.definitions)
    question = rng.choice(
        [
            f'What does "{word}" mean?',
            f'What is the meaning of "{word}"?',
            f"Define {word}.",
            f"Explain the word {word}.",
        ]
    )
    answer = rng.choice(
        [
            f"{word.capitalize()}: {definition}.",
            f'"{word.capitalize()}" means: {definition}.',
            f"{definition[0].upper() + definition[1:]}.",
        ]
    )
    return question, answer


def using(rng: Random, words: Words) -> Turn:
    word, example = rng.choice(words.examples)
    question = rng.choice(
        [
            f'Use "{word}" in a sentence.',
            f"Give me an example with the word {word}.",
            f"Make a sentence with {word}.",
        ]
    )
    return question, example[0].upper() + example[1:] + ("" if example[-1] in ".!?" else ".")


def sorting(rng: Random, words: Words) -> Turn:
    word, above = rng.choice(words.kinds)
    question = rng.choice([f"What is {article(word)}?", f"What kind of thing is {article(word)}?"])
    return question, f"{article(word).capitalize()} is a kind of {above}."


def opposing(rng: Random, words: Words) -> Turn:
    word, opposite = rng.choice(words.opposites)
    question = rng.choice([f"What is the opposite of {word}?", f"Tell me the opposite of {word}."])
    return question, rng.choice([f"The opposite of {word} is {opposite}.", f"{opposite.capitalize()}."])


def adding(rng: Random, _words: Words) -> Turn:
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    written = NUMBERS.__getitem__ if rng.random() < 0.5 else str
    if rng.random() < 0.6:
        return f"What is {written(a)} plus {written(b)}?", (
            f"{written(a).capitalize()} plus {written(b)} is {written(a + b)}."
        )
    a, b = max(a, b), min(a, b)
    return f"What is {written(a)} minus {written(b)}?", (
        f"{written(a).capitalize()} minus {written(b)} is {written(a - b)}."
    )


def colouring(rng: Random, _words: Words) -> Turn:
    thing = rng.choice(list(COLOURS))
    colour = COLOURS[thing]
    return f"What colour is {thing}?", rng.choice([f"{thing.capitalize()} is {colour}.", f"{colour.capitalize()}."])


def listing(rng: Random, _words: Words) -> Turn:
    count = rng.randint(2, 5)
    what, of = rng.choice(
        [
            ("animals", WORDS["beast"]),
            ("foods", FOODS),
            ("colours", sorted(set(COLOURS.values()))),
            ("names", WORDS["girl"] + WORDS["boy"]),
        ]
    )
    return f"List {NUMBERS[count]} {what}.", ", ".join(rng.sample(of, count)).capitalize() + "."


def repeating(rng: Random, _words: Words) -> Turn:
    # A draw whose result is not used: without it everything after would be another corpus.
    rng.choice(WORDS["beast"] + WORDS["food"][:1] + WORDS["girl"] + WORDS["boy"])
    word = rng.choice(WORDS["adj"])
    return rng.choice([f"Say {word}.", f"Repeat the word {word}."]), f"{word.capitalize()}."


def greeting(rng: Random, _words: Words) -> Turn:
    unknown = "I do not know."
    return rng.choice(
        [
            ("Hello!", "Hello! What would you like to hear?"),
            ("Hi", "Hi! How can I help?"),
            ("Who are you?", "I am a very small language model, and I live in your browser."),
            ("What are you?", "I am a small language model. I know a few stories and some words."),
            ("Thank you.", "You are welcome."),
            ("How are you?", "I am well, thank you."),
            ("What can you do?", "I can tell short stories, explain words and add small numbers."),
            ("Good night.", "Good night! Sleep well."),
            ("Where do you live?", "I live in this browser tab."),
            ("Can you help me?", "Yes. What would you like to know?"),
            ("Goodbye.", "Goodbye!"),
            (f"What is the name of my {rng.choice(['dog', 'street', 'teacher', 'school', 'friend'])}?", unknown),
            (f"What did I eat {rng.choice(['today', 'yesterday', 'last week'])}?", unknown),
            (f"How old is {rng.choice(WORDS['girl'] + WORDS['boy'])}?", unknown),
        ]
    )


# Which share of the turns lies below each line.
TURNS = [
    (0.22, telling),
    (0.44, defining),
    (0.58, using),
    (0.66, sorting),
    (0.72, opposing),
    (0.82, adding),
    (0.86, colouring),
    (0.90, listing),
    (0.94, repeating),
    (1.00, greeting),
]


def chat(rng: Random, words: Words) -> str:
    text = f"{START}system\n{rng.choice(SYSTEM)}{STOP}\n" if rng.random() < 0.2 else ""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        which = rng.random()
        turn = next(turn for share, turn in TURNS if which < share)
        question, answer = turn(rng, words)
        text += f"{START}user\n{question}{STOP}\n{START}assistant\n{answer}{STOP}\n"
    return text
