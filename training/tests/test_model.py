"""The tokenizer, the forward pass, runs and exports of hearth."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from training import evaluate, export, train
from training import tokenizer as vocabulary
from training.batches import Rows, encode
from training.lines import END, PREFIX, SPECIAL_TOKENS, Line, intent_line, parse_intent_line, turn_text
from training.model import Shape, forward, initial_weights, logits, packed_mask, tensor_shapes

SMALL = Shape(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, head_dim=8)
AREAS = ["kitchen", "living room", "bedroom", "garage", "office"]


def some_lines(count: int) -> list[Line]:
    """Commands of a small home."""
    chance = random.Random(5)
    lines = []
    for _ in range(count):
        area, minutes = chance.choice(AREAS), str(chance.randint(1, 60))
        prompt, intent, slots, reply = chance.choice([
            (f"turn on the {area} light", "HassTurnOn", {"area": area, "domain": "light"}, "Turned on the light."),
            (f"set a timer for {minutes} minutes", "HassStartTimer", {"start_minutes": minutes}, "Timer started."),
            ("how are you", "Chat", {}, "I'm fine, thank you."),
        ])
        lines.append(Line(prompt, f"{intent_line(intent, slots)}\n{reply}", intent, slots))
    return lines


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return vocabulary.train(some_lines(200), merges=60)


def plan_of(total_tokens: int) -> train.Plan:
    return train.Plan(total_tokens=total_tokens, rows=4, length=64, shape=SMALL)


def rows_of(plan: train.Plan, tokenizer: Tokenizer) -> Rows:
    return Rows(encode(some_lines(120), tokenizer), tokenizer, plan.length, plan.seed, spelled=0.5)


def test_tokens_give_every_text_back(tokenizer: Tokenizer) -> None:
    for text in ["here kitchen\nturn on the light", "Größe 21 °C 🙂\r\n\t", "".join(map(chr, range(1, 256)))]:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_names_and_keys_are_one_token(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    tokens = tokenizer.encode("HassStartTimer@start_minutes 5\nDone.").tokens
    assert tokens[:2] == ["HassStartTimer", "@start_minutes"]
    with pytest.raises(ValueError, match="expected one token for 'HassUnknown'"):
        vocabulary.check(tokenizer, ["HassUnknown"], [])


def test_the_word_of_a_command_is_the_token_of_the_answer(tokenizer: Tokenizer) -> None:
    prompt, answer = (tokenizer.encode(t).tokens for t in ("the kitchen light", "HassTurnOn@area kitchen"))
    assert "Ġkitchen" in prompt and "Ġkitchen" in answer


def test_an_answer_without_an_intent_line_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an intent line, found 'Sure, '"):
        vocabulary.train([Line("hello", "Sure, \nHello.")])


def test_intent_lines_are_read_as_they_are_written() -> None:
    slots = {"name": "desk lamp", "area": "office"}
    line = intent_line("HassTurnOn", slots)
    assert line == "HassTurnOn@area office@name desk lamp"
    assert parse_intent_line(f"{line}\nDone.") == ("HassTurnOn", slots)
    assert parse_intent_line("Done.") is None and parse_intent_line("Chat@mood") is None


def test_later_tokens_do_not_change_earlier_ones() -> None:
    weights = initial_weights(SMALL, 1)
    tokens = np.arange(20, dtype=np.int32)[None] % 7
    changed = tokens.copy()
    changed[0, 12:] += 9
    positions = np.arange(20)[None]
    mask = packed_mask(jnp.zeros((1, 20), jnp.int32))
    first, second = (np.asarray(forward(weights, t, positions, mask, SMALL)[0]) for t in (tokens, changed))
    np.testing.assert_array_equal(first[0, :12], second[0, :12])
    assert np.abs(first[0, 12:] - second[0, 12:]).max() > 1e-3


def test_packed_examples_compute_what_they_compute_alone(tokenizer: Tokenizer) -> None:
    weights = initial_weights(SMALL, 2)
    rows = rows_of(plan_of(0), tokenizer)
    examples = [(e.prompt, e.answer) for e in rows.examples[:2]]
    packed = rows.arrays([examples])
    hidden = forward(weights, packed["tokens"], packed["positions"], packed_mask(packed["segments"]), SMALL)[0]
    for segment, (prompt, answer) in enumerate(examples, 1):
        alone = np.array([rows.prefix + prompt + answer[:-1]])
        positions = np.arange(alone.shape[1])[None]
        mask = packed_mask(jnp.zeros(alone.shape, jnp.int32))
        expected = forward(weights, alone, positions, mask, SMALL)[0][0, len(rows.prefix) :]
        np.testing.assert_allclose(hidden[0][packed["segments"][0] == segment], expected, atol=2e-5)


def test_only_answers_weigh_fully(tokenizer: Tokenizer) -> None:
    rows = rows_of(plan_of(0), tokenizer)
    example = rows.examples[0]
    packed = rows.arrays([[(example.prompt, example.answer)]])
    assert list(packed["targets"][packed["loss_weights"] == 1.0]) == example.answer
    assert list(packed["targets"][packed["loss_weights"] == np.float32(0.1)]) == example.prompt[1:]


def test_every_epoch_has_every_example_once(tokenizer: Tokenizer) -> None:
    rows = rows_of(plan_of(0), tokenizer)
    first, again, second = rows.epoch(0), rows.epoch(0), rows.epoch(1)
    np.testing.assert_array_equal(first["tokens"], again["tokens"])
    assert first["tokens"].shape != second["tokens"].shape or (first["tokens"] != second["tokens"]).any()
    end = tokenizer.token_to_id(END)
    assert (first["targets"][first["loss_weights"] == 1.0] == end).sum() == len(rows.examples)


def test_a_resumed_run_ends_with_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    plan = plan_of(3000)
    step = train.make_step(plan)

    def run(folder: str, stopped: train.Callable[[], bool]) -> bool:
        (tmp_path / folder).mkdir(exist_ok=True)
        state = train.run(plan, step, rows_of(plan, tokenizer), lambda _: None, tmp_path / folder, stopped)
        return state is not None

    assert run("whole", lambda: False)
    calls = iter(range(1000))
    assert not run("parts", lambda: next(calls) == 7)
    assert run("parts", lambda: False)
    whole, parts = ((tmp_path / f / "weights.safetensors").read_bytes() for f in ("whole", "parts"))
    assert whole == parts

    other = dataclasses.replace(plan, seed=1)
    with pytest.raises(ValueError, match="expected a checkpoint of this plan"):
        train.run(other, step, rows_of(other, tokenizer), lambda _: None, tmp_path / "parts")


def test_the_same_answers_with_and_without_the_cache(tokenizer: Tokenizer) -> None:
    weights = initial_weights(SMALL, 3)
    prompts = [tokenizer.encode(PREFIX + turn_text(text)).ids for text in ("turn on the light", "how are you")]
    for prompt, answer in zip(prompts, evaluate.greedy(weights, prompts, 0, SMALL), strict=True):
        tokens = list(prompt)
        for token in answer[:6]:
            array = np.array([tokens])
            mask = packed_mask(jnp.zeros(array.shape, jnp.int32))
            hidden = forward(weights, array, np.arange(len(tokens))[None], mask, SMALL)[0]
            assert token == int(logits(weights, hidden[0, -1]).argmax())
            tokens.append(token)


def test_figures_are_counted_by_line_and_by_group() -> None:
    lines = [
        Line("a", intent="HassTurnOn", slots={"area": "attic"}),
        Line("b", intent="HassTurnOn", slots={"area": "attic"}),
        Line("c", pattern="^No"),
    ]
    found = evaluate.figures(lines, ["HassTurnOn@area attic\nDone.", "HassTurnOn@area office\nDone.", "No way"])
    assert found["micro"] == {"lines": 3, "intent": 1.0, "exact": 2 / 3}
    assert found["macro"] == {"intent": 1.0, "exact": 0.75}


def test_an_exported_folder_has_every_tensor_in_16_bits(tokenizer: Tokenizer, tmp_path: Path) -> None:
    weights = {name: np.array(w) for name, w in initial_weights(SMALL, 4).items()}
    vocabulary.save(tokenizer, tmp_path / "run", 256)
    export.save_file(weights, tmp_path / "run" / "weights.safetensors")
    export.export(tmp_path / "run", tmp_path / "out", SMALL)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {name: t.shape for name, t in tensors.items()} == tensor_shapes(SMALL)
    assert all(tensor.dtype == np.float16 for tensor in tensors.values())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "llama" and config["eos_token_id"] == 0 and config["tie_word_embeddings"]
    weights["model.norm.weight"][3] = 1e6
    with pytest.raises(ValueError, match="expected numbers up to 65504"):
        export.half_weights(weights, SMALL)
