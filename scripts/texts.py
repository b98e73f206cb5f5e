"""Writes the calibration text and the mixed evaluation text: `texts.py PACKAGES ASSETS`, called by `texts.sh`.

Both mix prose, conversation, home commands and code in pieces of about 1500 characters, so that any prefix is a mix
too. No piece of an evaluation text shares a run of eight words or of forty characters with the calibration text.
"""

import json
import re
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from chitchat_dataset import Dataset

CALIBRATION_BYTES, MIXED_BYTES = 120_000, 31_000
PIECE = 1500
WORDS, CHARACTERS = 8, 40
# Far behind the first chapters, which are the prose of `evaluation.txt`.
CHAPTERS = {"calibration": range(60, 110, 6), "mixed": ()}
YEARS = {
    "calibration": (1791, 1825, 1854, 1889, 1908, 1936, 1955, 1966, 1979, 1989, 2003, 2014),
    "mixed": (1803, 1838, 1871, 1901, 1927, 1947, 1962, 1976, 1984, 1996, 2009),
}
# Turn and turn about: half prose, half talk, commands and code.
PLAN = {
    "calibration": ["moby", "talk", "home", "sotu", "talk", "moby", "talk", "sotu", "code", "talk", "moby", "home", "sotu", "talk"],
    "mixed": ["sotu", "talk", "sotu", "home", "sotu", "talk", "code", "talk"],
}
CODE = {
    "calibration": ["mri/lib/index.js", "python/inflection/__init__.py"],
    "mixed": ["dequal/dist/index.js", "python/tabulate/__init__.py"],
}
RUDE = re.compile(r"\b(fuck\w*|shit\w*|bitch\w*|sex\w*|porn\w*|nigg\w*|dick|ass|cunt|kill\w*|suicid\w*|rape\w*|nazi\w*|drugs?|weed)\b", re.I)
# Links, and keys hit at random.
NOISE = re.compile(r"http|\S{25}")


def plain(text: str) -> str:
    """Straight quotes and single blanks: what every tokenizer here has seen."""
    for fancy, ascii_ in ("\u2019'", "\u2018'", '\u201c"', '\u201d"', "\u2013-", "\u00a0 "):
        text = text.replace(fancy, ascii_)
    return re.sub(r"[ \t]+", " ", text)


def runs(text: str) -> set[str]:
    """Every run of eight words and of forty characters, in lower case, blanks normalised."""
    words = text.lower().split()
    line = " ".join(words)
    found = {" ".join(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}
    return found | {line[i : i + CHARACTERS] for i in range(len(line) - CHARACTERS + 1)}


def prose(texts: list[str]) -> Iterator[str]:
    """Pieces of whole paragraphs, or of whole sentences where a paragraph is long; the texts in turn."""
    streams = [_pieces(text) for text in texts]
    for stream in cycle(streams):
        piece = next(stream, None)
        if piece is None:
            return
        yield piece


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for sentence in re.split(r"(?<=[.?!])(?:\s+)|\n\n", plain(text)):
        piece += (" " if piece else "") + sentence.strip()
        if len(piece) >= PIECE:
            yield piece
            piece = ""


def moby(packages: Path, side: str) -> Iterator[str]:
    return prose([json.loads((packages / f"moby-dick/data/chapter_{n}.json").read_text())["text"] for n in CHAPTERS[side]])


def sotu(packages: Path, side: str) -> Iterator[str]:
    files = [next(iter(sorted(packages.glob(f"sotu/data/{year}_*.json")))) for year in YEARS[side]]
    return prose([json.loads(file.read_text())["text"] for file in files])


def talk(side: str) -> Iterator[str]:
    """Conversations of two people, turns of one line; every other one belongs to a side."""
    parity = 0 if side == "calibration" else 1
    conversations = sorted(Dataset().items())
    for index, (_, conversation) in enumerate(conversations):
        turns = [plain(" ".join(m["text"].strip() for m in turn)) for turn in conversation["messages"]]
        text = "\n".join(f"{'AB'[i % 2]}: {turn}" for i, turn in enumerate(turns))
        # Long answers in sentences, not "ok" and "lol": what one says to an assistant.
        is_good = len(turns) >= 6 and len(text) / len(turns) > 45 and text.isascii() and not RUDE.search(text) and not NOISE.search(text)
        if index % 2 == parity and is_good:
            yield text[: text.rfind("\n", 0, 2 * PIECE)] if len(text) > 2 * PIECE else text


def home(packages: Path, side: str) -> Iterator[str]:
    """Commands of a home with the answers that hearth gives; odd and even lines belong to one side each."""
    parity = 0 if side == "calibration" else 1
    lines = (packages / "home/train.jsonl").read_text().splitlines()[parity::2]
    piece: list[str] = []
    for line in map(json.loads, lines):
        piece.append(f"{line['prompt']}\n{line['answer']}\n")
        if sum(map(len, piece)) >= PIECE:
            yield "\n".join(piece).strip()
            piece = []


def code(packages: Path, side: str) -> Iterator[str]:
    """Functions of small MIT-licensed packages, blocks between empty lines kept whole."""
    streams = []
    for name in CODE[side]:
        text = (packages / name).read_text().replace("\t", "    ")
        streams.append(_blocks(text))
    for stream in cycle(streams):
        piece = next(stream, None)
        if piece is None:
            return
        yield piece


def _blocks(text: str) -> Iterator[str]:
    piece = ""
    for block in re.split(r"\n\n+", text):
        piece += ("\n\n" if piece else "") + block
        if len(piece) >= PIECE:
            yield piece
            piece = ""
    if piece:
        yield piece


def mix(packages: Path, side: str, limit: int, taken: set[str]) -> str:
    """Pieces turn and turn about up to `limit` bytes, without those that share a run with `taken`."""
    sources = {
        "moby": moby(packages, side),
        "sotu": sotu(packages, side),
        "talk": talk(side),
        "home": home(packages, side),
        "code": code(packages, side),
    }
    text = ""
    for kind in cycle(PLAN[side]):
        piece = next(p for p in without(sources[kind], kind, taken))
        text += piece + "\n\n"
        if len(text.encode()) >= limit:
            return text


def without(pieces: Iterator[str], kind: str, taken: set[str]) -> Iterator[str]:
    """Pieces that share nothing with `taken`; of commands only those lines that do are dropped."""
    for piece in pieces:
        parts = piece.split("\n\n") if kind == "home" else [piece]
        kept = [part for part in parts if taken.isdisjoint(runs(part))]
        if kept:
            yield "\n\n".join(kept)


def main() -> None:
    packages, assets = Path(sys.argv[1]), Path(sys.argv[2])
    evaluation = (assets / "texts/evaluation.txt").read_text()
    asked = "\n".join(json.loads(line)["prompt"] for file in sorted((assets / "tasks").glob("*.jsonl")) for line in file.open())
    calibration = mix(packages, "calibration", CALIBRATION_BYTES, runs(plain(evaluation)) | runs(asked))
    mixed = mix(packages, "mixed", MIXED_BYTES, runs(calibration))
    (assets / "texts/calibration.txt").write_text(calibration)
    (assets / "texts/evaluation-mixed.txt").write_text(mixed)


if __name__ == "__main__":
    main()
