"""The text of one turn: normalised commands, intent lines, and the records that are written.

An intent line is `HassTurnOn@area kitchen@domain light`: the intent's name, then its slots in alphabetical order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INTENT_LINE = re.compile(r"^[A-Z][A-Za-z]+(@[a-z_]+ [^@\n]+)*$")


@dataclass
class Example:
    """One turn. `prompt` is the whole user text; `reply` is what is spoken."""

    prompt: str
    intent: str
    slots: dict[str, str]
    reply: str

    @property
    def answer(self) -> str:
        """What the model shall write."""
        return f"{intent_line(self.intent, self.slots)}\n{self.reply}"

    def record(self) -> dict[str, object]:
        """A line of the training file."""
        return {"prompt": self.prompt, "answer": self.answer, "intent": self.intent, "slots": self.slots}

    def task(self, group: str) -> dict[str, object]:
        """A task line, as `whittle eval --tasks` reads it."""
        return {"prompt": self.prompt, "intent": self.intent, "slots": self.slots, "group": group}


def intent_line(intent: str, slots: dict[str, str]) -> str:
    """The line of an intent; raises ValueError if a value would break the grammar."""
    line = intent + "".join(f"@{name} {slots[name]}" for name in sorted(slots))
    if not INTENT_LINE.fullmatch(line):
        raise ValueError(f"not an intent line: {line!r}")
    return line


def normalise(text: str) -> str:
    """A sentence as the recognizer's text reaches the model: lower case, no punctuation but apostrophes
    inside words and points inside numbers."""
    text = text.lower().replace("\u2019", "'")
    text = re.sub(r"(?<=\d)[.,](?=\d)", "\0", text)
    text = re.sub(r"(?<![a-z])'|'(?![a-z])", " ", text)
    text = re.sub(r"[^a-z0-9'\0]+", " ", text).replace("\0", ".")
    return " ".join(text.split())


def sentence(text: str) -> str:
    """A reply as it is spoken: blanks normalised, a capital in front, a stop at the end."""
    text = " ".join(text.split()).replace(" ,", ",").replace(" .", ".")
    text = re.sub(r"\b[Tt]he (?=[a-z]+'s )", "", text)
    if not text:
        return text
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."
