"""Names that no list has: a model that only ever reads a few hundred names learns them by heart, one that reads any word
as a name learns to copy."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from enum import Enum
from importlib import resources

from .lines import Example
from .vocabulary import Vocabulary

# Slots whose values the answer repeats from the command, whatever they are.
OPEN_SLOTS = ("area", "item", "message", "name", "search_query", "zone")
# Of these, slots that take whole clauses.
FREE_TEXT_SLOTS = ("item", "message", "search_query")
FREE_TEXT_SHARE = 0.5
# Words that end a free text in the middle of a command: "add milk to list", "play jazz in the kitchen".
BOUNDARIES = frozenset("to from off on in into of by for with please now thanks hearth list album artist song playlist movie show".split())
RENAMED_SHARE = 0.7
"""Share of the examples with such slots that get other names."""
KEPT_HEAD_SHARE = 0.4
MADE_UP_SHARE = 0.15
HOME_WORD_WEIGHT = 3
"""How often a word of the listed names is drawn inside a name, to one of any other word."""
WORD = re.compile(r"[a-z]{3,}")
LEAST_COUNT = 12
"""Utterances of the corpus that have a word, for it to be one that people say."""
ONSETS = ("b", "br", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t", "tr", "v", "w", "z")
RHYMES = ("a", "an", "ar", "e", "el", "en", "i", "in", "is", "o", "on", "or", "u", "um", "us")


class Freedom(Enum):
    """How far a new name may be from the old one."""

    ANY = "any"
    SAME_HEAD = "same head"
    """Only what the name would still tell its kind by: `server room` may become `violin room`, `jukebox` stays."""


class Renaming:
    """Draws names of one to three words, and clauses for free text, that are neither held out nor words of commands."""

    def __init__(self, vocabulary: Vocabulary, language: str) -> None:
        self.held_out = vocabulary.held_out_values()
        lists = [vocabulary.areas, *vocabulary.names.values()]
        heads = {value.split()[-1] for values in lists for value in (*values.train, *values.held_out)}
        commands = command_words(language)
        texts = corpus_texts()
        words = sorted(spoken_words(texts) - commands - heads)
        # A word that is a held-out name by itself stands in longer ones only, never at their end.
        self.ends = [word for word in words if word not in self.held_out]
        home = {word for values in [*lists, *vocabulary.wildcards.values()] for value in (*values.train, *values.held_out) for word in WORD.findall(value)}
        self.words = words + sorted(home - commands - heads) * HOME_WORD_WEIGHT
        self.clauses = [clause for clause in spoken_clauses(texts) if clause not in self.held_out]

    def rename(self, example: Example, rng: random.Random, freedom: Freedom) -> Example:
        """The example with other values in its open slots, in prompt, intent line and reply alike."""
        if rng.random() >= RENAMED_SHARE:
            return example
        prompt, reply, slots = example.prompt, example.reply, dict(example.slots)
        # Long values first: "kitchen lamp" before "kitchen".
        for slot in sorted((s for s in OPEN_SLOTS if s in slots), key=lambda s: -len(slots[s])):
            old = slots[slot]
            others = [value for other, value in slots.items() if other != slot]
            if not _whole(old).search(prompt) or any(_whole(old).search(value) for value in others):
                continue
            if slot in FREE_TEXT_SLOTS and rng.random() < FREE_TEXT_SHARE:
                new = rng.choice(self.clauses)
            elif freedom is Freedom.SAME_HEAD and len(old.split()) < 2:
                continue
            else:
                new = self.name_like(old, rng, freedom)
            prompt = _whole(old).sub(new, prompt)
            reply = _whole(old, re.IGNORECASE).sub(lambda found: _like(found[0], new), reply)
            slots[slot] = new
        return Example(prompt, example.intent, slots, reply)

    def name_like(self, old: str, rng: random.Random, freedom: Freedom) -> str:
        """A name with the same owner's s or the same last word as another, or with nothing of it."""
        while True:
            words = old.split()
            if words[0].endswith("'s"):
                new = [f"{self.word(rng)}'s", *words[1:]]
            elif len(words) > 1 and (freedom is Freedom.SAME_HEAD or rng.random() < KEPT_HEAD_SHARE):
                new = [self.word(rng) for _ in range(rng.choice((1, 1, 2)))] + words[-1:]
            else:
                new = [self.word(rng) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))] + [self.last_word(rng)]
            name = " ".join(new)
            if name not in self.held_out:
                return name

    def word(self, rng: random.Random) -> str:
        """A word that people say, or one that nobody has said yet."""
        return rng.choice(self.words) if rng.random() >= MADE_UP_SHARE else made_up(rng)

    def last_word(self, rng: random.Random) -> str:
        """A word that is no name by itself yet."""
        return rng.choice(self.ends) if rng.random() >= MADE_UP_SHARE else made_up(rng)


def made_up(rng: random.Random) -> str:
    """A word of two or three syllables."""
    return "".join(rng.choice(ONSETS) + rng.choice(RHYMES) for _ in range(rng.choice((2, 2, 3))))


def corpus_texts() -> list[str]:
    """What was said in the corpus of small talk, in lower case."""
    path = resources.files("chitchat_dataset") / "dataset.json"
    return [text.lower() for text in _texts(json.loads(path.read_text(encoding="utf-8")))]


def spoken_words(texts: list[str]) -> set[str]:
    """Words that many utterances have."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(re.findall(r"(?<![a-z'])[a-z]{3,11}(?![a-z'])", text)))
    return {word for word, count in counts.items() if count >= LEAST_COUNT}


def spoken_clauses(texts: list[str]) -> list[str]:
    """Beginnings of utterances, of two to six words, without words that would end a free text."""
    clauses: dict[str, None] = {}
    for number, text in enumerate(texts):
        words = text.split()
        length = 2 + number % 5
        clause = words[:length]
        if len(clause) == length and all(re.fullmatch(r"(?!.*(.)\1\1)[a-z]{1,11}('[a-z]+)?", word) and word not in BOUNDARIES for word in clause):
            clauses.setdefault(" ".join(clause))
    return list(clauses)


def command_words(language: str) -> set[str]:
    """Every word that the package's templates, lists and rules have: as a name it would mislead."""
    path = resources.files("home_assistant_intents") / "data" / f"{language}.json"
    return set(re.findall(r"[a-z']+", path.read_text(encoding="utf-8").lower()))


def _texts(node: object) -> list[str]:
    """All texts of the corpus' records."""
    match node:
        case {"text": str(text)}:
            return [text]
        case dict():
            return [text for child in node.values() for text in _texts(child)]
        case list():
            return [text for child in node for text in _texts(child)]
        case _:
            return []


def _whole(phrase: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'@]){re.escape(phrase)}(?![\w'])", flags)


def _like(old: str, new: str) -> str:
    """The new name, with a capital where the old one had it."""
    return new[0].upper() + new[1:] if old[0].isupper() else new
