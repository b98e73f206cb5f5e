"""The values that the engine's encodings can hold, as JAX functions: what `firmware/engine/FORMAT.md` says.

Every value is `unit x scale x level`: a power of two for a row, an integer for some columns of it, and
a small integer. The engine's row scales may be any half; powers of two, and integers of so few bits that
scale times level has eleven, make every value a half of its own, so that files of 16 bits hold it.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

HALF_BITS = 11
"""Significant bits of a half."""
SMALLEST_HALF = 2.0**-24


@dataclass(frozen=True)
class Grid:
    """What one encoding can hold."""

    name: str
    """The engine's name of the encoding."""
    columns: int
    """Columns that share a scale."""
    largest_scale: int
    levels: tuple[float, float]
    """The least and the greatest level, in steps; those between are whole steps from the least one."""
    bits: float
    """Of a weight, with the scales of its columns, without the row's."""


def dense(bits: int, columns: int, middle: float, header: int) -> Grid:
    """Codes of `bits` bits with `middle` as the zero point, and a header of `header` bits for `columns`."""
    levels = (-middle, 2.0**bits - 1.0 - middle)
    # Halves of steps are counted where zero lies between two codes.
    greatest = max(abs(level) for level in levels) * (2 if middle % 1 else 1)
    # A power of two costs no bit of its own: only the levels below it do.
    level_bits = int(greatest - 1).bit_length() if middle % 1 == 0 else int(greatest).bit_length()
    largest_scale = 2 ** min(8, HALF_BITS - level_bits) - 1
    return Grid(f"dense{bits}", columns, largest_scale, levels, bits + header / columns)


GRIDS = {
    grid.name: grid
    for grid in (
        # With 4 and 8 levels and zero between two of them, none is lost to one side.
        dense(2, 64, 1.5, 16),
        dense(3, 64, 3.5, 16),
        dense(4, 32, 8.0, 16),
        dense(5, 32, 16.0, 8),
        dense(6, 32, 32.0, 8),
        # -128 is not a level.
        Grid("dense8", 32, 15, (-127.0, 127.0), 8 + 8 / 32),
        Grid("dense1", 64, 255, (-1.0, 1.0), 1 + 8 / 64),
        Grid("1of4", 64, 255, (-1.0, 1.0), 0.75 + 8 / 64),
        Grid("ternary", 64, 16, (-1.0, 1.0), 1.625 + 4 / 64),
    )
}
ROW_SCALE_BITS = 16


def bits_per_weight(grid: Grid, columns: int) -> float:
    """Of a matrix with so many columns, which are whole groups; every scale counted."""
    return grid.bits + ROW_SCALE_BITS / columns


def power_of_two(x: jax.Array) -> jax.Array:
    """The least power of two that is not below `x`; exact."""
    mantissa, exponent = jnp.frexp(x)
    return jnp.ldexp(jnp.ones_like(x), jnp.where(mantissa > 0.5, exponent, exponent - 1))


def units_of_rows(grid: Grid, steps: jax.Array) -> jax.Array:
    """The unit `[rows, 1]` whose largest integer scale reaches the largest of the steps `[rows, groups]`."""
    largest = jnp.max(steps, axis=1, keepdims=True)
    return power_of_two(jnp.maximum(largest / grid.largest_scale, SMALLEST_HALF))


def stored_steps(grid: Grid, steps: jax.Array, units: jax.Array) -> jax.Array:
    """The nearest steps that are a unit times an integer scale."""
    return units * jnp.clip(jnp.round(steps / units), 1, grid.largest_scale)


def kept_of_four(weights: jax.Array) -> jax.Array:
    """True for the largest magnitude of every four columns; of equals the first stays."""
    fours = jnp.abs(weights).reshape(*weights.shape[:-1], -1, 4)
    kept = jax.nn.one_hot(jnp.argmax(fours, axis=-1), 4, dtype=bool)
    return kept.reshape(weights.shape)


CLIPPING = tuple(0.5 + 0.05 * i for i in range(12))
"""Shares of the step that just holds a group; the one with the least squared error is taken."""


def rounded(grid: Grid, groups: jax.Array, steps: jax.Array) -> jax.Array:
    """`[rows, groups, columns]` to the nearest level of their group's step."""
    least, greatest = grid.levels
    steps = steps[..., None]
    return steps * (jnp.clip(jnp.round(groups / steps - least), 0, greatest - least) + least)


def signs_at_mean(grid: Grid, groups: jax.Array, kept: jax.Array) -> jax.Array:
    """A sign where `kept`, else zero, at the mean magnitude of what is kept: the least squared error."""
    count = jnp.maximum(jnp.sum(kept, axis=-1), 1)
    steps = jnp.sum(jnp.where(kept, jnp.abs(groups), 0.0), axis=-1) / count
    steps = stored_steps(grid, steps, units_of_rows(grid, steps))
    return jnp.where(kept, jnp.where(groups < 0, -1.0, 1.0), 0.0) * steps[..., None]


def quantized(weights: jax.Array, grid: Grid) -> jax.Array:
    """The weights `[rows, columns]` on the grid."""
    rows, columns = weights.shape
    if columns % grid.columns:
        raise ValueError(f"expected whole groups of {grid.columns} columns, found {columns}")
    groups = weights.reshape(rows, -1, grid.columns)
    magnitudes = jnp.abs(groups)
    if grid.name == "ternary":
        # Ternary weight networks (Li et al. 2016, arXiv:1605.04711), as the quantizer in `src/compress`.
        kept = magnitudes > 0.7 * jnp.mean(magnitudes, axis=-1, keepdims=True)
        values = signs_at_mean(grid, groups, kept)
    elif grid.name == "1of4":
        values = signs_at_mean(grid, groups, kept_of_four(groups))
    elif grid.name == "dense1":
        values = signs_at_mean(grid, groups, jnp.ones(groups.shape, bool))
    else:
        holding = jnp.max(magnitudes, axis=-1) / min(-grid.levels[0], grid.levels[1] + 0.5)
        units = units_of_rows(grid, holding)
        best_error, best = jnp.full(holding.shape, jnp.inf), holding
        for share in CLIPPING:
            steps = stored_steps(grid, share * holding, units)
            error = jnp.sum((rounded(grid, groups, steps) - groups) ** 2, axis=-1)
            best = jnp.where(error < best_error, steps, best)
            best_error = jnp.minimum(error, best_error)
        values = rounded(grid, groups, best)
    return values.reshape(rows, columns)


def straight_through(weights: jax.Array, grid: Grid) -> jax.Array:
    """The weights on the grid, with the gradient of the weights themselves (Bengio et al. 2013, arXiv:1308.3432).

    What one of four loses keeps its gradient too: so the pattern is learned.
    """
    return weights + jax.lax.stop_gradient(quantized(weights, grid) - weights)
