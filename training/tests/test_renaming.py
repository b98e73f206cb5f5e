"""Names that no list has."""

from __future__ import annotations

import random

from training.data.lines import Example
from training.data.renaming import Renaming, command_words

HELD_OUT = frozenset({"carport", "left lamp"})


def test_other_names_stand_in_prompt_intent_line_and_reply_alike() -> None:
    renaming, rng = Renaming(HELD_OUT, "en"), random.Random(0)
    example = Example("here kitchen\nturn on the piano lamp", "HassTurnOn", {"area": "kitchen", "name": "piano lamp"}, "Piano lamp is on.")
    seen = set()
    for _ in range(200):
        renamed = renaming.rename(example, rng)
        area, name = renamed.slots["area"], renamed.slots["name"]
        assert renamed.prompt == f"here {area}\nturn on the {name}"
        assert renamed.reply == f"{name[0].upper()}{name[1:]} is on."
        assert not {area, name} & HELD_OUT
        seen.add(name)
    assert len(seen) > 100 and "piano lamp" in seen


def test_a_name_inside_another_stays_and_slots_of_lists_do() -> None:
    renaming, rng = Renaming(HELD_OUT, "en"), random.Random(1)
    example = Example("open the bedroom blind", "HassTurnOn", {"device_class": "blind", "name": "bedroom blind"}, "Opening.")
    for _ in range(50):
        renamed = renaming.rename(example, rng)
        assert renamed.slots["device_class"] == "blind"
        assert renamed.prompt == f"open the {renamed.slots['name']}"


def test_no_name_is_a_word_of_commands_or_held_out() -> None:
    words = set(Renaming(HELD_OUT, "en").words)
    assert len(words) > 3000
    assert not words & command_words("en")
    assert "carport" not in words
