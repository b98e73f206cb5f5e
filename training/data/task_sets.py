"""Writes the task sets that ship: `python -m training.data.task_sets --data DIR --out assets/tasks`.

`home.jsonl` is drawn from the held-out lines; `kitchen.jsonl` and `industrial.jsonl` ask any assistant what a
regular expression can judge.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

from .numbers import words

HOME_COMMANDS = 500
HOME_OUT_OF_SCOPE = 100

KITCHEN = (
    "You are the voice of a kitchen with oven, hob, hood, dishwasher and timers. "
    "Lines before the request tell the state. Answer in one short sentence and repeat the number or state in question."
)
INDUSTRIAL = (
    "You answer questions about sensors of a plant. Lines before the question tell the readings. "
    "Answer in one short sentence with the reading in question."
)
OPPOSITE = {
    "on": "off", "off": "on", "open": "closed", "closed": "open", "running": "stopped", "stopped": "running", "locked": "unlocked",
}
Line = dict[str, object]


def number(value: int) -> str:
    """A pattern of a number in digits or words."""
    spoken = f"|{words(value).replace(' ', '[ -]')}" if value <= 100 else ""
    return rf"\b({value}{spoken})\b"


def kitchen() -> list[Line]:
    """Commands and questions to kitchen appliances."""
    lines: list[Line] = []

    def ask(group: str, prompt: str, pattern: str) -> None:
        lines.append({"prompt": prompt, "system": KITCHEN, "pattern": pattern, "group": group})

    for degrees, mode in [(180, ""), (200, " with fan"), (220, ""), (160, " with fan"), (90, ""), (250, ""), (150, ""), (175, "")]:
        ask("oven", f"preheat the oven to {degrees}{mode}", number(degrees))
        ask("oven", f"set the oven to {degrees} degrees{mode} please", number(degrees))
    for degrees in (45, 80, 120, 190, 210):
        ask("oven", f"oven is {degrees} degrees\nhow hot is the oven", number(degrees))
        ask("oven", f"hob is off\noven is {degrees} degrees\nwhat is the oven temperature", number(degrees))
    for state, answer in [("on", r"\b(yes|on)\b"), ("off", r"\b(no|off)\b")]:
        for device in ("oven", "hob", "hood", "dishwasher", "extractor fan"):
            ask("state", f"{device} is {state}\nis the {device} on", answer)
            ask("state", f"fridge is closed\n{device} is {state}\ndid i leave the {device} on", answer)
    for state, answer in [("open", r"\b(yes|open)\b"), ("closed", r"\b(no|closed|shut)\b")]:
        for device in ("fridge", "freezer", "dishwasher", "oven door"):
            ask("state", f"{device} is {state}\nis the {device} open", answer)
    for minutes, name in [(3, "eggs"), (7, "tea"), (8, "pasta"), (12, "rice"), (20, "potatoes"), (25, "cake"), (45, "roast"), (10, "pizza")]:
        ask("timer", f"set a timer for {minutes} minutes", number(minutes))
        ask("timer", f"set a {minutes} minute timer for the {name}", number(minutes))
        ask("timer", f"{name} timer is {minutes} minutes\nhow long is left on the {name} timer", number(minutes))
    for level, device in [(1, "hood"), (2, "hood"), (3, "hood"), (4, "left hob"), (6, "front hob"), (9, "back hob")]:
        ask("level", f"set the {device} to level {level}", number(level))
        ask("level", f"{device} is level {level}\nwhat level is the {device} on", number(level))
    for percent in (20, 50, 75):
        ask("level", f"set the hood light to {percent} percent", number(percent))
        ask("level", f"salt is {percent} percent\nhow much salt has the dishwasher", number(percent))
    for minutes in (5, 18, 32, 55):
        ask("dishwasher", f"dishwasher is running {minutes} minutes left\nwhen is the dishwasher done", number(minutes))
    for program in ("eco", "quick", "intensive", "rinse", "glass"):
        ask("dishwasher", f"start the dishwasher with the {program} program", rf"\b{program}\b")
    for command, pattern in [
        ("turn off the oven", r"\boff\b"), ("turn off the hob", r"\boff\b"), ("turn the hood off please", r"\boff\b"),
        ("turn on the hood", r"\bon\b"), ("turn on the oven light", r"\bon\b"), ("stop the dishwasher", r"\b(stop|off|cancel)"),
        ("pause the dishwasher", r"\bpaus"), ("cancel the timer", r"\b(cancel|stop|no timer|off)"), ("pause the timer", r"\b(paus|wait)"),
        ("resume the timer", r"\b(resum|run|continu)"),
    ]:
        ask("switch", command, pattern)
    return lines


def industrial() -> list[Line]:
    """Questions about readings that stand in the prompt."""
    lines: list[Line] = []

    def ask(group: str, prompt: str, pattern: str) -> None:
        lines.append({"prompt": prompt, "system": INDUSTRIAL, "pattern": pattern, "group": group})

    readings = [
        ("boiler temperature", 86, "degrees", "pump", "on"), ("tank level", 42, "percent", "inlet valve", "open"),
        ("line pressure", 6, "bar", "compressor", "off"), ("motor speed", 1450, "rpm", "conveyor", "running"),
        ("bearing temperature", 71, "degrees", "fan", "off"), ("flow rate", 35, "liters per minute", "outlet valve", "closed"),
        ("vibration", 4, "millimeters per second", "guard door", "locked"), ("oil temperature", 58, "degrees", "heater", "on"),
        ("humidity", 63, "percent", "dryer", "stopped"), ("supply voltage", 398, "volts", "breaker", "closed"),
        ("motor current", 17, "amperes", "brake", "open"), ("silo level", 91, "percent", "mixer", "running"),
    ]
    for place, (sensor, value, unit, device, state) in enumerate(readings):
        other, other_value, other_unit, other_device, other_state = readings[(place + 5) % len(readings)]
        ask("reading", f"{sensor} is {value} {unit}\nwhat is the {sensor}", number(value))
        ask("reading", f"{other} is {other_value} {other_unit}\n{sensor} is {value} {unit}\ntell me the {sensor}", number(value))
        ask("reading", f"{sensor} is {value} {unit}\n{device} is {state}\nhow high is the {sensor} now", number(value))
        ask("reading", f"{device} is {state}\n{sensor} is {value + 1} {unit}\n{other} is {other_value} {other_unit}\nwhat is the value of {sensor}", number(value + 1))
        ask("state", f"{device} is {state}\nwhat is the state of the {device}", rf"\b{state}\b")
        ask("state", f"{sensor} is {value} {unit}\n{device} is {state}\nhow is the {device}", rf"\b{state}\b")
        ask("yes or no", f"{device} is {state}\nis the {device} {state}", rf"\b(yes|{state})\b")
        ask("yes or no", f"{device} is {state}\n{other_device} is {other_state}\nis the {device} {OPPOSITE[state]}", rf"\b(no|{state})\b")
    for alarms in (["over temperature"], ["low oil"], ["door open"], ["filter clogged"], ["phase loss"], ["leak"]):
        ask("alarm", f"alarm is {alarms[0]}\nwhat is the alarm", rf"\b{alarms[0]}\b")
    ask("alarm", "alarm is none\nis there an alarm", r"\b(no|none)\b")
    for limit, value, answer in [(80, 91, r"\b(yes|above|over|91)\b"), (80, 62, r"\b(no|below|under|62)\b"), (6, 8, r"\b(yes|above|over|8)\b"), (50, 20, r"\b(no|below|under|20)\b")]:
        ask("limit", f"limit is {limit}\nreading is {value}\nis the reading above the limit", answer)
    for first, second in [("pump one", "pump two"), ("fan one", "fan two"), ("mixer one", "mixer two")]:
        ask("which", f"{first} is on\n{second} is off\nwhich one is on", rf"\b{first}\b")
        ask("which", f"{first} is off\n{second} is on\nwhich one is off", rf"\b{first}\b")
    for count, total in [(3, "parts"), (48, "boxes"), (12, "pallets"), (70, "bottles")]:
        ask("count", f"{total} is {count}\nhow many {total} were made", number(count))
    return lines


def home(data: Path) -> list[Line]:
    """Held-out commands, evenly over the intents, and requests to refuse."""
    by_group: dict[str, list[Line]] = defaultdict(list)
    for text in (data / "heldout.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        by_group[line["group"]].append(line)
    chosen: list[Line] = []
    for place, group in enumerate(sorted(by_group, key=lambda name: len(by_group[name]))):
        chosen += by_group[group][: (HOME_COMMANDS - len(chosen)) // (len(by_group) - place)]
    refused = (data / "out_of_scope.jsonl").read_text(encoding="utf-8").splitlines()[:HOME_OUT_OF_SCOPE]
    chosen += [json.loads(line) for line in refused]
    random.Random("home").shuffle(chosen)
    return chosen


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the task sets that ship")
    parser.add_argument("--data", type=Path, required=True, help="folder that training.data.build wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, lines in (("home", home(arguments.data)), ("kitchen", kitchen()), ("industrial", industrial())):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (arguments.out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(lines)} lines")


if __name__ == "__main__":
    main()
