"""The text of one turn, and the lines of training and task files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_TEXT = "You are hearth, the voice of this home."
END, SYSTEM, USER, HEARTH = "<|end|>", "<|system|>", "<|user|>", "<|hearth|>"
SPECIAL_TOKENS = [END, SYSTEM, USER, HEARTH]
"""Token i is the i-th of these."""
PREFIX = f"{SYSTEM}{SYSTEM_TEXT}"
"""What every conversation without a system text of its own begins with."""

INTENT_LINE = re.compile(r"[A-Z][A-Za-z]+(@[a-z_]+ [^@\n]+)*")


@dataclass(frozen=True)
class Line:
    """A line of a training file (with an answer) or of a task file."""

    prompt: str
    answer: str | None = None
    intent: str | None = None
    slots: dict[str, str] = field(default_factory=dict)
    system: str | None = None
    pattern: str | None = None
    group: str | None = None

    @property
    def figures_group(self) -> str:
        """The group that its figures are counted under."""
        return self.group or self.intent or "other"


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a JSONL file; fields that training does not need are passed over."""
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                record = json.loads(text)
                slots = {key: str(value) for key, value in record.get("slots", {}).items()}
                named = ("answer", "intent", "system", "pattern", "group")
                yield Line(record["prompt"], slots=slots, **{key: record.get(key) for key in named})
            except (ValueError, KeyError, AttributeError) as error:
                raise ValueError(f"{path}:{number}: expected a line with a prompt, found {error!r}") from error


def intent_line(intent: str, slots: dict[str, str]) -> str:
    """`HassTurnOn@area kitchen@domain light`."""
    return intent + "".join(f"@{key} {slots[key]}" for key in sorted(slots))


def parse_intent_line(answer: str) -> tuple[str, dict[str, str]] | None:
    """Intent and slots of an answer's first line; none when it is no intent line."""
    first = answer.split("\n", 1)[0]
    if not INTENT_LINE.fullmatch(first):
        return None
    intent, *pairs = first.split("@")
    return intent, dict(pair.split(" ", 1) for pair in pairs)


def turn_text(prompt: str) -> str:
    """From the user's turn to where the answer starts."""
    return f"{USER}{prompt}{HEARTH}"
