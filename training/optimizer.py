"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with clipped gradients, and its schedule."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from training.model import Weights


@dataclass(frozen=True)
class Settings:
    """What the optimizer is told; rates are a step."""

    peak_rate: float = 4e-3
    warm_up: float = 0.02
    """Share of the run."""
    decay: float = 0.6
    """Share of the run at whose end the rate has fallen to nothing."""
    first_momentum: float = 0.9
    second_momentum: float = 0.97
    weight_decay: float = 0.1
    """Of matrices, times the rate; norms and the embedding have none."""
    largest_norm: float = 1.0
    """Longer gradients are shortened to this."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that a step changes."""

    weights: Weights
    first: Weights
    """Running mean of gradients."""
    second: Weights
    """Running mean of their squares."""
    step: jax.Array
    """Steps done, int32."""


def start(weights: Weights) -> State:
    """Before the first step."""
    zeros = jax.tree.map(jnp.zeros_like, weights)
    return State(weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.int32))


def rate(progress: float, settings: Settings) -> float:
    """The learning rate at `progress` from 0 to 1: up, level, and in a line down to 0."""
    up = min(1.0, progress / settings.warm_up) if settings.warm_up > 0 else 1.0
    down = min(1.0, (1.0 - progress) / settings.decay) if settings.decay > 0 else 1.0
    return settings.peak_rate * max(0.0, min(up, down))


def updated(state: State, gradients: Weights, learning_rate: jax.Array, settings: Settings) -> tuple[State, jax.Array]:
    """The state after a step, and the norm of the gradient before it was clipped."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    scale = jnp.minimum(1.0, settings.largest_norm / (norm + 1e-6))
    step = state.step + 1
    mean, square = settings.first_momentum, settings.second_momentum
    mean_part, square_part = 1.0 - mean**step, 1.0 - square**step
    weights, first, second = {}, {}, {}
    for name, old in state.weights.items():
        gradient = gradients[name] * scale
        first[name] = mean * state.first[name] + (1.0 - mean) * gradient
        second[name] = square * state.second[name] + (1.0 - square) * gradient * gradient
        change = (first[name] / mean_part) / (jnp.sqrt(second[name] / square_part) + 1e-8)
        if old.ndim > 1 and name != "model.embed_tokens.weight":
            change = change + settings.weight_decay * old
        weights[name] = old - learning_rate * change
    return State(weights, first, second, step), norm
