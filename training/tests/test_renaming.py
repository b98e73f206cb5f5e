"""Names that no list has."""

from __future__ import annotations

import random
from pathlib import Path

from training.data.lines import Example
from training.data.renaming import Freedom, Renaming, command_words
from training.data.vocabulary import read_vocabulary

VOCABULARY = read_vocabulary(Path(__file__).parents[1] / "data" / "english" / "vocabulary.toml", 0)
HELD_OUT = VOCABULARY.held_out_values()
ANY = Freedom.ANY


def test_other_names_stand_in_prompt_intent_line_and_reply_alike() -> None:
    renaming, rng = Renaming(VOCABULARY, "en"), random.Random(0)
    example = Example("here kitchen\nturn on the piano lamp", "HassTurnOn", {"area": "kitchen", "name": "piano lamp"}, "Piano lamp is on.")
    seen = set()
    for _ in range(200):
        renamed = renaming.rename(example, rng, ANY)
        area, name = renamed.slots["area"], renamed.slots["name"]
        assert renamed.prompt == f"here {area}\nturn on the {name}"
        assert renamed.reply == f"{name[0].upper()}{name[1:]} is on."
        assert not {area, name} & HELD_OUT
        seen.add(name)
    assert len(seen) > 100 and "piano lamp" in seen


def test_a_name_inside_another_stays_and_slots_of_lists_do() -> None:
    renaming, rng = Renaming(VOCABULARY, "en"), random.Random(1)
    example = Example("open the bedroom blind", "HassTurnOn", {"device_class": "blind", "name": "bedroom blind"}, "Opening.")
    for _ in range(50):
        renamed = renaming.rename(example, rng, ANY)
        assert renamed.slots["device_class"] == "blind"
        assert renamed.prompt == f"open the {renamed.slots['name']}"


def test_a_name_that_must_tell_its_kind_keeps_its_last_word() -> None:
    renaming, rng = Renaming(VOCABULARY, "en"), random.Random(2)
    example = Example("pause the music room", "HassMediaPause", {"area": "music room"}, "Paused.")
    rooms = {renaming.rename(example, rng, Freedom.SAME_HEAD).slots["area"] for _ in range(100)}
    assert len(rooms) > 20 and all(room.endswith(" room") for room in rooms)
    patio = Example("pause the patio", "HassMediaPause", {"area": "patio"}, "Paused.")
    assert all(renaming.rename(patio, rng, Freedom.SAME_HEAD).slots["area"] == "patio" for _ in range(50))


def test_free_text_becomes_whole_clauses_too() -> None:
    renaming, rng = Renaming(VOCABULARY, "en"), random.Random(3)
    item = VOCABULARY.wildcards["shopping_list_item"].train[0]
    example = Example(f"add {item} to list", "HassShoppingListAddItem", {"item": item}, f"Added {item}.")
    items = {renaming.rename(example, rng, ANY).slots["item"] for _ in range(300)}
    assert any(len(item.split()) > 3 for item in items) and not items & HELD_OUT
    assert not any(" to " in f" {item} " for item in items)


def test_no_name_is_a_word_of_commands_or_ends_as_one_of_another_kind() -> None:
    renaming = Renaming(VOCABULARY, "en")
    words = set(renaming.words)
    assert len(words) > 3000 and not words & command_words("en")
    assert not set(renaming.ends) & (HELD_OUT | {"bedroom", "kitchen", "lamp"})
    # A model that never reads a word cannot repeat it.
    assert "coffee" in words or "coffee" not in HELD_OUT
