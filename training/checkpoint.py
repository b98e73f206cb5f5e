"""What a run needs to go on as if nothing had happened, in one file that is whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from training.optimizer import State

PARTS = ("weights", "first", "second")


def save(path: Path, state: State, run: dict[str, object]) -> None:
    """Writes beside the old file first, then takes its place."""
    tensors = {
        f"{part}/{name}": np.asarray(tensor)
        for part in PARTS
        for name, tensor in getattr(state, part).items()
    }
    tensors["step"] = np.asarray(state.step)
    fresh = path.with_suffix(".new")
    save_file(tensors, fresh, metadata={"run": json.dumps(run)})
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(fresh, path)


def load(path: Path) -> tuple[State, dict[str, object]]:
    """The state and what `save` was told of the run."""
    parts: dict[str, dict] = {part: {} for part in PARTS}
    with safe_open(path, framework="numpy") as file:
        run = json.loads(file.metadata()["run"])
        step = jnp.asarray(file.get_tensor("step"))
        for key in file.keys():
            part, _, name = key.partition("/")
            if name:
                parts[part][name] = jnp.asarray(file.get_tensor(key))
    return State(**parts, step=step), run
