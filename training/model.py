"""The forward pass of hearth in JAX: Llama, f32, made for a few CPU cores.

Weights keep the names, order and orientation of Hugging Face (`[out, in]`), so that exporting is
renaming. Shapes below: B rows, T tokens a row, D hidden, H heads, K key heads, G = H / K, E a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

Weights = dict[str, jax.Array]
"""Tensors by their names in safetensors."""

Transform = Callable[[Weights], Weights]
"""Changes weights before they are used, such as to the values that a low-bit code can hold."""


@dataclass(frozen=True)
class Shape:
    """Hyperparameters under the names of `config.json`."""

    vocab_size: int = 2048
    hidden_size: int = 192
    intermediate_size: int = 448
    num_hidden_layers: int = 5
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    head_dim: int = 32
    max_position_embeddings: int = 256
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    def as_dict(self) -> dict[str, int | float]:
        """For `config.json` and checkpoints."""
        return asdict(self)


def unchanged(weights: Weights) -> Weights:
    """The transform of plain training."""
    return weights


def layer_name(layer: int, tensor: str) -> str:
    """`model.layers.0.self_attn.q_proj.weight`."""
    return f"model.layers.{layer}.{tensor}.weight"


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    query = shape.num_attention_heads * shape.head_dim
    key = shape.num_key_value_heads * shape.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab_size, hidden)}
    for layer in range(shape.num_hidden_layers):
        for tensor, size in {
            "input_layernorm": (hidden,),
            "self_attn.q_proj": (query, hidden),
            "self_attn.k_proj": (key, hidden),
            "self_attn.v_proj": (key, hidden),
            "self_attn.o_proj": (hidden, query),
            "post_attention_layernorm": (hidden,),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }.items():
            shapes[layer_name(layer, tensor)] = size
    shapes["model.norm.weight"] = (hidden,)
    return shapes


def initial_weights(shape: Shape, seed: int) -> Weights:
    """Norms one, others normal of 1/sqrt(inputs); what adds to the residual is smaller by depth."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, size in tensor_shapes(shape).items():
        if len(size) == 1:
            weights[name] = jnp.ones(size, jnp.float32)
            continue
        deviation = size[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            deviation /= (2 * shape.num_hidden_layers) ** 0.5
        elif name == "model.embed_tokens.weight":
            deviation = 0.04
        weights[name] = jnp.asarray(random.normal(0.0, deviation, size), jnp.float32)
    return weights


def linear(x: jax.Array, weight: jax.Array) -> jax.Array:
    """`[..., in]` times `[out, in]` is `[..., out]`."""
    return jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))


def rms_norm(x: jax.Array, weight: jax.Array, epsilon: float) -> jax.Array:
    """Over the last axis."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotary(positions: jax.Array, shape: Shape) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines `[B, T, 1, E / 2]`."""
    half = shape.head_dim // 2
    frequencies = shape.rope_theta ** (-np.arange(half, dtype=np.float64) / half)
    angles = positions[..., None, None].astype(jnp.float32) * jnp.asarray(frequencies, jnp.float32)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turns element i of a head `[..., E]` with element i + E / 2, as Hugging Face does."""
    cosine, sine = rope
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, shape: Shape) -> jax.Array:
    """q `[B, T, H, E]`, k and v `[B, S, K, E]`, mask `[B, T, S]`; result `[B, T, H * E]`."""
    batch, length = q.shape[:2]
    kv, group = shape.num_key_value_heads, shape.num_attention_heads // shape.num_key_value_heads
    # The heads that share a key head lie below each other: one product for all of them.
    q = q.reshape(batch, length, kv, group, shape.head_dim).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, kv, group * length, shape.head_dim) * shape.head_dim**-0.5
    scores = jnp.einsum("bkte,bske->bkts", q, k).reshape(batch, kv, group, length, -1)
    scores = jnp.where(mask[:, None, None], scores, -1e9)
    shares = jax.nn.softmax(scores, axis=-1).reshape(batch, kv, group * length, -1)
    mixed = jnp.einsum("bkts,bske->bkte", shares, v).reshape(batch, kv, group, length, shape.head_dim)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, length, -1)


Cache = list[tuple[jax.Array, jax.Array]]
"""Keys and values `[B, S, K, E]` of each layer."""


def forward(
    weights: Weights,
    tokens: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    shape: Shape,
    cache: Cache | None = None,
    at: jax.Array | int = 0,
) -> tuple[jax.Array, Cache]:
    """Hidden states `[B, T, D]` after the last norm, and the keys and values of every layer.

    Tokens and positions are `[B, T]`, mask `[B, T, S]`. With a cache the new keys are written into it
    from column `at` on, and S is its length; without one S is T.
    """
    epsilon = shape.rms_norm_eps
    rope = rotary(positions, shape)
    x = weights["model.embed_tokens.weight"][tokens]
    kept: Cache = []
    for layer in range(shape.num_hidden_layers):
        def weight(tensor: str, layer: int = layer) -> jax.Array:
            return weights[layer_name(layer, tensor)]

        normed = rms_norm(x, weight("input_layernorm"), epsilon)
        heads = [weight(f"self_attn.{part}_proj") for part in "qkv"]
        parts = linear(normed, jnp.concatenate(heads)).reshape(*x.shape[:2], -1, shape.head_dim)
        ends = [shape.num_attention_heads, shape.num_attention_heads + shape.num_key_value_heads]
        q, k, v = jnp.split(parts, ends, axis=2)
        q, k = rotate(q, rope), rotate(k, rope)
        if cache is not None:
            k, v = (jax.lax.dynamic_update_slice_in_dim(old, new, at, 1) for old, new in zip(cache[layer], (k, v)))
        kept.append((k, v))
        x = x + linear(attention(q, k, v, mask, shape), weight("self_attn.o_proj"))

        normed = rms_norm(x, weight("post_attention_layernorm"), epsilon)
        both = linear(normed, jnp.concatenate([weight("mlp.gate_proj"), weight("mlp.up_proj")]))
        gate, up = jnp.split(both, 2, axis=-1)
        x = x + linear(jax.nn.silu(gate) * up, weight("mlp.down_proj"))
    return rms_norm(x, weights["model.norm.weight"], epsilon), kept


def logits(weights: Weights, hidden: jax.Array) -> jax.Array:
    """`[..., D]` to `[..., vocabulary]` by the embedding, which is the head too."""
    return linear(hidden, weights["model.embed_tokens.weight"])


def packed_mask(segments: jax.Array) -> jax.Array:
    """Who sees whom in packed rows `[B, T]`: mask `[B, T, T]`.

    Segment 0 is the system text that all examples of a row share; others see it, themselves and
    nobody else. Padding is segment -1.
    """
    length = segments.shape[1]
    asking, asked = segments[:, :, None], segments[:, None, :]
    causal = jnp.tril(jnp.ones((length, length), bool))
    return causal & ((asking == asked) | ((asked == 0) & (asking > 0)))


def token_losses(
    weights: Weights, batch: dict[str, jax.Array], shape: Shape, z_loss: float = 0.0
) -> jax.Array:
    """Cross entropy in nats of each next token `[B, T]`, plus `z_loss` times the squared log-sum."""
    mask = packed_mask(batch["segments"])
    hidden, _ = forward(weights, batch["tokens"], batch["positions"], mask, shape)
    log_sum = jax.nn.logsumexp(logits(weights, hidden), axis=-1)
    # Computed once more from the embedding: the gradient of picking from all scores is a slow scatter.
    right = jnp.sum(hidden * weights["model.embed_tokens.weight"][batch["targets"]], axis=-1)
    return log_sum - right + z_loss * log_sum**2
