"""Examples packed into rows of a fixed length, in an order that only seed and epoch decide.

A row begins with the system text, which all its examples share: each sees that text and itself, and
its positions go on where the text ends, so it computes what it would compute alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from training.lines import END, PREFIX, Line, turn_text
from training.tokenizer import spellings

Batch = dict[str, np.ndarray]
"""tokens, targets, positions, segments as int32 and loss weights as float32, all `[rows, length]`."""

OPEN_ROWS = 32
"""Rows that are filled at once: more fill better, and tear examples from their neighbours less."""


@dataclass(frozen=True)
class Example:
    """One turn in tokens."""

    prompt: list[int]
    answer: list[int]
    """With the end token."""
    named: frozenset[int]
    """Tokens of whole words in the values of slots."""


def encode(lines: list[Line], tokenizer: Tokenizer) -> list[Example]:
    """All lines that have an answer, in tokens."""
    lines = [line for line in lines if line.answer is not None]
    prompts = tokenizer.encode_batch_fast([turn_text(line.prompt) for line in lines])
    answers = tokenizer.encode_batch_fast([f"{line.answer}{END}" for line in lines])
    words: dict[str, frozenset[int]] = {}
    for line in lines:
        for value in line.slots.values():
            if value not in words:
                words[value] = frozenset(tokenizer.encode(value).ids + tokenizer.encode(" " + value).ids)
    named = [frozenset().union(*(words[value] for value in line.slots.values())) for line in lines]
    return [Example(p.ids, a.ids, n) for p, a, n in zip(prompts, answers, named, strict=True)]


class Rows:
    """The rows of any epoch over some examples."""

    def __init__(
        self,
        examples: list[Example],
        tokenizer: Tokenizer,
        length: int = 128,
        seed: int = 0,
        spelled: float = 0.0,
        prompt_weight: float = 0.1,
    ) -> None:
        """`spelled` is the share of examples whose names are cut as names never seen would be."""
        self.prefix = tokenizer.encode(PREFIX).ids
        self.length, self.seed, self.spelled, self.prompt_weight = length, seed, spelled, prompt_weight
        self.spellings = spellings(tokenizer) if spelled > 0 else {}
        room = length + 1 - len(self.prefix)
        self.examples = [e for e in examples if len(e.prompt) + len(e.answer) <= room]
        self.too_long = len(examples) - len(self.examples)
        if not self.examples:
            raise ValueError(f"expected examples of up to {room} tokens, found none in {len(examples)}")

    def epoch(self, epoch: int) -> Batch:
        """All rows of an epoch, shuffled."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.examples))
        is_spelled = random.random(len(self.examples)) < self.spelled
        rows: list[list[tuple[list[int], list[int]]]] = []
        open_rows: list[tuple[int, list[tuple[list[int], list[int]]]]] = []
        for index in order:
            prompt, answer = self.spell(self.examples[index]) if is_spelled[index] else (
                self.examples[index].prompt, self.examples[index].answer)
            # The last token of an example is only a target.
            size = len(prompt) + len(answer) - 1
            fits = [i for i, (free, _) in enumerate(open_rows) if free >= size]
            if fits:
                best = min(fits, key=lambda i: open_rows[i][0])
                free, row = open_rows[best]
                row.append((prompt, answer))
                open_rows[best] = (free - size, row)
            else:
                if len(open_rows) == OPEN_ROWS:
                    fullest = min(range(OPEN_ROWS), key=lambda i: open_rows[i][0])
                    rows.append(open_rows.pop(fullest)[1])
                open_rows.append((self.length - len(self.prefix) - size, [(prompt, answer)]))
        rows.extend(row for _, row in open_rows)
        batch = self.arrays(rows)
        shuffle = random.permutation(len(rows))
        return {key: value[shuffle] for key, value in batch.items()}

    def spell(self, example: Example) -> tuple[list[int], list[int]]:
        """The example with its names in pieces, unless it becomes too long."""
        def pieces(tokens: list[int]) -> list[int]:
            return [p for t in tokens for p in (self.spellings.get(t, [t]) if t in example.named else [t])]

        prompt, answer = pieces(example.prompt), pieces(example.answer)
        if len(prompt) + len(answer) > self.length + 1 - len(self.prefix):
            return example.prompt, example.answer
        return prompt, answer

    def arrays(self, rows: list[list[tuple[list[int], list[int]]]]) -> Batch:
        """Rows of pairs of prompt and answer as arrays."""
        size, start = (len(rows), self.length), len(self.prefix)
        batch = {key: np.zeros(size, np.int32) for key in ("tokens", "targets", "positions")}
        batch["segments"] = np.full(size, -1, np.int32)
        batch["loss_weights"] = np.zeros(size, np.float32)
        for r, row in enumerate(rows):
            batch["tokens"][r, :start] = self.prefix
            batch["positions"][r, :start] = range(start)
            batch["segments"][r, :start] = 0
            at = start
            for segment, (prompt, answer) in enumerate(row, 1):
                text = prompt + answer
                end = at + len(text) - 1
                batch["tokens"][r, at:end] = text[:-1]
                batch["targets"][r, at:end] = text[1:]
                batch["positions"][r, at:end] = range(start, start + end - at)
                batch["segments"][r, at:end] = segment
                batch["loss_weights"][r, at : at + len(prompt) - 1] = self.prompt_weight
                batch["loss_weights"][r, at + len(prompt) - 1 : end] = 1.0
                at = end
        return batch

    def batches(self, rows_per_batch: int, first: int = 0) -> Iterator[Batch]:
        """Batches without end, from number `first` on; the rest of an epoch that fills none is left out."""
        epoch, skipped = 0, 0
        while True:
            rows = self.epoch(epoch)
            count = len(rows["tokens"]) // rows_per_batch
            if count == 0:
                raise ValueError(f"expected {rows_per_batch} rows for a batch, found {len(rows['tokens'])}")
            for number in range(max(first - skipped, 0), count):
                part = slice(number * rows_per_batch, (number + 1) * rows_per_batch)
                yield {key: value[part] for key, value in rows.items()}
            epoch, skipped = epoch + 1, skipped + count


def real_tokens(batch: Batch) -> int:
    """Tokens of examples in a batch: neither padding nor the shared system text."""
    return int((batch["segments"] > 0).sum())
