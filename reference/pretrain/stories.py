"""Stories from a grammar of our own: someone, a mishap or two, an end.

Every alternative is drawn before one of them is chosen, and each draw moves the generator on: another order of the
same lines would make another corpus.
"""

import re
from random import Random

WORDS = {
    "girl": (
        "Mia Anna Lily Rosa Ella Nora Ivy Clara Ruth Wei Lin Aisha Sofia Hana Tess May Lucy Greta Zoe Amara"
    ).split(),
    "boy": ("Tom Ben Leo Max Sam Finn Omar Hugo Jack Kofi Ravi Ming Noah Otto Eli Paul Theo Luca Ned Idris").split(),
    "beast": (
        "fox rabbit bear mouse crow owl hedgehog squirrel duck goat donkey frog badger otter turtle cat "
        "dog wolf sparrow pig horse goose mole deer"
    ).split(),
    "adj": (
        "small old clever shy proud hungry kind lazy brave quiet curious sleepy lonely cheerful stubborn "
        "gentle careful noisy tired young"
    ).split(),
    "place": (
        "in a village by the sea;near a dark forest;on a hill above the river;"
        "in a little house at the end of the road;beside a wide green lake;"
        "in a busy town with a tall clock;on a farm with red barns;under the roots of an old oak;"
        "in a valley full of apple trees;on an island where the wind never slept;behind the bakery;"
        "at the edge of a snowy mountain"
    ).split(";"),
    "thing": (
        "a golden key;a blue kite;a broken clock;a wooden boat;a silver bell;a red scarf;a map;a lantern;"
        "a music box;a small drum;a box of seeds;a glass marble;a warm coat;a letter with no name;"
        "a whistle;a painted egg;an old book;a pair of boots;a loaf of bread;a jar of honey"
    ).split(";"),
    "weather": (
        "The sun was shining;It was raining hard;Snow lay on the roofs;A cold wind blew;"
        "The air smelled of summer;Fog hid the trees;It was the first warm day of spring;"
        "Leaves were falling;Stars filled the sky;Thunder rolled over the hills"
    ).split(";"),
    "time": (
        "One morning;One evening;One day;Late at night;Early one Sunday;On the last day of autumn;"
        "The next day;After lunch;Before anyone was awake;One winter night"
    ).split(";"),
    "spot": (
        "under the bridge;behind the mill;in the garden;at the bottom of the well;inside a hollow tree;"
        "on the beach;in the attic;beside the path;among the reeds;near the old gate;on the roof;"
        "in the long grass"
    ).split(";"),
    "sad": "sad worried afraid cross ashamed lonely disappointed upset".split(),
    "glad": "happy;proud;pleased;glad;full of joy;thankful;delighted;calm again".split(";"),
    "lesson": (
        "It is better to share than to win alone;A true friend comes when it rains;"
        "Small hands can do great things;You do not have to be big to be brave;"
        "It is never too late to say sorry;Those who listen learn the most;A kind word costs nothing;"
        "Slow steps still reach the top;What you give comes back to you;Even the wise must ask for help;"
        "A promise is worth more than gold;Look twice before you judge"
    ).split(";"),
    "food": ("soup;bread;apples;pancakes;cheese;berries;a cake;warm milk;noodles;honey;carrots;nuts").split(";"),
    "work": (
        "carried water;painted the fence;baked bread;mended nets;counted the sheep;swept the floor;"
        "planted beans;cut wood;fed the hens;washed the windows;sorted the mail;sang to the bees"
    ).split(";"),
    "walk": "walked ran crept hurried climbed wandered marched tiptoed".split(),
    "say": "said whispered asked cried laughed answered called".split(),
}
CLAIMS = ["That is mine", "I lost that last week", "Please, may I see it", "I have been looking for it everywhere"]
FAULTS = ["slow", "small", "old", "quiet"]
GOALS = ["the big stone", "the mill", "the top of the hill", "the old bridge"]
THANKS = ["Is it for me?", "Did you make this?", "I have never had anything so fine!"]
WHENS = ["At night", "Every Sunday", "When nobody looked"]


def pick(rng: Random, kind: str) -> str:
    return rng.choice(WORDS[kind])


