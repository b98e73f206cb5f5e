"""Names that no list has: a model that only ever reads a few hundred names learns them by heart, one that reads any word
as a name learns to copy."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from importlib import resources

from .lines import Example

# Slots whose values the answer repeats from the command, whatever they are.
OPEN_SLOTS = ("area", "item", "message", "name", "search_query", "zone")
RENAMED_SHARE = 0.7
"""Share of the examples with such slots that get other names."""
KEPT_HEAD_SHARE = 0.4
MADE_UP_SHARE = 0.15
LEAST_COUNT = 12
"""Utterances of the corpus that have a word, for it to be one that people say."""
ONSETS = ("b", "br", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t", "tr", "v", "w", "z")
RHYMES = ("a", "an", "ar", "e", "el", "en", "i", "in", "is", "o", "on", "or", "u", "um", "us")


class Renaming:
    """Draws names of one to three words that are neither held out nor words of commands."""

    def __init__(self, held_out: frozenset[str], language: str) -> None:
        self.held_out = held_out
        reserved = command_words(language) | {word for value in held_out if " " not in value for word in [value]}
        self.words = sorted(word for word in spoken_words() if word not in reserved)

    def rename(self, example: Example, rng: random.Random) -> Example:
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
            new = self.name_like(old, rng)
            prompt = _whole(old).sub(new, prompt)
            reply = _whole(old, re.IGNORECASE).sub(lambda found: _like(found[0], new), reply)
            slots[slot] = new
        return Example(prompt, example.intent, slots, reply)

    def name_like(self, old: str, rng: random.Random) -> str:
        """A name with the same owner's s or the same last word as another, or with nothing of it."""
        while True:
            words = old.split()
            if words[0].endswith("'s"):
                new = [f"{self.word(rng)}'s", *words[1:]]
            elif len(words) > 1 and rng.random() < KEPT_HEAD_SHARE:
                new = [self.word(rng) for _ in range(rng.choice((1, 1, 2)))] + words[-1:]
            else:
                new = [self.word(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
            name = " ".join(new)
            if name not in self.held_out:
                return name

    def word(self, rng: random.Random) -> str:
        """A word that people say, or one that nobody has said yet."""
        if rng.random() >= MADE_UP_SHARE:
            return rng.choice(self.words)
        return "".join(rng.choice(ONSETS) + rng.choice(RHYMES) for _ in range(rng.choice((2, 2, 3))))


def spoken_words() -> set[str]:
    """Words that many utterances of the small talk have."""
    path = resources.files("chitchat_dataset") / "dataset.json"
    counts: Counter[str] = Counter()
    for text in _texts(json.loads(path.read_text(encoding="utf-8"))):
        counts.update(set(re.findall(r"(?<![a-z'])[a-z]{3,11}(?![a-z'])", text.lower())))
    return {word for word, count in counts.items() if count >= LEAST_COUNT}


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
