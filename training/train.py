"""Trains hearth: `python -m training.train --data DIR --out DIR (--tokens N | --minutes M)`.

DIR of the data has `train.jsonl` and, for the held-out loss, task lines in `heldout.jsonl`. The output gets the
tokenizer, `checkpoint.safetensors`, `log.jsonl` and at the end `weights.safetensors`; when a
checkpoint is there already, the run goes on from it and ends with the same bytes.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from training.cores import CORES  # isort: skip  # Before JAX starts.

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from training import checkpoint, optimizer, tokenizer as vocabulary
from training.batches import Batch, Rows, encode, real_tokens
from training.lines import intent_line, read_lines
from training.model import Shape, Transform, Weights, initial_weights, token_losses, unchanged

CHECKPOINT_SECONDS = 120
LOG_SECONDS = 30
TIMED_STEPS = 12
"""Steps that decide how many tokens fit into the minutes of a run."""
HELD_OUT_BATCHES = 4


@dataclass(frozen=True)
class Plan:
    """What decides a run's result, beside its data; kept in checkpoints."""

    total_tokens: int
    seed: int = 0
    rows: int = 16
    length: int = 128
    spelled: float = 0.1
    prompt_weight: float = 0.1
    z_loss: float = 1e-5
    shape: Shape = field(default_factory=Shape)
    optimizer: optimizer.Settings = field(default_factory=optimizer.Settings)


Loss = Callable[[Weights, dict[str, jax.Array], Weights], tuple[jax.Array, jax.Array]]
"""Of weights, a batch and weights that stay as they are: the loss that is trained, and the one that is shown."""

StepFunction = Callable[[optimizer.State, dict[str, jax.Array], jax.Array], tuple[optimizer.State, dict[str, jax.Array]]]


def over_rows() -> tuple[NamedSharding, NamedSharding]:
    """Where rows of a batch lie (on all devices, in parts) and where weights lie (on each)."""
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    return NamedSharding(mesh, PartitionSpec("rows")), NamedSharding(mesh, PartitionSpec())


def losses(weights: dict, batch: dict, shape: Shape, z_loss: float) -> tuple[jax.Array, jax.Array]:
    """The loss that is trained, and the mean over tokens of answers."""
    each = token_losses(weights, batch, shape, z_loss)
    share = batch["loss_weights"]
    answers = (share == 1.0).astype(jnp.float32)
    trained = jnp.sum(each * share) / jnp.sum(share)
    return trained, jnp.sum(each * answers) / jnp.sum(answers)


def make_step(
    plan: Plan, transform: Transform = unchanged, loss_of: Loss | None = None, fixed: Weights | None = None
) -> StepFunction:
    """One compiled step; weights pass through `transform` on their way into the forward pass.

    Another loss may be told the weights `fixed`, such as those of a teacher.
    """
    rows, whole = over_rows()

    @partial(jax.jit, donate_argnums=0, in_shardings=(whole, rows, whole, whole), out_shardings=whole)
    def step(state: optimizer.State, batch: dict, rate: jax.Array, fixed: Weights) -> tuple[optimizer.State, dict]:
        def trained(weights: dict) -> tuple[jax.Array, jax.Array]:
            if loss_of is not None:
                return loss_of(transform(weights), batch, fixed)
            return losses(transform(weights), batch, plan.shape, plan.z_loss)

        (loss, answers), gradients = jax.value_and_grad(trained, has_aux=True)(state.weights)
        state, norm = optimizer.updated(state, gradients, rate, plan.optimizer)
        return state, {"loss": loss, "answers": answers, "norm": norm}

    fixed = jax.device_put(fixed or {}, whole)
    return lambda state, batch, rate: step(state, batch, rate, fixed)


def held_out_loss(plan: Plan, batches: list[Batch], transform: Transform = unchanged) -> Callable[[dict], float | None]:
    """Mean loss on the answers of `batches`; none when there are none."""
    rows, whole = over_rows()
    one = jax.jit(
        lambda weights, batch: losses(transform(weights), batch, plan.shape, 0.0)[1],
        in_shardings=(whole, rows),
    )
    return lambda weights: sum(float(one(weights, b)) for b in batches) / len(batches) if batches else None


