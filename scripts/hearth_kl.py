"""KL of an exported hearth from its source, by a program that shares no line with Whittle.

    hearth_kl.py SOURCE CANDIDATE TEXT.txt TOKENS

SOURCE and CANDIDATE are Hugging Face folders, such as assets/hearth and what `whittle export F --model hearth
--safetensors CANDIDATE --dequantize f32` writes. Scores the second half of each window of 512 tokens, or of the
model's context where that is shorter, in 64-bit floats. Whittle rounds activations to 8 bits where weights have 8 and
fewer: its own figure is a little larger then, and the same where every matrix has 16. Needs numpy and tokenizers.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

LONGEST_WINDOW = 512


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of model.safetensors in 64-bit floats."""
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    kinds = {"F16": np.float16, "F32": np.float32}
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[start:end], kinds[entry["dtype"]])
        found[name] = values.astype(np.float64).reshape(entry["shape"])
    return found


def norm(x: np.ndarray, gain: np.ndarray, epsilon: float) -> np.ndarray:
    """Root mean square norm of each row."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * gain


def rotated(x: np.ndarray, base: float) -> np.ndarray:
    """Rotary position embedding of `[positions, heads, width]`, halves of a head paired."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[0])[:, None] * base ** (-np.arange(half) / half)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cosine - b * sine, b * cosine + a * sine], -1)


def log_probabilities(weights: dict[str, np.ndarray], config: dict, tokens: list[int]) -> np.ndarray:
    """`[tokens, vocabulary]` of a Llama."""
    heads, kv_heads, width = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    epsilon, base, count = config["rms_norm_eps"], config["rope_theta"], len(tokens)
    x = weights["model.embed_tokens.weight"][tokens]
    future = np.triu(np.full((count, count), -np.inf), 1)
    for layer in range(config["num_hidden_layers"]):

        def of(name: str, layer: int = layer) -> np.ndarray:
            return weights[f"model.layers.{layer}.{name}.weight"]

        n = norm(x, of("input_layernorm"), epsilon)
        q = rotated((n @ of("self_attn.q_proj").T).reshape(count, heads, width), base)
        k = rotated((n @ of("self_attn.k_proj").T).reshape(count, kv_heads, width), base)
        v = (n @ of("self_attn.v_proj").T).reshape(count, kv_heads, width)
        k, v = (np.repeat(y, heads // kv_heads, 1) for y in (k, v))
        scores = np.einsum("qhw,khw->hqk", q, k) / np.sqrt(width) + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khw->qhw", shares, v).reshape(count, -1) @ of("self_attn.o_proj").T
        n = norm(x, of("post_attention_layernorm"), epsilon)
        gate = n @ of("mlp.gate_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * (n @ of("mlp.up_proj").T)) @ of("mlp.down_proj").T
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    logits = norm(x, weights["model.norm.weight"], epsilon) @ head.T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def main() -> None:
    """Prints the means over all scored positions."""
    source, candidate, text, tokens = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    config = json.loads((source / "config.json").read_text())
    window = min(LONGEST_WINDOW, config["max_position_embeddings"])
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    ids = tokenizer.encode(Path(text).read_text(), add_special_tokens=False).ids[:tokens]
    models = [tensors(source), tensors(candidate)]
    divergences, surprises, same = [], ([], []), []
    for start in range(0, len(ids) - window + 1, window):
        part = ids[start : start + window]
        p, q = (log_probabilities(model, config, part)[window // 2 : -1] for model in models)
        divergences.append((np.exp(p) * (p - q)).sum(-1))
        nexts = part[window // 2 + 1 :]
        for found, rows in zip(surprises, (p, q), strict=True):
            found.append(-rows[np.arange(len(nexts)), nexts])
        same.append(p.argmax(-1) == q.argmax(-1))
    perplexities = [np.exp(np.concatenate(found).mean()) for found in surprises]
    print(
        f"{sum(map(len, divergences))} positions in {len(divergences)} windows of {window}: "
        f"KL {np.concatenate(divergences).mean():.6f}, same top token {100 * np.concatenate(same).mean():.2f} %, "
        f"perplexity {perplexities[1]:.4f} (source {perplexities[0]:.4f})"
    )


if __name__ == "__main__":
    main()
