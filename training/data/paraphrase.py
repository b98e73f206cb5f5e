"""Politeness and word order by rule: the same command as different people say it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from .grammar import Draw
from .vocabulary import Side

PLAIN_SHARE = 0.62

# Words around a command that begins with a verb, and around every other sentence.
BEFORE_VERB = (
    "please", "can you", "could you", "would you", "can you please", "could you please", "i'd like you to", "i want you to",
    "hey", "okay", "hearth", "hey can you", "will you", "would you please", "go ahead and", "now", "i need you to",
)
BEFORE_OTHER = ("please", "hey", "hearth", "okay", "excuse me", "hey hearth", "um", "so", "oh")
AFTER_VERB = ("please", "for me", "now", "right now", "for me please", "thanks", "will you", "if you can")
AFTER_OTHER = ("please", "thanks", "hearth")

VERBS = frozenset(
    "turn switch change bring set make open raise lift close shut lower lock unlock start stop pause resume continue "
    "cancel add put remove take delete check complete increase decrease adjust play skip mute unmute unpause activate "
    "deactivate press push run vacuum clean return dock mow announce broadcast illuminate light create replay go".split()
)
# Verbs for each other where something is set to a value, and words for each other in fixed questions.
SETTING = ("set", "change", "make", "adjust", "put", "bring", "move", "turn")
SET_INTENTS = frozenset("HassLightSet HassClimateSetTemperature HassClimateSetFanMode HassFanSetSpeed HassSetPosition HassSetVolume".split())
SETTING_SHARE = 0.25
QUESTION_WORDS = {
    "created": ("built", "invented", "programmed", "designed", "trained"),
    "made": ("built", "invented", "programmed", "designed", "trained"),
    "recording": ("hearing me", "awake", "eavesdropping"),
    "listening": ("hearing me", "awake", "eavesdropping"),
    "say": ("tell you", "request", "do with you"),
    "ask": ("tell you", "request", "do with you"),
    "data": ("voice", "recordings", "words"),
}
QUESTION_SHARE = 0.5
# Slots whose words run to the end of the sentence: whatever follows would belong to them.
OPEN_SLOTS = ("message", "search_query", "conversation_command", "item")


@dataclass(frozen=True)
class Phrase:
    """A sentence with the words that were put around it."""

    text: str
    before: str
    after: str


def paraphrase(draw: Draw, side: Side, rng: random.Random) -> Phrase:
    """Puts polite words around a sentence, or its place in front; in training also other words into it."""
    text = _other_words(draw, rng) if side is Side.TRAIN else draw.text
    first, _, second = text.partition(" ")
    starts_with_verb = first in VERBS and not (first == "light" and second.split(" ")[0] in ("on", "off", "out"))
    before = after = ""
    # A sentence with a free text in front, as "movie night", would take the words for its own.
    if rng.random() >= PLAIN_SHARE and not any(
        (slot := draw.slots.get(name)) and text.startswith(slot.words) for name in OPEN_SLOTS
    ):
        if rng.random() < 0.7:
            before = rng.choice(BEFORE_VERB if starts_with_verb else BEFORE_OTHER)
        if (not before or rng.random() < 0.2) and not _ends_open(draw):
            after = rng.choice(AFTER_VERB if starts_with_verb else AFTER_OTHER)
        if "please" in before and "please" in after:
            after = ""
    elif starts_with_verb and rng.random() < 0.05:
        text = _place_first(text, draw)
    return Phrase(" ".join(f"{before} {text} {after}".split()), before, after)


def _other_words(draw: Draw, rng: random.Random) -> str:
    """The sentence with another verb or noun of the same meaning, in some of the sentences that have one."""
    first, _, rest = draw.text.partition(" ")
    intent = draw.template.intent
    if intent in SET_INTENTS and first in SETTING and " to " in rest and rng.random() < SETTING_SHARE:
        return f"{rng.choice(SETTING)} {rest}"
    if intent == "HassRespond" and rng.random() < QUESTION_SHARE:
        return " ".join(rng.choice(QUESTION_WORDS[word]) if word in QUESTION_WORDS else word for word in draw.text.split())
    return draw.text


def _ends_open(draw: Draw) -> bool:
    return any(slot.words and draw.text.endswith(slot.words) for name, slot in draw.slots.items() if name in OPEN_SLOTS + ("name",))


def _place_first(text: str, draw: Draw) -> str:
    """"In the kitchen turn on the light": the room in front."""
    area = draw.slots.get("area")
    if not area or not area.words:
        return text
    match = re.fullmatch(rf"(.*) (in (?:the |my |our )?{re.escape(area.words)})", text)
    return f"{match[2]} {match[1]}" if match else text
