"""A run as a Hugging Face folder: `python -m training.export --run DIR --out DIR`."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from training.lines import END
from training.model import Shape, tensor_shapes

LARGEST_HALF = 65504.0


def config_of(shape: Shape, end: int) -> dict[str, object]:
    """`config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **shape.as_dict(),
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": end,
        "torch_dtype": "float16",
    }


def half_weights(weights: dict[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """The weights in 16 bits; fails when one is absent, of another shape, or out of range."""
    shapes = tensor_shapes(shape)
    if weights.keys() != shapes.keys():
        raise ValueError(f"expected the tensors of the shape, found others: {sorted(weights.keys() ^ shapes.keys())}")
    for name, tensor in weights.items():
        if tensor.shape != shapes[name]:
            raise ValueError(f"{name}: expected {shapes[name]}, found {tensor.shape}")
        if not np.all(np.abs(tensor) <= LARGEST_HALF):
            raise ValueError(f"{name}: expected numbers up to {LARGEST_HALF}, found {np.max(np.abs(tensor))}")
    return {name: weights[name].astype(np.float16) for name in shapes}


def export(run: Path, out: Path, shape: Shape) -> None:
    """Writes config, weights in 16 bits, tokenizer, generation settings, and the recipe of a run for low bits."""
    out.mkdir(parents=True, exist_ok=True)
    end = Tokenizer.from_file(str(run / "tokenizer.json")).token_to_id(END)
    weights = half_weights(load_file(run / "weights.safetensors"), shape)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    for name, content in {
        "config.json": config_of(shape, end),
        "generation_config.json": {"eos_token_id": end, "pad_token_id": end, "do_sample": False},
    }.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(run / name, out / name)
    if (run / "recipe.toml").exists():
        shutil.copyfile(run / "recipe.toml", out / "recipe.toml")


def main() -> None:
    """Reads the options and exports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", type=Path, required=True, help="a run's output")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    export(arguments.run, arguments.out, Shape())


if __name__ == "__main__":
    main()
