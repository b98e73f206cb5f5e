"""Accuracy of hearth against bytes, as the Markdown table of docs/quality.md.

    hearth_table.py WHITTLE TASKS.jsonl [MODEL=RECIPE ..]     pairs beside the presets, such as the low-bit variant

Packs assets/hearth by every preset, asks each of them all tasks, and prints bytes, bits per weight and shares with
their 95 % intervals.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PRESETS = ["original", "reference-8bit", "balanced-4bit", "small-3bit", "seed-extreme"]
MODEL = "assets/hearth"
OUT_OF_SCOPE = "out-of-scope"


class Score(NamedTuple):
    """Tasks that held."""

    held: int
    of: int

    def __str__(self) -> str:
        return f"{100 * self.held / self.of:.1f} %"


def result(whittle: str, *arguments: str) -> dict:
    """One command's JSON object."""
    done = subprocess.run([whittle, *arguments, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def scores(whittle: str, file: Path, tasks: str) -> tuple[Score, Score, Score]:
    """Commands with the right intent, with the right slots too, and refusals of what is out of scope."""
    groups = {group["group"]: group for group in result(whittle, "eval", str(file), "--tasks", tasks)["groups"]}
    refused = groups.pop(OUT_OF_SCOPE)["intents"]

    def total(kind: str) -> Score:
        return Score(sum(group[kind]["held"] for group in groups.values()), sum(group[kind]["of"] for group in groups.values()))

    return total("intents"), total("held"), Score(refused["held"], refused["of"])


def main() -> None:
    """Prints a row a file."""
    whittle, tasks, *pairs = sys.argv[1:]
    print("| model | recipe | file, bytes | bits per weight | intent | intent and slots | out of scope refused |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.whittle"
        for model, recipe in [(MODEL, preset) for preset in PRESETS] + [pair.split("=", 1) for pair in pairs]:
            packed = result(whittle, "compress", model, "--recipe", recipe, "--out", str(file))
            shares = " | ".join(str(score) for score in scores(whittle, file, tasks))
            name = f"{Path(model).name} | `{Path(recipe).stem}`"
            print(f"| {name} | {packed['bytes']:,} | {packed['bits_per_weight']:.2f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
