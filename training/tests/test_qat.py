"""Grids of the engine's encodings, and training on them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from training import export, qat, train
from training import tokenizer as vocabulary
from training.batches import Rows, encode
from training.grids import GRIDS, bits_per_weight, power_of_two, quantized, straight_through
from training.model import Shape, initial_weights
from training.tests.test_model import some_lines

SMALL = Shape(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, head_dim=16)
RECIPE = Path(__file__).parent.parent / "low-bit.toml"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return vocabulary.train(some_lines(200), merges=60)


def some_weights(rows: int, columns: int) -> jax.Array:
    """Of different size from row to row and from group to group."""
    random = np.random.default_rng(3)
    groups = 10.0 ** random.uniform(-3, 0, (rows, 1)) * random.uniform(1, 4, (rows, columns // 64))
    sizes = np.repeat(groups, 64, axis=1)
    return jnp.asarray(random.normal(0, 1, (rows, columns)) * sizes, jnp.float32)


LARGEST_ERRORS = {
    "1of4": 0.5, "dense1": 0.4, "ternary": 0.25,
    "dense2": 0.15, "dense3": 0.05, "dense4": 0.013, "dense5": 0.004, "dense6": 0.001, "dense8": 2e-4,
}
"""Relative squared errors of normal weights."""


@pytest.mark.parametrize("name", GRIDS)
def test_every_value_is_a_half_and_few_levels_times_the_scale_of_its_columns(name: str) -> None:
    grid = GRIDS[name]
    weights = some_weights(24, 192)
    placed = np.asarray(quantized(weights, grid))
    np.testing.assert_array_equal(placed.astype(np.float16), placed)
    counts = [len(np.unique(group)) for group in placed.reshape(-1, grid.columns)]
    assert max(counts) <= grid.levels[1] - grid.levels[0] + 1
    error = np.sum((placed - weights) ** 2) / np.sum(weights**2)
    assert error < LARGEST_ERRORS[name]


def test_steps_are_a_power_of_two_of_the_row_times_an_integer() -> None:
    placed = np.abs(np.asarray(quantized(some_weights(24, 192), GRIDS["1of4"])))
    for row in placed:
        steps = row.reshape(-1, 64).max(axis=1)
        unit = 2.0 ** np.ceil(np.log2(steps.max() / 255))
        scales = steps / unit
        assert np.all(scales == np.round(scales)) and scales.min() >= 1 and scales.max() <= 255
    np.testing.assert_array_equal(power_of_two(jnp.array([1.0, 1.01, 0.5, 3.0])), [1.0, 2.0, 0.5, 4.0])


def test_one_of_every_four_is_kept_and_all_learn() -> None:
    grid, weights = GRIDS["1of4"], some_weights(8, 128)
    placed = np.asarray(quantized(weights, grid)).reshape(-1, 4)
    assert np.all((placed != 0).sum(axis=1) == 1)
    np.testing.assert_array_equal(placed.nonzero()[1], np.abs(np.asarray(weights)).reshape(-1, 4).argmax(axis=1))
    gradient = jax.grad(lambda w: jnp.sum(straight_through(w, grid) * 3.0))(weights)
    np.testing.assert_array_equal(gradient, 3.0)
    assert max(bits_per_weight(grid, columns) for columns in (192, 448)) <= 1.5


def test_the_last_rule_of_a_recipe_decides_as_in_the_packer(tmp_path: Path) -> None:
    grids = qat.grids_of(RECIPE, SMALL)
    assert grids["model.layers.1.mlp.down_proj.weight"] == "1of4"
    assert grids["model.layers.0.self_attn.k_proj.weight"] == grids["model.embed_tokens.weight"] == "dense4"
    sizes = qat.sizes(qat.grids_of(RECIPE, Shape()), Shape())
    assert sizes["mlp"] <= 1.5 and sizes["self_attn"] == pytest.approx(4.583, abs=1e-3)
    recipe = tmp_path / "other.toml"
    recipe.write_text('[[rule]]\ntensors = "*"\nbits = 3\n[[rule]]\ntensors = "feed-forward.down"\nbits = 16\n')
    grids = qat.grids_of(recipe, SMALL)
    assert grids["model.layers.1.mlp.up_proj.weight"] == "dense3"
    assert "model.layers.1.mlp.down_proj.weight" not in grids
    for rule, expected in {'"*"\nbits = 7': "found 7", '"blk.0.*"\nbits = 4': "found blk.0"}.items():
        recipe.write_text(f"[[rule]]\ntensors = {rule}\n")
        with pytest.raises(ValueError, match=expected):
            qat.grids_of(recipe, SMALL)


def test_training_on_the_grid_beats_rounding_and_resumes_with_the_same_bytes(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole = train.Plan(total_tokens=12000, rows=4, length=64, shape=SMALL)
    rows = Rows(encode(some_lines(120), tokenizer), tokenizer, whole.length)
    (tmp_path / "teacher").mkdir()
    teacher = train.run(whole, train.make_step(whole), rows, lambda _: None, tmp_path / "teacher").weights
    plan = qat.LowBitPlan(
        **{f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}, grids=qat.grids_of(RECIPE, SMALL)
    )
    transform = qat.on_grids(plan.grids, straight_through)
    step = train.make_step(plan, transform, qat.distilling(plan), teacher)
    batches = [batch for _, batch in zip(range(2), rows.batches(plan.rows, first=900))]
    held_out = train.held_out_loss(plan, batches, transform)

    def run(folder: str, stopped: train.Callable[[], bool]) -> dict | None:
        (tmp_path / folder).mkdir(exist_ok=True)
        state = train.run(plan, step, rows, held_out, tmp_path / folder, stopped, teacher)
        return state and qat.placed_weights(state.weights, plan.grids)

    trained = run("whole", lambda: False)
    calls = iter(range(10000))
    assert run("parts", lambda: next(calls) == 20) is None
    again = run("parts", lambda: False)
    assert all(np.array_equal(trained[name], again[name]) for name in trained)

    on_grid = train.held_out_loss(plan, batches)(trained)
    assert on_grid < held_out(teacher) - 0.1
    # What the last forward pass computed is what the file says.
    last = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert on_grid == pytest.approx(last["held_out_loss"], abs=1e-4)

    vocabulary.save(tokenizer, tmp_path / "whole", 256)
    export.save_file(trained, tmp_path / "whole" / "weights.safetensors")
    (tmp_path / "whole" / "recipe.toml").write_text(RECIPE.read_text())
    export.export(tmp_path / "whole", tmp_path / "out", SMALL)
    exported = load_file(tmp_path / "out" / "model.safetensors")
    assert all(np.array_equal(exported[name], trained[name]) for name in plan.grids)
    assert (tmp_path / "out" / "recipe.toml").exists()