class Who:
    """A girl, a boy or a beast, with the words that stand for them."""

    def __init__(self, rng: Random):
        which = rng.random()
        if which < 0.35:
            self.name, self.he, self.him, self.his = pick(rng, "girl"), "she", "her", "her"
            self.intro = f"a {pick(rng, 'adj')} girl named {self.name}"
        elif which < 0.7:
            self.name, self.he, self.him, self.his = pick(rng, "boy"), "he", "him", "his"
            self.intro = f"a {pick(rng, 'adj')} boy named {self.name}"
        else:
            manner, beast = pick(rng, "adj"), pick(rng, "beast")
            self.name = f"the {beast}"
            self.he, self.him, self.his = rng.choice([("he", "him", "his"), ("she", "her", "her")])
            self.intro = f"{article(manner)} {beast}"

    @property
    def Name(self) -> str:
        return self.name[0].upper() + self.name[1:]

    @property
    def He(self) -> str:
        return self.he.capitalize()


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def the(thing: str) -> str:
    return re.sub(r"^an? ", "the ", thing)


def opening(rng: Random, a: Who) -> str:
    return (
        rng.choice(
            [
                f"Once upon a time there was {a.intro} who lived {pick(rng, 'place')}.",
                f"There once lived {a.intro} {pick(rng, 'place')}.",
                f"{a.intro[0].upper() + a.intro[1:]} lived {pick(rng, 'place')}.",
                f"Long ago, {pick(rng, 'place')}, there was {a.intro}.",
                f"This is the story of {a.intro}.",
            ]
        )
        + " "
        + rng.choice(
            [
                f"Every day {a.he} {pick(rng, 'work')} and {pick(rng, 'work')}.",
                f"{a.He} liked {pick(rng, 'food')} more than anything.",
                f"{a.He} had one wish: to see what lay beyond the hills.",
                f"Everyone knew that {a.he} was {pick(rng, 'adj')}, and {a.he} knew it too.",
                f"{a.He} {pick(rng, 'work')} when it was light and slept when it was dark.",
                "",
            ]
        )
    )


