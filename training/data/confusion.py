"""What the recognizer makes of a sentence: words that it hears for others, and words that it drops.

`confusions.tsv` has a line `heard<TAB>said<TAB>count`; an empty `heard` is a word that was dropped.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

# Share of the training commands with a mistake in them; of 232 spoken ones 24 % had one, half of them spellings.
MISTAKE_SHARE = 0.18


class Confusions:
    """Mistakes by the words that were said."""

    def __init__(self, path: Path) -> None:
        self.heard: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fields = line.split("\t")
            if len(fields) != 3 or not fields[1] or not fields[2].isdigit():
                raise ValueError(f"{path.name} line {number}: expected heard, said and count, found {line!r}")
            self.heard[fields[1]].append((fields[0], int(fields[2])))
        self.longest = max((len(said.split()) for said in self.heard), default=0)

    def mishear(self, text: str, untouched: list[str], rng: random.Random) -> str:
        """The text with one mistake, seldom two; free text that the answer repeats stays as it is."""
        for _ in range(2 if rng.random() < 0.15 else 1):
            text = self._once(text, untouched, rng)
        return text

    def _once(self, text: str, untouched: list[str], rng: random.Random) -> str:
        words = text.split()
        fixed = _covered(words, untouched)
        places: list[tuple[int, int, str]] = []
        for start in range(len(words)):
            for end in range(start + 1, min(len(words), start + self.longest) + 1):
                said = " ".join(words[start:end])
                if said in self.heard and not any(fixed[start:end]):
                    places.append((start, end, said))
        if not places:
            return text
        totals = list(accumulate(sum(count for _, count in self.heard[said]) for _, _, said in places))
        start, end, said = places[bisect(totals, rng.random() * totals[-1])]
        choices = self.heard[said]
        heard = rng.choices([heard for heard, _ in choices], [count for _, count in choices])[0]
        mistaken = " ".join(words[:start] + heard.split() + words[end:])
        return mistaken or text


def _covered(words: list[str], untouched: list[str]) -> list[bool]:
    """Which words belong to a text that must stay."""
    fixed = [False] * len(words)
    for phrase in untouched:
        parts = phrase.split()
        for start in range(len(words) - len(parts) + 1):
            if parts and words[start : start + len(parts)] == parts:
                fixed[start : start + len(parts)] = [True] * len(parts)
    return fixed
