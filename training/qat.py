"""Trains weights for low bits: `python -m training.qat --data DIR --teacher DIR --recipe FILE --out DIR --tokens N`.

Quantization-aware training: it begins with the teacher's weights, an exported folder, and in every forward pass
each matrix is what the encoding of its rule in the recipe would hold. The output is that of `training.train`
and the recipe; `weights.safetensors` lies on the grids.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from training.cores import CORES  # noqa: F401  # isort: skip  # Before JAX starts.

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from training import optimizer
from training.batches import Rows, encode
from training.evaluate import load_weights
from training.grids import GRIDS, Grid, bits_per_weight, quantized, straight_through
from training.lines import read_lines
from training.model import Shape, Transform, Weights, forward, logits, packed_mask, tensor_shapes
from training.train import Loss, Plan, held_out_batches, held_out_loss, make_step, run, tokens_in

PATTERNS = {
    "*": ("embed_tokens", "self_attn.", "mlp."),
    "embedding": ("embed_tokens",),
    "attention.*": ("self_attn.",),
    **{f"attention.{part}": (f"self_attn.{part}_proj",) for part in "qkvo"},
    "feed-forward.*": ("mlp.",),
    **{f"feed-forward.{part}": (f"mlp.{part}_proj",) for part in ("gate", "up", "down")},
}
"""What recipes call matrices, and what their names in safetensors contain."""


@dataclass(frozen=True)
class LowBitPlan(Plan):
    """A plan with all that decides the result of a quantization-aware run."""

    teacher: str = ""
    """SHA-256 of the teacher's weights."""
    grids: dict[str, str] = field(default_factory=dict)
    """The encoding of each matrix."""
    distilled: float = 0.5
    """Share of the loss that asks for the teacher's probabilities and not for the text's token."""


def encoding_of(rule: dict) -> str | None:
    """The engine's encoding of a rule of a recipe; none for 16 bits."""
    bits, sparsity = rule["bits"], rule.get("sparsity", 0.0)
    if (bits, sparsity) == (1, 0.75):
        return "1of4"
    name: str | None = {1.58: "ternary", 16: None}.get(bits, f"dense{bits}")
    if sparsity or (name is not None and name not in GRIDS):
        raise ValueError(f"{rule['tensors']}: expected bits of {', '.join(GRIDS)} or 16, found {bits}, {sparsity} sparse")
    return name


def grids_of(recipe: Path, shape: Shape) -> dict[str, str]:
    """The encoding of each matrix by the last rule that matches, as the packer reads a recipe."""
    rules = tomllib.loads(recipe.read_text(encoding="utf-8")).get("rule", [])
    grids: dict[str, str | None] = {}
    for rule in rules:
        parts = PATTERNS.get(rule["tensors"])
        if parts is None:
            raise ValueError(f"expected one of {', '.join(PATTERNS)}, found {rule['tensors']}")
        for name, size in tensor_shapes(shape).items():
            if len(size) == 2 and any(part in name for part in parts):
                grids[name] = encoding_of(rule)
    return {name: encoding for name, encoding in grids.items() if encoding is not None}


def on_grids(grids: dict[str, str], place: Callable[[jax.Array, Grid], jax.Array]) -> Transform:
    """Places every matrix that has a grid."""
    return lambda weights: {n: place(w, GRIDS[grids[n]]) if n in grids else w for n, w in weights.items()}


def sizes(grids: dict[str, str], shape: Shape) -> dict[str, float]:
    """Bits of a weight of each kind of matrix, scales counted."""
    bits: dict[str, list[tuple[float, int]]] = {}
    for name, size in tensor_shapes(shape).items():
        if len(size) < 2:
            continue
        kind = next(kind for kind in ("embed_tokens", "self_attn", "mlp") if kind in name)
        each = bits_per_weight(GRIDS[grids[name]], size[1]) if name in grids else 16.0
        for group in (kind, "all"):
            bits.setdefault(group, []).append((each, size[0] * size[1]))
    return {kind: round(sum(b * n for b, n in all) / sum(n for _, n in all), 3) for kind, all in bits.items()}


