"""Which kinds of turns the data consists of, and in which shares."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .confusion import MISTAKE_SHARE, Confusions
from .context import situate
from .grammar import Draw, Grammar, Slot, Template
from .lines import Example, normalise
from .paraphrase import Phrase, paraphrase
from .phrases import BEYOND_SHARE, CORPUS_SHARE, PhraseBook, chat_books, clarify_book, room_question, unsupported_books
from .replies import Replies
from .split import Split, divide
from .vocabulary import Side, Vocabulary, read_vocabulary

# Shares of what is no command of Home Assistant; together 19 %.
OTHER_SHARES = {"Clarify": 0.05, "Unsupported": 0.1, "Chat": 0.04}
# No intent falls below this share.
LEAST_SHARE = 0.012
# A light named without "light" before the word "light": rare, and at odds with "desk lamp".
FIXTURE_WEIGHT = 0.3
# Of the questions back, those in which only the room is missing.
ROOM_SHARE = 0.4
# How often a sentence may be drawn again because it belongs to the other side.
MOST_DRAWS = 2000


@dataclass
class Turn:
    """An example with what tells whether its sentence is ambiguous."""

    example: Example
    pattern: str
    """The sentence with values replaced by their kinds."""
    meaning: str
    """The answer with values replaced by their kinds."""
    open_pattern: str = ""
    """The sentence with everything that could be any word replaced by the same mark; empty if it has no such word."""
    shape: str = ""
    """The answer with these words left out."""
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of thing that each of these slots names."""


@dataclass
class Mixture:
    """Everything that examples of a language are drawn from."""

    grammar: Grammar
    vocabulary: Vocabulary
    split: Split
    replies: Replies
    clarify: PhraseBook
    room_replies: tuple[str, ...]
    unsupported: PhraseBook
    beyond: PhraseBook
    ambiguous_requests: tuple[str, ...]
    chat: PhraseBook
    corpus: PhraseBook
    confusions: Confusions
    weights: dict[str, float]
    pools: dict[tuple[str, Side], tuple[list[Template], list[float]]] = field(default_factory=dict)

    def turn(self, kind: str, side: Side, rng: random.Random) -> Turn:
        """One turn of an intent, or of `Clarify`, `Unsupported` and `Chat`."""
        match kind:
            case "Clarify":
                if rng.random() < ROOM_SHARE:
                    return self._room_question(side, rng)
                return _plain(self.clarify.example(side, rng))
            case "Unsupported":
                is_beyond = side is Side.TRAIN and rng.random() < BEYOND_SHARE
                return _plain((self.beyond if is_beyond else self.unsupported).example(side, rng))
            case "Chat":
                book = self.corpus if rng.random() < CORPUS_SHARE else self.chat
                return _plain(book.example(side, rng))
            case _:
                return self._command(kind, side, rng)

    def _command(self, intent: str, side: Side, rng: random.Random) -> Turn:
        drawn, phrase = self._draw(intent, side, rng)
        facts = situate(drawn, self.vocabulary, side, rng)
        text = normalise(phrase.text)
        if side is Side.TRAIN and rng.random() < MISTAKE_SHARE:
            text = self.confusions.mishear(text, _free_text(drawn), rng)
        example = Example(
            "\n".join([*facts.lines, text]), intent, {name: slot.value for name, slot in drawn.slots.items()},
            self.replies.reply(drawn, facts, rng),
        )
        room = "here\n" if drawn.here else ""
        kinds = {name: slot.tag for name, slot in drawn.slots.items() if slot.words and _is_open(slot)}
        open_pattern = room + _pattern(drawn, lambda slot: "any" if _is_open(slot) else slot.tag) if kinds else ""
        return Turn(example, room + _pattern(drawn), _meaning(drawn), open_pattern, _shape(drawn), kinds)

    def _draw(self, intent: str, side: Side, rng: random.Random) -> tuple[Draw, Phrase]:
        templates, weights = self._pool(intent, side)
        for _ in range(MOST_DRAWS):
            template = rng.choices(templates, cum_weights=weights)[0]
            drawn = self.grammar.sample(template, side, rng)
            phrase = paraphrase(drawn, side, rng)
            if self.split.admits(drawn, phrase, side):
                return drawn, phrase
        raise ValueError(f"{intent}: no sentence on the side {side.value}")

    def _pool(self, intent: str, side: Side) -> tuple[list[Template], list[float]]:
        if (intent, side) not in self.pools:
            templates = self.split.templates_of(self.grammar, intent, side)
            total, cumulative = 0.0, []
            for template in templates:
                total += FIXTURE_WEIGHT if "{name} <light>" in template.text else 1.0
                cumulative.append(total)
            self.pools[intent, side] = (templates, cumulative)
        return self.pools[intent, side]

    def _room_question(self, side: Side, rng: random.Random) -> Turn:
        intents = sorted({template.intent for template in self.grammar.templates if template.area_from_context})
        while True:
            intent = rng.choice(intents)
            drawn, phrase = self._draw(intent, side, rng)
            if drawn.here and not any(word in phrase.text.split() for word in ("here", "this")):
                example = room_question(drawn, normalise(phrase.text), self.room_replies, rng)
                return Turn(example, _pattern(drawn), f"Clarify {intent}")


