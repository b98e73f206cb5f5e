"""Turns that the package has no templates for: questions back, refusals, small talk."""

from __future__ import annotations

import json
import random
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Callable

from hassil.expression import Alternative, Expression, ListReference, Sequence, TextChunk
from hassil.parse_expression import parse_sentence

from .grammar import Draw
from .lines import Example, normalise, sentence
from .vocabulary import Side, ValueList, Vocabulary, draw

SENTENCES_HELD_OUT = 0.2
VALUES_HELD_OUT = 0.3
POLITE_BEFORE = ("please", "can you", "could you", "hey", "hearth", "can you please", "would you", "i want you to")
POLITE_AFTER = ("please", "for me", "now")
# Of the requests that are refused in training, those of any verb and any thing.
BEYOND_SHARE = 0.5
# A question from the training corpus is worth less than a line written for this assistant.
CORPUS_SHARE = 0.4
MOST_CORPUS_REMARKS = 2500


@dataclass(frozen=True)
class Phrase:
    """A sentence template with the answer's intent, slots and replies."""

    text: str
    expression: Expression
    intent: str
    slots: tuple[tuple[str, str], ...]
    replies: tuple[str, ...]


@dataclass(frozen=True)
class PhraseBook:
    """Phrases of one kind, each on one side, with the values of their lists."""

    train: tuple[Phrase, ...]
    held_out: tuple[Phrase, ...]
    lists: dict[str, ValueList]

    def example(self, side: Side, rng: random.Random) -> Example:
        """One turn of a side."""
        phrase = rng.choice(self.train if side is Side.TRAIN else self.held_out)

        def fill(reference: ListReference) -> str:
            return draw(self.lists[reference.slot_name].side(side), rng)

        text = " ".join(expand(phrase.expression, rng, fill).split())
        if phrase.intent != "Chat" and rng.random() < 0.3:
            before, after = rng.choice(POLITE_BEFORE), rng.choice(POLITE_AFTER)
            is_question = text.split()[0] in ("what", "what's", "how", "who", "when", "where", "why", "is", "do", "did", "does", "i", "am")
            text = f"{text} please" if is_question else rng.choice([f"{before} {text}", f"{text} {after}"])
        if phrase.intent == "Chat" and rng.random() < 0.12 and "hearth" not in text:
            text = rng.choice([f"hearth {text}", f"{text} hearth", f"hey hearth {text}", f"hey {text}"])
        return Example(normalise(text), phrase.intent, dict(phrase.slots), sentence(rng.choice(phrase.replies)))


def expand(node: Expression, rng: random.Random, fill: Callable[[ListReference], str]) -> str:
    """One sentence of a template."""
    match node:
        case TextChunk():
            return node.original_text
        case Alternative():
            return expand(rng.choice(node.items), rng, fill)
        case Sequence():
            return "".join(expand(item, rng, fill) for item in node.items)
        case ListReference():
            return fill(node)
        case _:
            raise ValueError(f"unknown expression {node}")


def clarify_book(path: Path, vocabulary: Vocabulary, seed: int) -> tuple[PhraseBook, tuple[str, ...]]:
    """Questions back, and what to ask when only the room is missing."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    lists = {"area": vocabulary.areas, **vocabulary.names, "timer_name": vocabulary.wildcards["timer_name"]}
    phrases = [
        _phrase(text, "Clarify", {"intent": ask["intent"], "missing": ask["missing"]}, ask["replies"])
        for ask in raw["ask"]
        for text in ask["sentences"]
    ]
    return _book(phrases, lists, f"{seed} clarify"), tuple(raw["room"]["replies"])


def room_question(drawn: Draw, text: str, replies: tuple[str, ...], rng: random.Random) -> Example:
    """A command for this room, when the prompt does not tell which room this is."""
    return Example(text, "Clarify", {"intent": drawn.template.intent, "missing": "area"}, rng.choice(replies))


def unsupported_books(path: Path, seed: int) -> tuple[PhraseBook, PhraseBook, tuple[str, ...]]:
    """What the assistant refuses: sentences of both sides, sentences for training only, and what is left out
    since it is a command to who does not know the thing."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    lists = {}
    for name, values in raw["values"].items():
        shuffled = list(values)
        random.Random(f"{seed} {name}").shuffle(shuffled)
        cut = round(len(shuffled) * VALUES_HELD_OUT)
        lists[name] = ValueList(tuple(shuffled[cut:]), tuple(shuffled[:cut]))
    listed = _book(_refused(raw["topics"], raw["replies"]["any"]), lists, f"{seed} unsupported")
    beyond = raw["beyond"]
    held_out = {phrase.text for phrase in listed.held_out}
    phrases = [phrase for phrase in _refused(beyond["topics"], raw["replies"]["any"]) if phrase.text not in held_out]
    values = {name: ValueList(tuple(words), ()) for name, words in beyond["values"].items()}
    return listed, PhraseBook(tuple(phrases), (), values), tuple(raw["ambiguous"])


def _refused(topics: dict[str, list[str]], replies: list[str]) -> list[Phrase]:
    return [_phrase(text, "Unsupported", {}, replies) for topic in topics.values() for text in topic]


