"""Writes the data: `python -m training.data.build --out DIR --seed 0 --examples N`.

`train.jsonl`, `heldout.jsonl`, `out_of_scope.jsonl` and `report.json`; the same seed writes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from .kinds import Kinds
from .lines import Example
from .mixture import Mixture, Turn, open_mixture
from .renaming import Freedom, Renaming
from .vocabulary import Side

LANGUAGES = {"en": "english"}
HELD_OUT_LINES = 2000
OUT_OF_SCOPE_LINES = 300
# Draws that look for sentences with two meanings before anything is written, per template.
PILOT_DRAWS = 100


def find_ambiguous(mixture: Mixture, kinds: Kinds, seed: int) -> dict[str, set[str]]:
    """Sentence patterns that mean more than one thing, with the meanings; `kinds` learns from the same draws."""
    rng = random.Random(f"{seed} ambiguous")
    meanings: dict[str, set[str]] = defaultdict(set)
    for kind in mixture.weights:
        for side in Side:
            for _ in range(PILOT_DRAWS * max(10, len(mixture.grammar.templates_of(kind)))):
                turn = mixture.turn(kind, side, rng)
                meanings[turn.pattern].add(turn.meaning)
                kinds.learn(turn)
    return {pattern: found for pattern, found in meanings.items() if len(found) > 1}


def stream_train(mixture: Mixture, count: int, seed: int, ambiguous: dict[str, set[str]], seen: "Meanings") -> Iterator[Turn]:
    """Training turns without ambiguous ones, and without any prompt that is held out."""
    held_out = frozenset(seen.by_prompt)
    rng = random.Random(f"{seed} train")
    kinds, weights = list(mixture.weights), list(mixture.weights.values())
    written = 0
    while written < count:
        for kind in rng.choices(kinds, weights, k=1000):
            turn = mixture.turn(kind, Side.TRAIN, rng)
            if turn.pattern in ambiguous or hash(turn.example.prompt) in held_out or not seen.admit(turn):
                continue
            yield turn
            written += 1
            if written == count:
                return


class Meanings:
    """What every written prompt and pattern meant, to find the same one with another answer."""

    def __init__(self) -> None:
        self.by_prompt: dict[int, int] = {}
        self.by_pattern: dict[str, str] = {}
        self.clashes: set[str] = set()

    def admit(self, turn: Turn) -> bool:
        """Whether the prompt is new or means what it meant before."""
        example = turn.example
        meaning = hash((example.intent, *sorted(example.slots.items())))
        known = self.by_prompt.setdefault(hash(example.prompt), meaning)
        is_clear = known == meaning and self.by_pattern.setdefault(turn.pattern, turn.meaning) == turn.meaning
        if not is_clear:
            self.clashes.add(example.prompt)
        return is_clear


@dataclass
class Untold:
    """Held-out sentences that are left out, since neither they nor their names tell what is meant."""

    prompts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, example: Example) -> None:
        """Counts one, by its intent."""
        self.prompts[example.intent][example.prompt] += 1


def held_out_lines(
    mixture: Mixture, intents: list[str], count: int, seed: int, ambiguous: dict[str, set[str]], kinds: Kinds, seen: Meanings, untold: Untold,
) -> list[Example]:
    """Held-out examples, as many of each intent as it has, each prompt once."""
    lines: list[Example] = []
    for place, kind in enumerate(intents):
        rng = random.Random(f"{seed} held out {kind}")
        share = (count - len(lines)) // (len(intents) - place)
        found: dict[str, Example] = {}
        # A kind with few sentences is exhausted long before.
        for _ in range(share * 20):
            if len(found) == share:
                break
            turn = mixture.turn(kind, Side.HELD_OUT, rng)
            if not (kinds.is_told(turn) or kinds.tells(turn)):
                untold.add(turn.example)
            elif turn.pattern not in ambiguous and seen.admit(turn):
                found.setdefault(turn.example.prompt, turn.example)
        lines += found.values()
    return lines


def build(out: Path, seed: int, count: int, language: str = "en") -> dict[str, object]:
    """Writes all files and returns the report."""
    started = time.monotonic()
    mixture = open_mixture(Path(__file__).parent / LANGUAGES[language], language, seed)
    kinds = Kinds(mixture.vocabulary)
    ambiguous = find_ambiguous(mixture, kinds, seed)
    seen, untold = Meanings(), Untold()
    out.mkdir(parents=True, exist_ok=True)
    commands = [kind for kind in mixture.weights if kind != "Unsupported"]
    held_out = held_out_lines(mixture, sorted(commands, key=lambda kind: len(mixture.grammar.templates_of(kind))), HELD_OUT_LINES, seed, ambiguous, kinds, seen, untold)
    out_of_scope = held_out_lines(mixture, ["Unsupported"], OUT_OF_SCOPE_LINES, seed, ambiguous, kinds, seen, untold)
    random.Random(f"{seed} order").shuffle(held_out)
    _write(out / "heldout.jsonl", (example.task(example.intent) for example in held_out))
    _write(out / "out_of_scope.jsonl", (example.task("out-of-scope") for example in out_of_scope))
    counts: Counter[str] = Counter()
    words = Counter[str]()
    held_out_prompts = frozenset(example.prompt for example in held_out + out_of_scope)
    renaming, names = Renaming(mixture.vocabulary, language), random.Random(f"{seed} names")

    def train() -> Iterator[dict[str, object]]:
        for turn in stream_train(mixture, count, seed, ambiguous, seen):
            listed = turn.example
            renamed = renaming.rename(listed, names, Freedom.ANY if kinds.is_told(turn) else Freedom.SAME_HEAD)
            example = listed if renamed.prompt in held_out_prompts else renamed
            counts[example.intent] += 1
            words["prompt"] += len(example.prompt.split())
            words["answer"] += len(example.answer.replace("@", " @").split())
            yield example.record()

    _write(out / "train.jsonl", train())
    report = _report(mixture, counts, held_out, out_of_scope, ambiguous, seen)
    report["untold_patterns"] = kinds.several
    report["untold"] = {intent: {"lines": found.total(), "prompts": sorted(found)[:20]} for intent, found in sorted(untold.prompts.items())}
    report["words_per_example"] = {part: round(number / count, 2) for part, number in words.items()}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{count} examples in {time.monotonic() - started:.0f} s")
    return report


def _report(
    mixture: Mixture, counts: Counter[str], held_out: list[Example], out_of_scope: list[Example],
    ambiguous: dict[str, set[str]], seen: Meanings,
) -> dict[str, object]:
    tested = Counter(example.intent for example in held_out + out_of_scope)
    left_out = {
        kind: "every held-out sentence is ambiguous or also in training"
        for kind in mixture.weights
        if not tested[kind]
    }
    split = mixture.split
    return {
        "train": dict(sorted(counts.items())),
        "held_out": dict(sorted(tested.items())),
        "left_out": left_out,
        "templates": {intent: len(mixture.grammar.templates_of(intent)) for intent in mixture.grammar.intents},
        "held_out_templates": sorted(split.templates),
        "divided_by_alternatives": sorted(split.by_way),
        "held_out_alternatives": len(split.ways),
        "phrases": {
            name: {"train": len(book.train), "held_out": len(book.held_out)}
            for name, book in (("Clarify", mixture.clarify), ("Unsupported", mixture.unsupported), ("Unsupported, of any words", mixture.beyond), ("Chat", mixture.chat), ("Chat corpus", mixture.corpus))
        },
        "held_out_names": sorted(mixture.vocabulary.held_out_values()),
        "ambiguous_count": len(ambiguous) + len(seen.clashes) + len(mixture.ambiguous_requests),
        "ambiguous_requests": list(mixture.ambiguous_requests),
        "ambiguous_patterns": {pattern: sorted(found) for pattern, found in sorted(ambiguous.items())},
        "ambiguous_prompts": sorted(seen.clashes),
    }


def _write(path: Path, records: Iterator[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write hearth's training and held-out data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="start of every random sequence")
    parser.add_argument("--examples", type=int, default=500_000, help="number of training examples")
    parser.add_argument("--language", choices=sorted(LANGUAGES), default="en")
    arguments = parser.parse_args()
    build(arguments.out, arguments.seed, arguments.examples, arguments.language)


if __name__ == "__main__":
    main()
