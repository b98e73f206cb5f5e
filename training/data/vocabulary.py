"""What slots are filled with: areas, floors, device names by kind, free text; each value is for training or held out.

`Vocabulary` is read from one TOML file per language, so that a further language is a further folder.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HELD_OUT_SHARE = 0.3


class Side(Enum):
    """The two sides of the data; nothing that is held out stands in training."""

    TRAIN = "train"
    HELD_OUT = "held out"


@dataclass(frozen=True)
class ValueList:
    """Values of one list, each on one side."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    def side(self, side: Side) -> tuple[str, ...]:
        """The values of a side; a list too short to be divided lends its own to both."""
        return self.train if side is Side.TRAIN or not self.held_out else self.held_out


@dataclass(frozen=True)
class Vocabulary:
    """Values of every list, by list name; device names by kind."""

    areas: ValueList
    floors: ValueList
    floors_with_word: frozenset[str]
    names: dict[str, ValueList]
    wildcards: dict[str, ValueList]

    def held_out_values(self) -> frozenset[str]:
        """All names and areas that training must not contain as a slot value."""
        lists = [self.areas, *self.names.values(), *self.wildcards.values()]
        return frozenset(value for values in lists for value in values.held_out)


def read_vocabulary(path: Path, seed: int) -> Vocabulary:
    """Reads a vocabulary and divides it. The same word is on the same side in every list."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    pinned = frozenset(raw["always_train"])
    people = raw["people"]
    names: dict[str, list[str]] = {kind: list(values) for kind, values in raw["names"].items()}
    names["person"] = list(people)
    for kind, things in raw["owned"].items():
        names[kind] += [f"{owner}'s {thing}" for owner in people for thing in things]
    areas = raw["areas"] + [f"{owner}'s {room}" for owner in people for room in raw["area_owners"]]

    sides: dict[str, Side] = {}
    # Base words first: whether "anna's lamp" is held out follows from its own draw, the list's from its length.
    for values in [raw["areas"], areas, *raw["names"].values(), *names.values(), *raw["wildcards"].values()]:
        fresh = [value for value in dict.fromkeys(values) if value not in sides]
        random.Random(f"{seed} {fresh}").shuffle(fresh)
        divisible = [value for value in fresh if value not in pinned]
        held_out = frozenset(divisible[: round(len(fresh) * HELD_OUT_SHARE)])
        sides |= {value: Side.HELD_OUT if value in held_out else Side.TRAIN for value in fresh}
    for zone in raw["wildcards"]["zone"]:
        # Zones are not names: a home has a handful, and the list stands in the prompt of no sentence.
        sides[zone] = Side.TRAIN

    def divide(values: list[str]) -> ValueList:
        unique = list(dict.fromkeys(values))
        return ValueList(
            tuple(value for value in unique if sides[value] is Side.TRAIN),
            tuple(value for value in unique if sides[value] is Side.HELD_OUT),
        )

    floors = tuple(raw["floors_with_word"] + raw["floors_alone"])
    return Vocabulary(
        areas=divide(areas),
        floors=ValueList(floors, ()),
        floors_with_word=frozenset(raw["floors_with_word"]),
        names={kind: divide(values) for kind, values in names.items()},
        wildcards={name: divide(values) for name, values in raw["wildcards"].items()},
    )


# Half of the draws of a long list come from its own words, half from what belongs to somebody, else the
# few dozen people times their things would crowd out the words that a home really uses.
OWNED_SHARE = 0.25


def draw(values: tuple[str, ...], rng: random.Random) -> str:
    """One value; possessive ones no oftener than `OWNED_SHARE`."""
    want_owned = rng.random() < OWNED_SHARE
    for _ in range(6):
        value = values[int(rng.random() * len(values))]
        if ("'s " in value) == want_owned:
            return value
    return value
