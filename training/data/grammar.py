"""The sentence templates of `home-assistant-intents`, parsed by hassil, and sentences drawn from them.

`Grammar` holds every template; `sample` draws one sentence with its slots and the choices that led to it.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

from hassil.expression import Alternative, Expression, ListReference, Permutation, RuleReference, Sequence, TextChunk
from hassil.intents import Intents, RangeSlotList, RangeType, TextSlotList, WildcardSlotList
from hassil.parse_expression import parse_sentence

from .numbers import ONES, TENS, draw_number, spoken
from .vocabulary import Side, Vocabulary, draw

# Optional words stand in a good third of the sentences, articles in more.
OPTIONAL_SHARE = 0.4
OPTIONAL_RULE_SHARE = {"the": 0.7, "here": 0.3, "all": 0.25, "everywhere": 0.3, "turn": 0.75, "set": 0.8, "numeric_value_set": 0.8}
# "Put it on my packing" without "list" is rare.
OPTIONAL_WORD_SHARE = {"list": 0.9, "to": 0.6, "speed": 0.6, "color": 0.5, "again": 0.25}
# Alternatives of a rule in the order of the package; the rest are as likely as each other.
RULE_WEIGHTS = {"the": (16, 2, 1), "turn": (8, 4, 1, 1), "light": (4, 4, 1, 3, 2), "in": (6, 3, 1, 1, 1, 1, 1), "is": (1, 3)}


NUMBER_WORDS = frozenset([*ONES, *TENS, "hundred", "a", "an", "half"])


@dataclass(frozen=True)
class Template:
    """One sentence template of one intent."""

    intent: str
    text: str
    expression: Expression
    fixed_slots: dict[str, str]
    response: str
    domains: tuple[str, ...]
    area_from_context: bool
    block: int

    @property
    def key(self) -> str:
        """Tells this template from every other, also from the same text in another block."""
        return f"{self.intent} {self.block} {self.text}"

    @cached_property
    def lists(self) -> tuple[str, ...]:
        """The lists that are mentioned, with their slots: `timer_minutes:minutes`."""
        return tuple(re.findall(r"\{([^}]+)\}", self.text))

    @property
    def shape(self) -> str:
        """What a sentence of the template means, but for values: templates of one shape teach each other."""
        slots = sorted({name.split(":")[-1] for name in self.lists} | set(self.fixed_slots))
        special = self.domains if self.intent in ("HassTurnOn", "HassTurnOff") else ()
        person = self.fixed_slots.get("domain") == "person"
        return f"{slots} {self.response} {special} {self.area_from_context} {person}"


@dataclass
class Slot:
    """A filled slot: the value for the intent line, and the words in the sentence."""

    value: str
    words: str
    tag: str


@dataclass
class Draw:
    """One sentence drawn from a template, still without paraphrase, context and reply."""

    template: Template
    text: str
    slots: dict[str, Slot]
    choices: tuple[int, ...]
    domain: str | None
    here: str | None = None
    pieces: list[str] = field(default_factory=list)


class Grammar:
    """All templates of a language with their rules and lists."""

    def __init__(self, language: str, vocabulary: Vocabulary) -> None:
        path = resources.files("home_assistant_intents") / "data" / f"{language}.json"
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.vocabulary = vocabulary
        self.responses: dict[str, dict[str, str]] = raw["responses"]["intents"]
        parsed = Intents.from_dict({"language": language, "intents": {}, "lists": raw["lists"]})
        self.lists = parsed.slot_lists
        self.rules = {name: parse_sentence(text).expression for name, text in raw["expansion_rules"].items()}
        self.templates: list[Template] = []
        for intent, data in raw["intents"].items():
            for block, group in enumerate(data["data"]):
                self.templates += _templates_of_block(intent, block, group)

    def templates_of(self, intent: str) -> list[Template]:
        """The templates of an intent in the order of the package."""
        return [template for template in self.templates if template.intent == intent]

    @property
    def intents(self) -> list[str]:
        """Names of all intents in the order of the package."""
        return list(dict.fromkeys(template.intent for template in self.templates))

    def sample(self, template: Template, side: Side, rng: random.Random) -> Draw:
        """Draws a sentence; names, areas and free text come from one side."""
        return _Sampler(self, template, side, rng).run()


def _templates_of_block(intent: str, block: int, group: dict[str, Any]) -> list[Template]:
    known = {"sentences", "slots", "response", "requires_context", "metadata"}
    if unknown := set(group) - known:
        raise ValueError(f"{intent}: a block has {sorted(unknown)}, of which the pipeline knows nothing")
    requires = dict(group.get("requires_context", {}))
    domains = requires.pop("domain", [])
    area = requires.pop("area", None)
    if requires or (area is not None and area != {"slot": True}):
        raise ValueError(f"{intent}: unknown context {group['requires_context']}")
    return [
        Template(
            intent=intent,
            text=text,
            expression=parse_sentence(text).expression,
            fixed_slots={name: str(value) for name, value in group.get("slots", {}).items()},
            response=group.get("response", "default"),
            domains=tuple([domains] if isinstance(domains, str) else domains),
            area_from_context=area is not None,
            block=block,
        )
        for text in group["sentences"]
    ]


class _Sampler:
    """The walk down one template; lives for one sentence."""

    def __init__(self, grammar: Grammar, template: Template, side: Side, rng: random.Random) -> None:
        self.grammar, self.template, self.side, self.rng = grammar, template, side, rng
        self.pieces: list[str] = []
        self.slots: dict[str, Slot] = {}
        self.choices: list[int] = []
        self.domain: str | None = None
        self.rule: str | None = None

    def run(self) -> Draw:
        self.walk(self.template.expression, None)
        for name, value in self.template.fixed_slots.items():
            self.slots[name] = Slot(value, "", "fixed " + value)
            if name == "domain":
                self.domain = value
        here = None
        if self.template.area_from_context:
            here = draw(self.grammar.vocabulary.areas.side(self.side), self.rng)
            self.slots["area"] = Slot(here, "", "here")
        text = _tidy("".join(self.pieces), self.rng)
        if (name := self.slots.get("name")) and name.tag in ("person", "weather"):
            text = re.sub(rf"\b(the|my|our) {name.words}\b", name.words, text)
        if (floor := self.slots.get("floor")) and floor.value in self.grammar.vocabulary.floors_with_word:
            # "The first lights" is a sentence of the templates, but nobody's.
            text = re.sub(rf"\b{floor.value}\b(?! floor)", f"{floor.value} floor", text)
        return Draw(self.template, text, self.slots, tuple(self.choices), self.domain, here)

    def walk(self, node: Expression, rule: str | None) -> None:
        match node:
            case TextChunk():
                self.pieces.append(node.original_text)
            case Alternative():
                self.walk(node.items[self.choose(node, rule)], None)
            case Permutation():
                order = list(range(len(node.items)))
                self.rng.shuffle(order)
                self.choices.extend(order)
                for index in order:
                    self.pieces.append(" ")
                    self.walk(node.items[index], None)
                self.pieces.append(" ")
            case Sequence():
                # A rule whose body is one alternative parses as a sequence of one.
                inner = rule if len(node.items) == 1 or rule == "is" else None
                for item in node.items:
                    self.walk(item, inner)
            case RuleReference():
                outer, self.rule = self.rule, node.rule_name
                self.walk(self.grammar.rules[node.rule_name], node.rule_name)
                self.rule = outer
            case ListReference():
                self.fill(node)
            case _:
                raise ValueError(f"{self.template.text}: unknown expression {node}")

    def choose(self, node: Alternative, rule: str | None) -> int:
        if node.is_optional:
            if self.rng.random() >= self.share_of(node, rule):
                index = len(node.items) - 1
            else:
                index = self.rng.randrange(max(1, len(node.items) - 1))
        elif rule == "is" and "{name}" in self.template.text:
            index = 0 if self.rng.random() < 0.85 else 1
        elif rule in RULE_WEIGHTS and len(RULE_WEIGHTS[rule]) == len(node.items):
            index = self.rng.choices(range(len(node.items)), RULE_WEIGHTS[rule])[0]
        else:
            index = int(self.rng.random() * len(node.items))
        if self.rule is None:
            self.choices.append(index)
        return index

    def share_of(self, node: Alternative, rule: str | None) -> float:
        """How often an optional part is said."""
        if rule == "is" or self.rule == "lockable":
            # "Which lights are our on" is a sentence of the templates, but hardly of people.
            return 0.0 if "{name}" in self.template.text else 0.08
        inner = _first(node.items[0])
        if isinstance(inner, RuleReference):
            return OPTIONAL_RULE_SHARE.get(inner.rule_name, OPTIONAL_SHARE)
        return OPTIONAL_WORD_SHARE.get(inner.text.strip(), OPTIONAL_SHARE) if isinstance(inner, TextChunk) else OPTIONAL_SHARE

    def fill(self, node: ListReference) -> None:
        name, vocabulary = node.list_name, self.grammar.vocabulary
        if name in ("name", "area", "floor"):
            words, tag = self.draw_name(name)
            slot = Slot(words, words, tag)
        elif isinstance(values := self.grammar.lists[name], WildcardSlotList):
            slot = self.wildcard(name, vocabulary)
        elif isinstance(values, RangeSlotList):
            slot = self.number(name, values)
        elif isinstance(values, TextSlotList):
            # "1/2" is "half" for the recognizer.
            value = values.values[0] if name == "timer_half" else self.rng.choice(values.values)
            start, choices = len(self.pieces), len(self.choices)
            self.walk(value.text_in, None)
            words = "".join(self.pieces[start:]).strip()
            del self.pieces[start:], self.choices[choices:]
            slot = Slot(str(value.value_out).lower(), words, f"{name} {value.value_out}")
        else:
            raise ValueError(f"{self.template.text}: unknown kind of list {name}")
        self.slots[node.slot_name] = slot
        self.pieces.append(slot.words)

    def draw_name(self, list_name: str) -> tuple[str, str]:
        vocabulary = self.grammar.vocabulary
        if list_name == "area":
            return draw(vocabulary.areas.side(self.side), self.rng), "area"
        if list_name == "floor":
            return draw(vocabulary.floors.side(self.side), self.rng), "floor"
        kind = self.name_kind()
        self.domain = {"fixture": "light", "opening_sensor": "binary_sensor", "occupancy_sensor": "binary_sensor"}.get(kind, kind)
        return draw(vocabulary.names[kind].side(self.side), self.rng), kind

    def name_kind(self) -> str:
        domains = [domain for domain in self.template.domains if domain != "input_button"]
        if not domains:
            raise ValueError(f"{self.template.key}: a name without a domain")
        domain = self.rng.choice(domains)
        if domain == "light" and "{name} <light>" in self.template.text:
            return "fixture"
        if domain == "binary_sensor":
            return "opening_sensor" if "{bs_open_states:state}" in self.template.text else "occupancy_sensor"
        return domain

    def wildcard(self, name: str, vocabulary: Vocabulary) -> Slot:
        if name == "timer_command":
            words = delayed_command(vocabulary, self.side, self.rng)
        else:
            words = draw(vocabulary.wildcards[name].side(self.side), self.rng)
        return Slot(words, words, name)

    def number(self, name: str, values: RangeSlotList) -> Slot:
        usual = name if name in ("timer_seconds", "timer_minutes", "timer_hours", "color_temperature") else "percentage"
        if values.type is RangeType.TEMPERATURE:
            usual = "temperature"
        number = draw_number(usual, values.start, values.stop, values.step, values.fraction_type is not None, self.rng)
        words = spoken(number, self.rng)
        before = "".join(self.pieces[-3:]).split()[-1:]
        if number == 1 and name in ("timer_minutes", "timer_hours") and before not in (["a"], ["an"], ["the"], ["my"]):
            # People say "an hour" where the package knows "one hour".
            words = self.rng.choice([words, "an" if name == "timer_hours" else "a"])
        value = number * int(values.multiplier or 1)
        return Slot(str(value), words, "number")


def _first(node: Expression) -> Expression:
    """What an optional part begins with: the rule `the` for `[<the>]`."""
    while isinstance(node, Sequence) and node.items:
        node = node.items[0]
    return node


def delayed_command(vocabulary: Vocabulary, side: Side, rng: random.Random) -> str:
    """What a timer shall do when it ends."""
    area = draw(vocabulary.areas.side(side), rng)
    light = draw(vocabulary.names["light"].side(side), rng)
    other = draw(vocabulary.names[rng.choice(["switch", "fan", "media_player"])].side(side), rng)
    cover = draw(vocabulary.names["cover"].side(side), rng)
    state = rng.choice(["on", "off"])
    return rng.choice(
        [
            f"turn {state} the {area} lights", f"turn the {area} lights {state}", f"turn {state} the {light}",
            f"turn {state} the {other}", f"turn the {other} {state}", f"switch {state} the {other}",
            f"open the {cover}", f"close the {cover}", f"turn {state} the lights in the {area}", "turn off all the lights",
        ]
    )


def _tidy(text: str, rng: random.Random) -> str:
    """Normalises blanks, and makes hours, minutes and floors agree with their numbers; stays in the template."""
    text = " ".join(re.sub(r"[-°%]", " ", text.lower()).split())

    def unit(match: re.Match[str]) -> str:
        if not match[1][0].isdigit() and match[1] not in NUMBER_WORDS:
            return match[0]
        is_one = match[1] in ("1", "one", "a", "an")
        is_singular = is_one or (rng.random() < (0.9 if match[3] else 0.08))
        return f"{match[1]} {match[2]}{'' if is_singular else 's'}{match[3] or ''}"

    text = re.sub(r"\b(the|my|our) (the|my|our)\b", r"\2", text)
    text = re.sub(r"\b(?:the|my|our) (?!kid's)([a-z]+'s) ", r"\1 ", text)
    text = re.sub(r"\ban (?!hour|1[18]\b|8)", "a ", text) if " an " in text else text
    text = re.sub(r"\b(\S+) (hour|minute|second|degree)s?\b( timer)?", unit, text)
    return re.sub(
        r"\b(upstairs|downstairs|basement|attic|mezzanine|loft|cellar|penthouse) floor\b", r"\1", text
    )