def open_mixture(language_dir: Path, language: str, seed: int) -> Mixture:
    """Reads the lists of a language and divides everything by the seed."""
    vocabulary = read_vocabulary(language_dir / "vocabulary.toml", seed)
    grammar = Grammar(language, vocabulary)
    clarify, room_replies = clarify_book(language_dir / "clarify.toml", vocabulary, seed)
    unsupported, beyond, ambiguous_requests = unsupported_books(language_dir / "unsupported.toml", seed)
    chat, corpus = chat_books(language_dir / "chat.tsv", seed)
    return Mixture(
        grammar=grammar,
        vocabulary=vocabulary,
        split=divide(grammar, seed),
        replies=Replies(grammar, language_dir / "replies.toml"),
        clarify=clarify,
        room_replies=room_replies,
        unsupported=unsupported,
        beyond=beyond,
        ambiguous_requests=ambiguous_requests,
        chat=chat,
        corpus=corpus,
        confusions=Confusions(Path(__file__).parent / "confusions.tsv"),
        weights=_weights(grammar),
    )


def _weights(grammar: Grammar) -> dict[str, float]:
    """Shares of every kind: commands by the square root of their templates, none below the least share."""
    roots = {intent: math.sqrt(len(grammar.templates_of(intent))) for intent in grammar.intents}
    room, low = 1 - sum(OTHER_SHARES.values()), set[str]()
    while True:
        # What the least ones get, the others lack, so that further ones may fall below.
        left = room - LEAST_SHARE * len(low)
        total = sum(root for intent, root in roots.items() if intent not in low)
        below = {intent for intent, root in roots.items() if intent not in low and left * root / total < LEAST_SHARE}
        if not below:
            return {intent: LEAST_SHARE if intent in low else left * root / total for intent, root in roots.items()} | OTHER_SHARES
        low |= below


def _plain(example: Example) -> Turn:
    meaning = f"{example.intent} {example.slots}"
    return Turn(example, example.prompt, meaning)


def _free_text(drawn: Draw) -> list[str]:
    """What the answer repeats word by word and no list corrects."""
    return [slot.words for slot in drawn.slots.values() if slot.tag in FREE_TAGS]


FREE_TAGS = frozenset("timer_name shopping_list_item todo_list_item message search_query timer_command zone".split())


# Words that never tell two commands apart.
ARTICLES = re.compile(r"\b(the|my|our) ")
ALL = re.compile(r"\b(all of|all|every single|every|each and every|each)\b")
LIGHT = re.compile(r"\b(lights|lighting|lamps|lamp)\b")


def _is_open(slot: Slot) -> bool:
    """Whether the slot can be any word: no number, floor or value of a list."""
    return " " not in slot.tag and slot.tag not in ("number", "floor", "here")


def _pattern(drawn: Draw, mark: Callable[[Slot], str] = lambda slot: slot.tag) -> str:
    """The sentence with names, areas and numbers replaced by their kinds or another mark, in one wording."""
    text = f" {drawn.text} "
    for slot in sorted(drawn.slots.values(), key=lambda slot: -len(slot.words)):
        # The words of a value list, as on and off, are words of the sentence.
        if slot.words and " " not in slot.tag:
            text = text.replace(f" {slot.words} ", f" <{mark(slot)}> ", 1)
    return LIGHT.sub("light", ALL.sub("all", ARTICLES.sub("", text))).strip()


def _shape(drawn: Draw) -> str:
    slots = sorted((name, "" if _is_open(slot) else slot.tag.removeprefix("fixed ")) for name, slot in drawn.slots.items())
    return f"{drawn.template.intent} {slots}"


def _meaning(drawn: Draw) -> str:
    slots = sorted((name, slot.tag.removeprefix("fixed ")) for name, slot in drawn.slots.items())
    return f"{drawn.template.intent} {slots}"
