"""Short stories in pirate speech, from a grammar of our own.

The stories are made like those that the bundled model was taught on (reference/pretrain/stories.py): a hero, a
mishap or two, an end. What is new to the model is the speech.
"""

import random
from pathlib import Path

TRAIN, HELD = 600, 60

NAMES = "Bess Anne Mary Jack Bart Ned Molly Tom Kate Silas Ruby Finn Nell Hugh Grace Abel Dora Rufus Peg Jonah".split()
BYNAMES = "Red Black Salty One-Eyed Mad Peg-Leg Rum Barnacle Gold-Tooth Thunder Squinty Tar Silver Fish-Hook".split()
TRADES = "captain;bosun;cook;gunner;cabin boy;first mate;swabbie;lookout;sailmaker;powder monkey".split(";")
SHIPS = "Salty Gull;Black Herring;Rusty Anchor;Mermaid's Revenge;Jolly Crab;Drowned Rat;Flying Cod;Widow's Laugh".split(
    ";"
)
BEASTS = "parrot;monkey;ship's cat;sea turtle;one-legged gull;rat;old crab;goat".split(";")
LOOT = (
    "a chest o' doubloons;a map o' goatskin;a barrel o' rum;a ruby big as a gull's egg;a rusty cutlass;"
    "a silver spyglass;a bag o' pearls;a cursed crown;a golden compass;"
    "a bottle with a letter in it;a keg o' powder;a king's ransom"
).split(";")
PLACES = (
    "off Skull Island;in Dead Man's Cove;nigh the Isle o' Bones;in the port o' Tortuga;at the edge o' the Spanish Main;"
    "on the Seven Seas;under the Devil's Reef;in the Bay o' Whispers;off the coast o' Madagascar;near Gallows Point"
).split(";")
SPOTS = (
    "down in the bilge;up in the crow's nest;under a palm;in the belly o' a shark;behind the rum barrels;"
    "beneath the mizzenmast;in a cave full o' bats;in the cap'n's own boot;on a sandbar;among the cannonballs"
).split(";")
OATHS = (
    "Shiver me timbers;Blow me down;By Neptune's beard;Thunder an' lightnin';Sink me;By the powers;Arrr;Yo ho;"
    "Well, scuttle me hull;Batten the hatches"
).split(";")
INSULTS = (
    "ye scurvy dog;ye bilge rat;ye lily-livered landlubber;ye son o' a sea cook;ye barnacle-bottomed knave;"
    "ye mangy squid;ye scallywag;ye rotten haddock"
).split(";")
FRIENDLY = "me hearty;matey;me bucko;me old shipmate;lass;lad;cap'n;ye brave sea dog".split(";")
CHORES = (
    "swabbed the poop deck;hauled the mainsail;counted the doubloons;patched the jib;boiled the salt pork;"
    "polished the cannons;sang shanties to the gulls;chased rats in the hold;kept watch for the King's navy;drank grog"
).split(";")
FOES = "the King's navy;a Spanish galleon;the kraken;a ghost ship;a great white whale;the tax man o' Bristol".split(";")
TIMES = (
    "One black night;At the turnin' o' the tide;When the moon were full;On the third day out;Afore the cock crowed;"
    "One foggy mornin';At eight bells;In the eye o' a gale"
).split(";")
MOODS = "grumpy;fearless;thirsty;sly;seasick;greedy;loud;lucky;ragged;wily".split(";")
MORALS = (
    "Share yer grog, an' ye'll never drink alone;A true mate be worth more than gold;Never trust a calm sea;"
    "He who steals from his crew sleeps with the fishes;Dead men tell no tales, but parrots do;"
    "X marks the spot, but friends mark the way;Mind yer rum, an' the rum'll mind ye"
).split(";")


