"""What is spoken after the intent line, rendered from the package's response templates and further wordings."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, UndefinedError

from .context import Facts
from .grammar import Draw, Grammar
from .lines import sentence

MAX_WORDS = 14
# Responses of the package that need what neither the command nor the prompt tells: how many timers there were; and
# those that speak for Home Assistant's server, which this assistant is not.
UNUSABLE = frozenset(
    {"HassCancelAllTimers.default", "HassCancelAllTimers.area", "HassRespond.hello", "HassRespond.data", "HassRespond.commands", "HassRespond.creator"}
)


class Replies:
    """All wordings of a language, compiled."""

    def __init__(self, grammar: Grammar, path: Path) -> None:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        self.unknown: dict[str, list[str]] = raw.pop("unknown")
        environment = Environment(undefined=StrictUndefined)
        self.wordings: dict[str, list[Template]] = {}
        for intent, responses in grammar.responses.items():
            for name, text in responses.items():
                key = f"{intent}.{name}"
                texts = ([] if key in UNUSABLE or not text.strip() else [text]) + raw.pop(key, [])
                self.wordings[key] = [environment.from_string(text) for text in texts]
        if raw:
            raise ValueError(f"wordings for responses that the package does not know: {sorted(raw)}")
        missing = {f"{template.intent}.{template.response}" for template in grammar.templates}
        missing = {key for key in missing if not self.wordings.get(key)}
        if missing:
            raise ValueError(f"no wording for {sorted(missing)}")

    def reply(self, draw: Draw, facts: Facts, rng: random.Random) -> str:
        """One short sentence."""
        intent = draw.template.intent
        if intent in self.unknown and not facts.known:
            return sentence(rng.choice(self.unknown[intent]))
        wordings = self.wordings[f"{intent}.{draw.template.response}"]
        scope: dict[str, Any] = {
            "slots": {name: slot.value for name, slot in draw.slots.items()} | facts.slots | {"media": True},
            "state": facts.state,
            "query": facts.query,
            "state_attr": lambda entity, name: None,
        }
        for index in rng.sample(range(len(wordings)), len(wordings)):
            try:
                text = sentence(wordings[index].render(scope))
            except UndefinedError:
                # A wording for a sentence that names the device, on one that does not.
                continue
            if text and len(text.split()) <= MAX_WORDS:
                return text
        return "Okay."