def chat_books(path: Path, seed: int) -> tuple[PhraseBook, PhraseBook]:
    """Small talk written for this assistant, and small talk from `chitchat-dataset`."""
    own = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said, *replies = line.split("\t")
        own.append(_phrase(said, "Chat", {}, replies))
    known = {phrase.text for phrase in own}
    corpus = [_phrase(said, "Chat", {}, [reply]) for said, reply in _corpus_pairs() if said not in known]
    corpus += [_phrase(said, "Chat", {}, REMARK_REPLIES) for said in _corpus_remarks() if said not in known]
    return _book(own, {}, f"{seed} chat"), _book(corpus, {}, f"{seed} corpus")


def _phrase(text: str, intent: str, slots: dict[str, str], replies: list[str]) -> Phrase:
    # Question marks and apostrophes mean nothing to the template language.
    return Phrase(text, parse_sentence(text).expression, intent, tuple(sorted(slots.items())), tuple(replies))


def _book(phrases: list[Phrase], lists: dict[str, ValueList], seed: str) -> PhraseBook:
    order = list(phrases)
    random.Random(seed).shuffle(order)
    cut = round(len(order) * SENTENCES_HELD_OUT)
    return PhraseBook(tuple(order[cut:]), tuple(order[:cut]), lists)


# First turns of strangers who type to each other: only what a house could be asked is kept, and only
# answers that claim no life of their own.
CORPUS_SAID = re.compile(
    r"(how (are|is|was|has)|what('s| is) up|whats up|how do you do|nice to|good (morning|evening|day|afternoon)|happy|hope|"
    r"have a|hey|hi|hello|do you like|greetings|yo|sup)\b"
)
CORPUS_REPLY = re.compile(
    r"(hi|hello|hey|i am (fine|good|well|great|doing)|i'm (fine|good|well|great|doing)|good|great|fine|not (bad|much)|"
    r"thank|pretty|doing|nice|very|it's (good|great|going)|going)\b"
)
UNFIT = re.compile(
    r"\b(work|job|school|class|exam|study|kid|wife|husband|tired|sleep|drunk|sex|hell|damn|shit|fuck|ass|stupid|kill|die|dead|god|"
    r"mit|boston|student|name|lol|haha|test|testing|bot|weekend|today's|vacation|dog|cat|sick|lunch|dinner|mac|bro|dude|man|"
    r"fam|ur|u|im|wyd|wbu|hbu|r|ya|bud|friend|challenge|chat|app|i'll|gonna|am from|live)\b"
)


# What people say of themselves, answered without pretending to a life.
CORPUS_REMARK = re.compile(r"(i|i'm|i've|i am|it's|it is|it was|that's|that is|my|we|that sounds|maybe|sometimes|today)\b")
REMARK_REPLIES = ["I see.", "Good to know.", "That is interesting.", "Thank you for telling me.", "Is that so.", "I understand."]


def _corpus_remarks() -> list[str]:
    """Remarks from all turns, each once, in order of the corpus."""
    path = resources.files("chitchat_dataset") / "dataset.json"
    remarks: dict[str, None] = {}
    for conversation in json.loads(path.read_text(encoding="utf-8")).values():
        for turn in conversation["messages"]:
            said = turn[0]["text"]
            plain = normalise(said)
            if not (3 <= len(plain.split()) <= 8) or "?" in said or any(ord(letter) > 126 for letter in said):
                continue
            if re.search(r"[:;@#<>()*_/\d]", said) or not CORPUS_REMARK.match(plain) or UNFIT.search(plain):
                continue
            if re.search(r"(?<![.!] )\b(?!I\b|I')[A-Z]", said[1:]) or re.search(r"(.)\1\1", plain) or plain.endswith((" the", " a", " to", " and")):
                continue
            remarks.setdefault(plain)
            if len(remarks) == MOST_CORPUS_REMARKS:
                return list(remarks)
    return list(remarks)


def _corpus_pairs() -> list[tuple[str, str]]:
    """Pairs of a first turn and a reply that survive the filter, each once, in order of the corpus."""
    path = resources.files("chitchat_dataset") / "dataset.json"
    pairs: dict[str, str] = {}
    for conversation in json.loads(path.read_text(encoding="utf-8")).values():
        turns = conversation["messages"]
        if len(turns) < 2:
            continue
        said = normalise(" ".join(message["text"] for message in turns[0]))
        reply = turns[1][0]["text"].strip()
        plain = normalise(reply)
        if not (2 <= len(said.split()) <= 8 and 2 <= len(plain.split()) <= 10):
            continue
        if any(ord(letter) > 126 for letter in reply) or re.search(r"[:;@#<>()*_/\d]", reply):
            continue
        if UNFIT.search(said) or UNFIT.search(plain) or not CORPUS_SAID.match(said) or not CORPUS_REPLY.match(plain):
            continue
        tidy = re.sub(r"\bi\b", "I", re.sub(r"([.!?])\1+", r"\1", reply))
        if "?" in tidy or tidy.isupper() or re.search(r"(?<![.!] )\b(?!I\b)[A-Z]", tidy[1:]):
            continue
        pairs.setdefault(said, sentence(tidy))
    return list(pairs.items())