class Story:
    def __init__(self, rng: random.Random):
        self.pick = rng.choice
        self.he, self.his, self.him = self.pick([("he", "his", "him"), ("she", "her", "her")])
        self.hero = f"{self.pick(BYNAMES)} {self.pick(NAMES)}"
        self.beast = f"the {self.pick(BEASTS)}"
        self.trade, self.ship, self.loot = self.pick(TRADES), self.pick(SHIPS), self.pick(LOOT)

    def the_loot(self) -> str:
        return self.loot.replace("a ", "the ", 1)

    def opening(self) -> str:
        who = f"a {self.pick(MOODS)} {self.trade}"
        first = self.pick(
            [
                f"Avast! This be the tale o' {self.hero}, {who} o' the {self.ship}.",
                f"Gather round, mateys! There once were {who} called {self.hero}, who sailed the {self.ship}.",
                f"{self.hero} were {who} aboard the {self.ship}, {self.pick(PLACES)}.",
                f"Long ago, {self.pick(PLACES)}, there sailed {who} by the name o' {self.hero}.",
            ]
        )
        second = self.pick(
            [
                f"Every day {self.he} {self.pick(CHORES)} an' {self.pick(CHORES)}.",
                f"All {self.he} wanted in this world were {self.loot}.",
                f"{self.he.capitalize()} feared nothin' but {self.pick(FOES)}.",
                f"{self.he.capitalize()} {self.pick(CHORES)} by day an' {self.pick(CHORES)} by night.",
            ]
        )
        return f"{first} {second}"

    def find(self) -> str:
        middle = self.pick(
            [
                f'"Hand it over, {self.pick(INSULTS)}!" roared {self.beast}.',
                f'"That be mine, {self.pick(INSULTS)}!" growled {self.beast}.',
                f'"Halves, {self.pick(FRIENDLY)}?" asked {self.beast}.',
            ]
        )
        last = self.pick(
            [
                f"So they split {self.the_loot()} down the middle, as pirates do.",
                f"So {self.hero} drew {self.his} cutlass, an' then {self.he} laughed an' gave it up.",
                "They fought till sundown, an' neither could lift an arm no more.",
            ]
        )
        return (
            f'{self.pick(TIMES)} {self.he} found {self.loot} {self.pick(SPOTS)}. "{self.pick(OATHS)}!" {middle} {last}'
        )

    def battle(self) -> str:
        foe = self.pick(FOES)
        last = self.pick(
            [
                f"They fired every cannon, an' {foe} turned tail.",
                f"{self.hero} threw {self.the_loot()} overboard, an' {foe} dived after it.",
                f"Only {self.beast} stayed calm, an' it were {self.beast} that saved 'em all.",
            ]
        )
        return (
            f'{self.pick(TIMES)} {foe} rose {self.pick(PLACES)}. "{self.pick(OATHS)}! All hands on deck, '
            f'{self.pick(INSULTS)}!" bellowed {self.hero}. {last}'
        )

    def lost(self) -> str:
        last = self.pick(
            [
                f"They searched from bow to stern, an' there it lay {self.pick(SPOTS)}.",
                "They never found it, so they drank to it instead.",
                f'"It be {self.pick(SPOTS)}," said {self.beast}, an\' so it were.',
            ]
        )
        return (
            f'{self.pick(TIMES)} some rogue stole {self.the_loot()}. "{self.pick(OATHS)}! Who took me treasure?" cried '
            f'{self.hero}. "Not I, {self.pick(FRIENDLY)}," said {self.beast}. {last}'
        )

    def ending(self) -> str:
        last = self.pick(
            [
                f"An' from that day {self.hero} an' {self.beast} sailed together.",
                f"That night {self.he} {self.pick(CHORES)} an' slept like a log.",
                f"An' the {self.ship} sailed on with the wind at her back.",
                f"If ye sail {self.pick(PLACES)}, ye can hear 'em singin' still.",
            ]
        )
        return f"{last} {self.pick(MORALS)}, arrr!" if self.pick([True, False]) else last

    def told(self) -> str:
        middle = self.pick([self.find, self.battle, self.lost])
        return f"{self.opening()}\n{middle()}\n{self.ending()}"


def make(_sources: Path) -> dict[str, list[dict]]:
    rng = random.Random(7)
    distinct: dict[str, None] = {}
    while len(distinct) < TRAIN + HELD:
        distinct[Story(rng).told()] = None
    rows = [{"text": story} for story in distinct]
    return {"pirate.train": rows[:TRAIN], "pirate.held": rows[TRAIN:]}