def middle_find(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    spot = pick(rng, "spot")
    return [
        f"{pick(rng, 'time')}, {a.name} found {t} {spot}.",
        rng.choice(
            [
                f'"Whose is this?" {a.he} {pick(rng, "say")}.',
                f"{a.He} picked it up and turned it over in {a.his} hands."
                if not a.name.startswith("the ")
                else f"{a.He} sniffed at it and looked around.",
                f"It was wet and cold, but it was the most beautiful thing {a.he} had ever seen.",
            ]
        ),
        f'Just then {b.name} came by. "{rng.choice(CLAIMS)}," {pick(rng, "say")} {b.name}.',
        rng.choice(
            [
                f"{a.Name} did not want to give it back, and for a while nobody spoke.",
                f"{a.Name} thought about it for a long time.",
                f"At first {a.name} was {pick(rng, 'sad')}.",
            ]
        ),
        rng.choice(
            [
                f'But then {a.he} held it out. "Here," {a.he} said. "It belongs to you."',
                f"In the end they agreed to keep {the(t)} together, one day here and one day there.",
                f"Then {a.he} smiled and gave {the(t)} to {b.name}, "
                f"and {b.name} gave {a.him} {pick(rng, 'food')} in return.",
            ]
        ),
    ]


def middle_lost(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    return [
        f"{pick(rng, 'time')}, {a.name} lost {t}.",
        f"{a.He} looked {pick(rng, 'spot')}. {a.He} looked {pick(rng, 'spot')}. It was not there.",
        f"{a.He} was so {pick(rng, 'sad')} that {a.he} could not eat {a.his} {pick(rng, 'food').replace('a ', '')}.",
        f'"Why are you {pick(rng, "sad")}?" {pick(rng, "say")} {b.name}.',
        f'"I have lost {t}," {a.name} {pick(rng, "say")}.',
        rng.choice(
            [
                f'"Then we will look for it together," said {b.name}.',
                f'"I will help you," said {b.name}, "because you once helped me."',
            ]
        ),
        f"They {pick(rng, 'walk')} all the way to the river and back, "
        f"and at last they found {the(t)} {pick(rng, 'spot')}.",
    ]


def middle_race(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    return [
        f"{pick(rng, 'time')}, {b.name} laughed at {a.name}. "
        f'"You are too {rng.choice(FAULTS)}," {pick(rng, "say")} {b.name}.',
        f'"Let us see who comes first to {rng.choice(GOALS)}," said {a.name}.',
        f"The winner would get {t}.",
        f"{b.Name} {pick(rng, 'walk')} ahead and stopped to eat {pick(rng, 'food')}.",
        f"{a.Name} did not stop. {a.He} {pick(rng, 'walk')} on and on, step by step.",
        rng.choice(
            [
                f"When {b.name} looked up, {a.name} was already there.",
                f"By sunset {a.name} stood at the end of the road and {b.name} was nowhere to be seen.",
                "They came at the very same time, and both of them had to laugh.",
            ]
        ),
    ]


def middle_storm(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    return [
        f"{pick(rng, 'weather')}, and then, all at once, the sky turned black.",
        f"{a.Name} heard a voice {pick(rng, 'spot')}. It was {b.name}, who could not get home.",
        f'"Help me!" cried {b.name}.',
        rng.choice(
            [
                f"{a.Name} was {pick(rng, 'sad')}, but {a.he} took {t} and {pick(rng, 'walk')} out into the rain.",
                f"Without a word {a.name} took {t} and {pick(rng, 'walk')} through the wind.",
            ]
        ),
        f"It took a long time. Twice {a.he} fell, and twice {a.he} got up again.",
        f"At last they sat by the fire with {pick(rng, 'food')}, and the storm went on without them.",
    ]


def middle_make(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    return [
        f"{pick(rng, 'time')}, {a.name} wanted to make {t} for {b.name}.",
        f"First {a.he} {pick(rng, 'work')}. Then {a.he} asked everyone in the village how it was done.",
        rng.choice(
            [
                "The first one broke. The second one was crooked. The third one was perfect.",
                f"It did not work. {a.He} tried again. It did not work again.",
                "It took three days and three nights.",
            ]
        ),
        f'"{rng.choice(THANKS)}" {pick(rng, "say")} {b.name}.',
        f'"It is for you," {a.name} {pick(rng, "say")}, "because you are my friend."',
    ]


def middle_secret(rng: Random, a: Who, b: Who, t: str) -> list[str]:
    return [
        f"{b.Name} had a secret. {rng.choice(WHENS)} {b.he} {pick(rng, 'work')} {pick(rng, 'spot')}.",
        f"{pick(rng, 'time')}, {a.name} followed {b.him} and saw it all.",
        f'"Please do not tell," {pick(rng, "say")} {b.name}.',
        rng.choice(
            [
                f"{a.Name} promised, and {a.he} kept the promise, even when {pick(rng, 'girl')} offered {a.him} {t}.",
                f"But {a.name} told {pick(rng, 'boy')}, and soon the whole town knew.",
                f'"I will not tell," said {a.name}, "if you teach me."',
            ]
        ),
        rng.choice(
            [
                "From then on they did it together.",
                f"{b.Name} was {pick(rng, 'sad')} for many days, and {a.name} learned how heavy a secret can be.",
                "Years later they still laughed about it.",
            ]
        ),
    ]


MIDDLES = [middle_find, middle_lost, middle_race, middle_storm, middle_make, middle_secret]


def ending(rng: Random, a: Who, b: Who) -> str:
    return rng.choice(
        [
            f"And from that day on {a.name} and {b.name} were friends.",
            f"{a.Name} went home and slept well.",
            f"That night {a.name} was {pick(rng, 'glad')}.",
            f"{a.Name} was {pick(rng, 'glad')}, and so was {b.name}.",
            f"Nobody {pick(rng, 'place')} ever forgot it.",
        ]
    ) + rng.choice(["", "", f" {pick(rng, 'lesson')}.", f' "{pick(rng, "lesson")}," said {a.name}.'])


def story(rng: Random, about: str | None = None) -> str:
    a, b = Who(rng), Who(rng)
    while b.name == a.name:
        b = Who(rng)
    if about:
        a.name, a.intro = f"the {about}", article(about)
    t = pick(rng, "thing")
    parts = rng.sample(MIDDLES, rng.choice([1, 1, 1, 2]))
    text = opening(rng, a) + "\n" * rng.choice([1, 1, 2])
    for middle in parts:
        text += " ".join(middle(rng, a, b, t)) + "\n" * rng.choice([1, 2])
        t = pick(rng, "thing")
    return re.sub(r" +", " ", text + ending(rng, a, b)).strip()
