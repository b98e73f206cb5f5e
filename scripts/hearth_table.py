"""hearth against bytes: the Markdown table of docs/quality.md.

    hearth_table.py WHITTLE TASKS.jsonl [MODEL=RECIPE ..]     pairs beside the presets, such as the low-bit variant

Packs assets/hearth by every preset, as `whittle compress` does it, asks each of them all tasks, measures KL from hearth
in 16 bits on a text, in windows of hearth's context, and prints a row a file.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PRESETS = ["original", "reference-8bit", "balanced-4bit", "small-3bit", "seed-extreme"]
MODEL = "assets/hearth"
TEXT = "assets/texts/evaluation.txt"
TOKENS = "4096"
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


def quality(whittle: str, file: Path) -> str:
    """KL with its standard error, and agreement on the top token, over windows of hearth's context."""
    found = result(whittle, "eval", str(file), "--reference", MODEL, "--text", TEXT, "--tokens", TOKENS)
    kl, error, same = found["kl_mean"], found["kl_mean_standard_error"], found["same_top"]
    return f"{kl:.3f} ± {error:.3f} | {100 * same:.1f} %"


def main() -> None:
    """Prints a row a file."""
    whittle, tasks, *pairs = sys.argv[1:]
    columns = ["model", "recipe", "file, bytes", "bits per weight", "KL", "same top token", "intent", "intent and slots", "refused"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.whittle"
        for model, recipe in [(MODEL, preset) for preset in PRESETS] + [pair.split("=", 1) for pair in pairs]:
            packed = result(whittle, "compress", model, "--recipe", recipe, "--out", str(file))
            shares = " | ".join(str(score) for score in scores(whittle, file, tasks))
            name = f"{Path(model).name} | `{Path(recipe).stem}`"
            sizes = f"{packed['bytes']:,} | {packed['bits_per_weight']:.2f}"
            print(f"| {name} | {sizes} | {quality(whittle, file)} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