def distilling(plan: LowBitPlan) -> Loss:
    """Part cross entropy of the text, part that of the teacher's probabilities less their entropy."""

    def loss(weights: Weights, batch: dict, teacher: Weights) -> tuple[jax.Array, jax.Array]:
        mask = packed_mask(batch["segments"])
        tokens, positions = batch["tokens"], batch["positions"]

        def scores(weights: Weights) -> jax.Array:
            hidden, _ = forward(weights, tokens, positions, mask, plan.shape)
            return logits(weights, hidden)

        found = scores(weights)
        log_sum = jax.nn.logsumexp(found, axis=-1)
        right = jnp.take_along_axis(found, batch["targets"][..., None], axis=-1)[..., 0]
        text = log_sum - right
        wanted = jax.nn.log_softmax(scores(teacher), axis=-1)
        divergence = jnp.sum(jnp.exp(wanted) * (wanted - found), axis=-1) + log_sum
        each = plan.distilled * divergence + (1.0 - plan.distilled) * text + plan.z_loss * log_sum**2
        share = batch["loss_weights"]
        answers = (share == 1.0).astype(jnp.float32)
        return jnp.sum(each * share) / jnp.sum(share), jnp.sum(text * answers) / jnp.sum(answers)

    return loss


def placed_weights(weights: Weights, grids: dict[str, str]) -> dict[str, np.ndarray]:
    """What the last forward pass used; fails when 16 bits do not hold it exactly."""
    placed = {name: np.asarray(w) for name, w in jax.jit(on_grids(grids, quantized))(weights).items()}
    for name in grids:
        if not np.array_equal(placed[name].astype(np.float16), placed[name]):
            raise ValueError(f"{name}: expected weights that are halves, found others")
    return placed


def main() -> None:
    """Reads the options, prepares teacher and data, and trains."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--teacher", type=Path, required=True, help="exported folder to begin with")
    parser.add_argument("--recipe", type=Path, required=True, help="TOML that `whittle compress --recipe` takes")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that the run writes")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--tokens", type=int, help="length of the run, without padding and system text")
    length.add_argument("--minutes", type=float, help="length of the run, by the speed of its first steps")
    parser.add_argument("--seed", type=int, default=1, help="not the teacher's: the examples come in another order")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--distilled", type=float, default=LowBitPlan.distilled, help="share of the teacher in the loss")
    arguments = parser.parse_args()
    out, teacher_folder = arguments.out, arguments.teacher
    out.mkdir(parents=True, exist_ok=True)
    stop_signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop_signals.append(received))

    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(teacher_folder / name, out / name)
    shutil.copyfile(arguments.recipe, out / "recipe.toml")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    teacher = load_weights(teacher_folder)
    plan = LowBitPlan(
        total_tokens=arguments.tokens or 0,
        seed=arguments.seed,
        optimizer=optimizer.Settings(peak_rate=arguments.rate, decay=0.9),
        teacher=hashlib.sha256((teacher_folder / "model.safetensors").read_bytes()).hexdigest(),
        grids=grids_of(arguments.recipe, Shape()),
        distilled=arguments.distilled,
    )
    examples = encode(list(read_lines(arguments.data / "train.jsonl")), tokenizer)
    rows = Rows(examples, tokenizer, plan.length, plan.seed, plan.spelled, plan.prompt_weight)
    transform = on_grids(plan.grids, straight_through)
    loss = distilling(plan) if plan.distilled > 0 else None
    step = make_step(plan, transform, loss, teacher if loss else None)
    if arguments.minutes:
        plan = replace(plan, total_tokens=tokens_in(arguments.minutes, step, plan, rows, out))
    batches = held_out_batches(arguments.data / "heldout.jsonl", tokenizer, plan)
    held_out = held_out_loss(plan, batches, transform)
    line = {"plan": asdict(plan), "bits_per_weight": sizes(plan.grids, plan.shape)}
    line["held_out_loss"] = {
        "teacher": held_out_loss(plan, batches)(teacher),
        "rounded to nearest": held_out(teacher),
    }
    print(json.dumps(line), flush=True)
    state = run(plan, step, rows, held_out, out, lambda: bool(stop_signals), teacher)
    if state is None:
        raise SystemExit("stopped; the same command goes on from the checkpoint")
    save_file(placed_weights(state.weights, plan.grids), out / "weights.safetensors")


if __name__ == "__main__":
    main()
