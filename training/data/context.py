"""What stands in the prompt before a command: the room of the microphone, and the states a question asks for.

`situate` invents a home around a drawn sentence; the `Facts` are what the reply may say of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, time
from types import SimpleNamespace
from typing import Any

from .grammar import Draw
from .vocabulary import Side, Vocabulary, draw as draw_value

# How often the host tells the state that a question asks for; otherwise the reply says that it is looked up.
KNOWN_SHARE = 0.5
# How often a room stands in a prompt that does not need it, so that a room named in the command comes first.
SPARE_ROOM_SHARE = 0.06

WEATHER = ("sunny", "cloudy", "rainy", "snowy", "windy", "fog", "pouring", "partlycloudy", "clear", "hail", "lightning")
MONTHS = "january february march april may june july august september october november december".split()
COVER_WORDS = ("left", "right", "front", "back", "big", "small", "north", "south", "middle")
STATES = {
    "light": ("on", "off"), "switch": ("on", "off"), "fan": ("on", "off"), "input_boolean": ("on", "off"),
    "cover": ("open", "closed", "opening", "closing"), "valve": ("open", "closed"), "lock": ("locked", "unlocked"),
    "media_player": ("playing", "paused", "idle", "off"), "climate": ("heating", "cooling", "off", "idle"),
    "person": ("home", "work", "school", "gym"), "binary_sensor": ("open", "closed"),
}


@dataclass
class Facts:
    """What the prompt tells, as the response templates ask for it."""

    lines: list[str] = field(default_factory=list)
    known: bool = False
    slots: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    query: Any = None


def situate(draw: Draw, vocabulary: Vocabulary, side: Side, rng: random.Random) -> Facts:
    """The context lines of a sentence and what follows from them."""
    facts = Facts(state=SimpleNamespace(domain=draw.domain or "switch", entity_id="", state="", state_with_unit=""))
    known = rng.random() < KNOWN_SHARE
    match draw.template.intent:
        case "HassGetState":
            if known:
                _states(draw, vocabulary, side, facts, rng)
        case "HassGetCurrentTime":
            if known:
                now = time(rng.randrange(24), rng.randrange(60))
                facts.lines, facts.known = [f"time {now.hour} {now.minute:02}"], True
                facts.slots["time"] = now
        case "HassGetCurrentDate":
            if known:
                today = date.fromordinal(date(2024, 1, 1).toordinal() + rng.randrange(2500))
                facts.lines, facts.known = [f"date {MONTHS[today.month - 1]} {today.day} {today.year}"], True
                facts.slots["date"] = today
        case "HassGetWeather":
            if known:
                weather, degrees = rng.choice(WEATHER), rng.randrange(-5, 36)
                degrees = f"minus {-degrees}" if degrees < 0 else str(degrees)
                facts.lines, facts.known = [f"weather {weather} {degrees}"], True
                facts.state.state = weather
                facts.state.attributes = {"temperature": degrees, "temperature_unit": "degrees"}
        case "HassClimateGetTemperature":
            if known:
                degrees = rng.choice([f"{rng.randrange(14, 30)}", f"{rng.randrange(14, 30)}.5"])
                place = draw.slots.get("name") or draw.slots.get("area")
                facts.lines, facts.known = [f"{place.value if place else 'temperature'} is {degrees} degrees"], True
                facts.state.state = degrees
        case "HassTimerStatus":
            if known:
                _timers(draw, facts, rng)
        case _:
            pass
    rng.shuffle(facts.lines)
    if draw.here:
        facts.lines.insert(0, f"here {draw.here}")
    elif rng.random() < SPARE_ROOM_SHARE:
        facts.lines.insert(0, f"here {draw_value(vocabulary.areas.side(side), rng)}")
    return facts


def _states(draw: Draw, vocabulary: Vocabulary, side: Side, facts: Facts, rng: random.Random) -> None:
    slots, response = draw.slots, draw.template.response
    domain = draw.domain or "switch"
    wanted = _state_words(draw)
    choices = _choices(domain, draw, wanted)
    if response in ("one", "one_yesno", "where"):
        names = [slots["name"].value]
        # Other devices of the home, which the answer must not take for the asked one.
        others = [draw_value(vocabulary.names[rng.choice(["light", "switch", "lock"])].side(side), rng) for _ in range(_few(rng))]
    else:
        names, others = [_entity(domain, draw, vocabulary, side, rng) for _ in range(rng.choice([1, 1, 2, 2, 3]))], []
    states = {name: _one_state(wanted, choices, domain, rng) for name in names}
    matched = [SimpleNamespace(name=name) for name, state in states.items() if state == wanted or response == "where"]
    unmatched = [SimpleNamespace(name=name) for name, state in states.items() if state != wanted]
    facts.query = SimpleNamespace(matched=matched, unmatched=unmatched)
    facts.state.state = facts.state.state_with_unit = states[names[0]]
    facts.slots["state"] = wanted
    facts.lines = [f"{name} is {'at ' if domain == 'person' else ''}{state}" for name, state in states.items()]
    facts.lines += [f"{name} is {rng.choice(('on', 'off'))}" for name in others if name not in states]
    facts.known = True


def _few(rng: random.Random) -> int:
    return rng.choices([0, 1, 2, 3, 4], [10, 5, 3, 1, 1])[0]


def _state_words(draw: Draw) -> str:
    """The asked state as the prompt says it, for a door sensor "open" where Home Assistant says "on"."""
    slot = draw.slots.get("state")
    if slot is None:
        return ""
    if draw.domain == "binary_sensor":
        pair = ("open", "closed") if "{bs_open_states:state}" in draw.template.text else ("detected", "clear")
        return pair[0] if slot.value == "on" else pair[1]
    return slot.value


def _choices(domain: str, draw: Draw, wanted: str) -> tuple[str, ...]:
    if domain == "sensor":
        return ()
    if domain == "binary_sensor" and wanted in ("detected", "clear"):
        return ("detected", "clear")
    return STATES[domain]


def _one_state(wanted: str, choices: tuple[str, ...], domain: str, rng: random.Random) -> str:
    if domain == "sensor" or (domain == "climate" and rng.random() < 0.5):
        unit = rng.choice(["percent", "degrees", "degrees", "watts", ""]) if domain == "sensor" else "degrees"
        return f"{rng.randrange(1, 100)} {unit}".strip()
    if wanted and rng.random() < 0.5:
        return wanted
    return rng.choice(choices)


def _entity(domain: str, draw: Draw, vocabulary: Vocabulary, side: Side, rng: random.Random) -> str:
    if domain == "cover" and (kind := draw.slots.get("device_class")):
        return f"{rng.choice(COVER_WORDS)} {kind.value}"
    return draw_value(vocabulary.names[domain].side(side), rng)


def _timers(draw: Draw, facts: Facts, rng: random.Random) -> None:
    """One running timer."""
    name = draw.slots.get("name") or draw.slots.get("area")
    label = f"{name.value} timer" if name else "timer"
    units = rng.choice([("minute",), ("second",), ("minute", "second"), ("hour",), ("hour", "minute")])
    left = {unit: rng.randrange(1, 5 if unit == "hour" else 60) if unit in units else 0 for unit in ("hour", "minute", "second")}
    timer = SimpleNamespace(
        is_active=True, rounded_hours_left=left["hour"], rounded_minutes_left=left["minute"], rounded_seconds_left=left["second"]
    )
    parts = [f"{count} {unit}{'' if count == 1 else 's'}" for unit, count in left.items() if count]
    facts.lines, facts.known = [f"{label} is {' '.join(parts)}"], True
    facts.slots["timers"] = [timer]
