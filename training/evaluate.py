"""Exact intents and slots on a task file: `python -m training.evaluate --model DIR --tasks FILE`.

Answers are generated greedily, many at a time. DIR is a run's output or an exported folder.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from training.lines import END, PREFIX, SYSTEM, Line, intent_line, parse_intent_line, read_lines, turn_text
from training.model import Cache, Shape, Weights, forward, logits

PROMPTS = 64
"""Conversations that are computed side by side."""
MOST_ANSWER_TOKENS = 64


def load_weights(folder: Path) -> Weights:
    """f32 weights of an exported folder, or of a run's output."""
    exported = folder / "model.safetensors"
    path = exported if exported.exists() else folder / "weights.safetensors"
    return {name: jnp.asarray(tensor, jnp.float32) for name, tensor in load_file(path).items()}


def empty_cache(shape: Shape, rows: int, columns: int) -> Cache:
    """Keys and values of nothing."""
    size = (rows, columns, shape.num_key_value_heads, shape.head_dim)
    return [(jnp.zeros(size), jnp.zeros(size)) for _ in range(shape.num_hidden_layers)]


@partial(jax.jit, static_argnames="shape")
def read_prompts(weights: Weights, tokens: jax.Array, lengths: jax.Array, shape: Shape) -> tuple[jax.Array, Cache]:
    """The first answer token `[B]` of prompts `[B, P]` that end at `lengths`, and a cache with room."""
    rows, width = tokens.shape
    columns = jnp.arange(width + MOST_ANSWER_TOKENS)
    positions = jnp.broadcast_to(jnp.arange(width), tokens.shape)
    mask = jnp.broadcast_to(columns[None, None] <= positions[..., None], (rows, width, len(columns)))
    cache = empty_cache(shape, rows, len(columns))
    hidden, cache = forward(weights, tokens, positions, mask, shape, cache, 0)
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)
    return jnp.argmax(logits(weights, last[:, 0]), axis=-1), cache


@partial(jax.jit, static_argnames="shape", donate_argnames="cache")
def next_tokens(
    weights: Weights, cache: Cache, tokens: jax.Array, lengths: jax.Array, step: jax.Array, width: jax.Array, shape: Shape
) -> tuple[jax.Array, Cache]:
    """The token after answer token number `step` of every row.

    Answers stand in the cache's columns from `width` on, their positions go on where prompts end;
    the columns between the two are masked.
    """
    columns = jnp.arange(cache[0][0].shape[1])
    seen = (columns[None] < lengths[:, None]) | ((columns >= width) & (columns <= width + step))[None]
    positions = (lengths + step)[:, None]
    hidden, cache = forward(weights, tokens[:, None], positions, seen[:, None], shape, cache, width + step)
    return jnp.argmax(logits(weights, hidden[:, 0]), axis=-1), cache


def greedy(weights: Weights, prompts: list[list[int]], end: int, shape: Shape) -> list[list[int]]:
    """The most likely tokens after each prompt, up to its end token."""
    answers: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(prompts), PROMPTS):
        chosen = by_length[first : first + PROMPTS]
        # A few widths and one height only: each pair is compiled once.
        width = -(-max(len(prompts[i]) for i in chosen) // 32) * 32
        tokens = np.zeros((PROMPTS, width), np.int32)
        lengths = np.ones(PROMPTS, np.int32)
        for row, index in enumerate(chosen):
            tokens[row, : len(prompts[index])] = prompts[index]
            lengths[row] = len(prompts[index])
        token, cache = read_prompts(weights, tokens, lengths, shape)
        generated = [np.asarray(token)]
        ended = generated[0][: len(chosen)] == end
        for step in range(MOST_ANSWER_TOKENS - 1):
            if ended.all():
                break
            token, cache = next_tokens(weights, cache, token, lengths, jnp.int32(step), jnp.int32(width), shape)
            generated.append(np.asarray(token))
            ended |= generated[-1][: len(chosen)] == end
        for row, index in enumerate(chosen):
            answer = [int(column[row]) for column in generated]
            answers[index] = answer[: answer.index(end)] if end in answer else answer
    return answers


def answers_to(lines: list[Line], weights: Weights, tokenizer: Tokenizer, shape: Shape) -> list[str]:
    """The text that the model answers to each line's prompt."""
    def opening(line: Line) -> str:
        return PREFIX if line.system is None else f"{SYSTEM}{line.system}"

    texts = [opening(line) + turn_text(line.prompt) for line in lines]
    prompts = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    return tokenizer.decode_batch(greedy(weights, prompts, tokenizer.token_to_id(END), shape))


@dataclass
class Figures:
    """Counts of one group, or of all."""

    lines: int = 0
    intent: int = 0
    exact: int = 0

    def shares(self) -> dict[str, float | int]:
        """As parts of one."""
        return {"lines": self.lines, "intent": self.intent / self.lines, "exact": self.exact / self.lines}


def judge(line: Line, answer: str) -> tuple[bool, bool]:
    """Whether the intent is right, and whether all is."""
    if line.intent is not None:
        found = parse_intent_line(answer)
        if found is None:
            return False, False
        return found[0] == line.intent, found == (line.intent, line.slots)
    if line.pattern is not None:
        right = re.search(line.pattern, answer) is not None
    else:
        right = answer == line.answer
    return right, right


def figures(lines: list[Line], answers: list[str]) -> dict[str, object]:
    """Micro averages (each line counts the same), macro (each group does), and every group."""
    groups: dict[str, Figures] = defaultdict(Figures)
    total = Figures()
    for line, answer in zip(lines, answers, strict=True):
        intent, exact = judge(line, answer)
        for counts in (groups[line.figures_group], total):
            counts.lines += 1
            counts.intent += intent
            counts.exact += exact
    shares = {name: groups[name].shares() for name in sorted(groups)}
    macro = {key: float(np.mean([share[key] for share in shares.values()])) for key in ("intent", "exact")}
    return {"micro": total.shares(), "macro": macro, "groups": shares}


def main() -> None:
    """Prints the figures as JSON, and with --wrong the lines that were answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, required=True, help="a run's output, or an exported folder")
    parser.add_argument("--tasks", type=Path, required=True, help="JSONL in the form of a task file")
    parser.add_argument("--limit", type=int, help="take only so many lines, spread over the file")
    parser.add_argument("--wrong", type=Path, help="write what was answered wrongly here")
    arguments = parser.parse_args()
    lines = list(read_lines(arguments.tasks))
    if arguments.limit and len(lines) > arguments.limit:
        lines = [lines[i * len(lines) // arguments.limit] for i in range(arguments.limit)]
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    answers = answers_to(lines, load_weights(arguments.model), tokenizer, Shape())
    if arguments.wrong:
        with arguments.wrong.open("w", encoding="utf-8") as file:
            for line, answer in zip(lines, answers, strict=True):
                if not judge(line, answer)[1]:
                    expected = intent_line(line.intent, line.slots) if line.intent else line.pattern or line.answer
                    file.write(json.dumps({"prompt": line.prompt, "expected": expected, "answer": answer}) + "\n")
    print(json.dumps(figures(lines, answers), indent=2))


if __name__ == "__main__":
    main()