def held_out_batches(path: Path, tokenizer: Tokenizer, plan: Plan) -> list[Batch]:
    """A few batches of intent lines, without replies, of a task file; none when there is no file."""
    if not path.exists():
        return []
    lines = [line for line in read_lines(path) if line.intent is not None]
    lines = [replace(line, answer=f"{intent_line(line.intent, line.slots)}\n") for line in lines]
    # A reply would follow: the end token that `encode` adds is not what the model is to say.
    examples = [replace(example, answer=example.answer[:-1]) for example in encode(lines, tokenizer)]
    rows = Rows(examples, tokenizer, plan.length)
    fitting = min(plan.rows, len(rows.epoch(0)["tokens"]) // CORES * CORES)
    return [batch for _, batch in zip(range(HELD_OUT_BATCHES), rows.batches(fitting))]


def timed_tokens(step: StepFunction, plan: Plan, rows: Rows, minutes: float) -> int:
    """The tokens that fit into `minutes`, by a few steps on weights that are thrown away."""
    state = optimizer.start(initial_weights(plan.shape, plan.seed))
    seconds, tokens = [], []
    for number, batch in zip(range(TIMED_STEPS + 1), rows.batches(plan.rows)):
        begun = time.monotonic()
        state, figures = step(state, batch, jnp.float32(0.0))
        figures["loss"].block_until_ready()
        if number > 0:  # The first compiles.
            seconds.append(time.monotonic() - begun)
            tokens.append(real_tokens(batch))
    return int(60 * minutes * np.mean(tokens) / np.median(seconds))


def tokens_in(minutes: float, step: StepFunction, plan: Plan, rows: Rows, out: Path) -> int:
    """The length of a run of some minutes: that of the checkpoint if there is one, else by the speed of its first steps."""
    path = out / "checkpoint.safetensors"
    if path.exists():
        return int(checkpoint.load(path)[1]["plan"]["total_tokens"])
    return timed_tokens(step, plan, rows, minutes)


def run(
    plan: Plan,
    step: StepFunction,
    rows: Rows,
    held_out: Callable[[dict], float | None],
    out: Path,
    stopped: Callable[[], bool] = lambda: False,
    first: Weights | None = None,
) -> optimizer.State | None:
    """Trains to the end of the plan, from the checkpoint if there is one; none when it was stopped.

    Without a checkpoint it begins with the weights `first`, or with random ones.
    """
    path = out / "checkpoint.safetensors"
    description = json.loads(json.dumps(asdict(plan)))
    first = initial_weights(plan.shape, plan.seed) if first is None else first
    # A step takes its state's memory: what the caller holds is copied.
    state, tokens, seconds = optimizer.start(jax.tree.map(jnp.copy, first)), 0, 0.0
    if path.exists():
        state, saved = checkpoint.load(path)
        if saved["plan"] != description:
            raise ValueError(f"expected a checkpoint of this plan, found one of {saved['plan']}")
        tokens, seconds = int(saved["tokens"]), float(saved["seconds"])
    begun, logged, kept = time.monotonic() - seconds, time.monotonic(), time.monotonic()
    tokens_logged, answers = tokens, []

    def log(now: float) -> None:
        speed = (tokens - tokens_logged) / max(now - logged, 1e-9)
        line = {
            "step": int(state.step),
            "tokens": tokens,
            "answer_loss": round(float(np.mean([float(a) for a in answers])), 4) if answers else None,
            "held_out_loss": held_out(state.weights),
            "tokens_per_second": round(speed),
            "learning_rate": optimizer.rate(tokens / plan.total_tokens, plan.optimizer),
            "minutes": round((now - begun) / 60, 1),
            "minutes_left": round((plan.total_tokens - tokens) / max(speed, 1.0) / 60, 1),
        }
        text = json.dumps(line)
        print(text, flush=True)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def keep() -> None:
        checkpoint.save(path, state, {"plan": description, "tokens": tokens, "seconds": time.monotonic() - begun})

    for batch in rows.batches(plan.rows, first=int(state.step)):
        if tokens >= plan.total_tokens or stopped():
            break
        rate = optimizer.rate(tokens / plan.total_tokens, plan.optimizer)
        state, figures = step(state, batch, jnp.float32(rate))
        tokens += real_tokens(batch)
        answers.append(figures["answers"])
        # Waits for the step, so that no queue of steps outlives a signal.
        figures["answers"].block_until_ready()
        now = time.monotonic()
        if now - logged >= LOG_SECONDS:
            log(now)
            logged, tokens_logged, answers = time.monotonic(), tokens, []
        if now - kept >= CHECKPOINT_SECONDS:
            keep()
            kept = time.monotonic()
    log(time.monotonic())
    keep()
    if tokens < plan.total_tokens:
        return None
    save_file({name: np.asarray(w) for name, w in state.weights.items()}, out / "weights.safetensors")
    return state


def prepared_tokenizer(data: Path, out: Path) -> Tokenizer:
    """The one in the output folder, or one trained on the data and written there."""
    path = out / "tokenizer.json"
    if not path.exists():
        trained = vocabulary.train(list(read_lines(data / "train.jsonl")))
        vocabulary.save(trained, out, Shape().max_position_embeddings)
    return Tokenizer.from_file(str(path))


def main() -> None:
    """Reads the options, prepares the data and trains."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for all that the run writes")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--tokens", type=int, help="length of the run, without padding and system text")
    length.add_argument("--minutes", type=float, help="length of the run, by the speed of its first steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=Plan.rows, help="rows of a batch")
    parser.add_argument("--length", type=int, default=Plan.length, help="tokens of a row")
    parser.add_argument("--rate", type=float, default=optimizer.Settings.peak_rate, help="peak learning rate")
    parser.add_argument("--spelled", type=float, default=Plan.spelled, help="share of examples with names in pieces")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    stop_signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stop_signals.append(received))

    tokenizer = prepared_tokenizer(arguments.data, out)
    examples = encode(list(read_lines(arguments.data / "train.jsonl")), tokenizer)
    plan = Plan(
        total_tokens=arguments.tokens or 0,
        seed=arguments.seed,
        rows=arguments.rows,
        length=arguments.length,
        spelled=arguments.spelled,
        optimizer=optimizer.Settings(peak_rate=arguments.rate),
    )
    rows = Rows(examples, tokenizer, plan.length, plan.seed, plan.spelled, plan.prompt_weight)
    if rows.too_long:
        print(json.dumps({"examples_too_long": rows.too_long, "of": len(examples)}), flush=True)
    step = make_step(plan)
    if arguments.minutes:
        plan = replace(plan, total_tokens=tokens_in(arguments.minutes, step, plan, rows, out))
    per_epoch = sum(len(e.prompt) + len(e.answer) - 1 for e in rows.examples)
    print(json.dumps({"plan": asdict(plan), "examples": len(rows.examples), "tokens_per_epoch": per_epoch}), flush=True)

    batches = held_out_batches(arguments.data / "heldout.jsonl", tokenizer, plan)
    if run(plan, step, rows, held_out_loss(plan, batches), out, lambda: bool(stop_signals)) is None:
        raise SystemExit("stopped; the same command goes on from the checkpoint")


if __name__ == "__main__":
    main()
