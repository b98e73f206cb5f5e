"""Which templates are held out: a fifth of those of an intent with five or more, else a fifth of the ways
through its templates."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from .grammar import Draw, Grammar, Template
from .paraphrase import Phrase, paraphrase
from .vocabulary import Side

HELD_OUT_SHARE = 0.2
MANY_TEMPLATES = 5
# Draws per template that find its ways; a way has a handful of choices, so a few hundred find nearly all.
PILOT_DRAWS = 400


@dataclass(frozen=True)
class Split:
    """Held-out templates by key, and held-out ways through the templates of the other intents."""

    templates: frozenset[str]
    ways: frozenset[tuple[object, ...]]
    by_way: frozenset[str]
    """Intents that are divided by ways."""

    def templates_of(self, grammar: Grammar, intent: str, side: Side) -> list[Template]:
        """The templates that a side may draw from."""
        templates = grammar.templates_of(intent)
        if intent in self.by_way:
            return templates
        return [template for template in templates if (template.key in self.templates) == (side is Side.HELD_OUT)]

    def admits(self, draw: Draw, phrase: Phrase, side: Side) -> bool:
        """Whether a draw is one of this side."""
        if draw.template.intent not in self.by_way:
            return True
        return (way_of(draw, phrase) in self.ways) == (side is Side.HELD_OUT)


def way_of(draw: Draw, phrase: Phrase) -> tuple[object, ...]:
    """The alternatives taken inside a template, but for rules and values; for a template that has none, the
    words put around it."""
    inside = "(" in draw.template.text or "[" in draw.template.text
    return (draw.template.key, draw.choices if inside else (), () if inside else (phrase.before, phrase.after))


def divide(grammar: Grammar, seed: int) -> Split:
    """Chooses what is held out. A template is only held out if another of its shape stays in training, since
    no model can guess a meaning that it has never seen."""
    templates: set[str] = set()
    ways: set[tuple[object, ...]] = set()
    by_way: set[str] = set()
    for intent in grammar.intents:
        rng = random.Random(f"{seed} split {intent}")
        own = grammar.templates_of(intent)
        chosen = _divisible(own, rng)[: round(len(own) * HELD_OUT_SHARE)]
        if len(own) >= MANY_TEMPLATES and chosen:
            templates |= {template.key for template in chosen}
            continue
        by_way.add(intent)
        found: dict[str, set[tuple[object, ...]]] = defaultdict(set)
        for template in own:
            for _ in range(PILOT_DRAWS):
                draw = grammar.sample(template, Side.TRAIN, rng)
                found[template.key].add(way_of(draw, paraphrase(draw, Side.HELD_OUT, rng)))
        for key in sorted(found):
            candidates = sorted(found[key], key=repr)
            if len(candidates) > 1:
                rng.shuffle(candidates)
                ways |= set(candidates[: max(1, round(len(candidates) * HELD_OUT_SHARE))])
    return Split(frozenset(templates), frozenset(ways), frozenset(by_way))


def _divisible(templates: list[Template], rng: random.Random) -> list[Template]:
    """The templates in random order, without the last one of every shape."""
    order = list(templates)
    rng.shuffle(order)
    left = defaultdict(int)
    for template in order:
        left[template.shape] += 1
    chosen = []
    for template in order:
        if left[template.shape] > 1:
            left[template.shape] -= 1
            chosen.append(template)
    return chosen
