"""Counts what the project's recognizer makes of the project's voice, once, for `training/data/confusions.tsv`.

    cargo build --release --example hear_back
    python -m training.confusions --program target/release/examples/hear_back \\
        --voice MODELS/hibari --recognizer MODELS/whisper-tiny.en --seconds 300 --seed 0

Sentences are of the training side only, so that no held-out word comes in through this file. New counts are
added to those that stand there.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import time
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Iterator

from .data.lines import normalise
from .data.mixture import Mixture, open_mixture
from .data.numbers import words
from .data.vocabulary import Side

DATA = Path(__file__).parent / "data"
FILE = DATA / "confusions.tsv"
# A longer difference is a sentence that was not understood, which teaches nothing.
MOST_WORDS = 3
NUMBERS = {words(number): str(number) for number in range(101)}


def differences(heard: str, said: str) -> Iterator[tuple[str, str]]:
    """Pairs of heard and said words in which two normalised sentences differ."""
    left, right = heard.split(), said.split()
    for kind, start, end, said_start, said_end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind == "delete":
            # Words that nobody said: they come with the word after them, or before.
            if said_start < len(right):
                end, said_end = end + 1, said_start + 1
            else:
                start, said_start = start - 1, said_start - 1
        pair = " ".join(left[max(start, 0) : end]), " ".join(right[max(said_start, 0) : said_end])
        if pair[0] == pair[1] or not pair[1] or max(len(part.split()) for part in pair) > MOST_WORDS:
            continue
        if NUMBERS.get(pair[1]) == pair[0]:
            # Digits for a number's words are no mistake.
            continue
        yield pair


def sentences(mixture: Mixture, seed: int) -> Iterator[str]:
    """Commands of the training side, as they are said, without end."""
    rng = random.Random(f"{seed} confusions")
    mixture.confusions.heard.clear()
    kinds, weights = list(mixture.weights), list(mixture.weights.values())
    while True:
        kind = rng.choices(kinds, weights)[0]
        if kind != "Chat":
            yield mixture.turn(kind, Side.TRAIN, rng).example.prompt.split("\n")[-1]


def listen(program: list[str], said: Iterator[str], seconds: float) -> tuple[Counter[tuple[str, str]], int, int]:
    """Speaks and recognises for so long. Returns the differences, and how many sentences of how many had one."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong = total = 0
    started = time.monotonic()
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as child:
        assert child.stdin and child.stdout
        for sentence in said:
            child.stdin.write(sentence + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                break
            pairs = list(differences(normalise(line.split("\t")[0]), sentence))
            counts.update(pairs)
            wrong, total = wrong + bool(pairs), total + 1
            if time.monotonic() - started > seconds:
                break
        child.stdin.close()
    return counts, wrong, total


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count what the recognizer makes of the voice")
    parser.add_argument("--program", type=Path, required=True, help="the example hear_back")
    parser.add_argument("--voice", type=Path, required=True)
    parser.add_argument("--recognizer", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    mixture = open_mixture(DATA / "english", "en", 0)
    program = [str(arguments.program), str(arguments.voice), str(arguments.recognizer)]
    counts, wrong, total = listen(program, sentences(mixture, arguments.seed), arguments.seconds)
    for line in FILE.read_text(encoding="utf-8").splitlines():
        heard, said, count = line.split("\t")
        counts[heard, said] += int(count)
    rows = sorted(counts.items(), key=lambda row: (row[0][1], row[0][0]))
    FILE.write_text("".join(f"{heard}\t{said}\t{count}\n" for (heard, said), count in rows), encoding="utf-8")
    print(f"{total} sentences, {wrong} with a mistake; {len(rows)} confusions in all")


if __name__ == "__main__":
    main()
