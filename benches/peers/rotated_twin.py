"""Writes a twin of a `llama` GGUF file: the same function in another basis, as 16-bit floats.

Gains of the norms go into the matrices that follow, the head stands apart from the embedding, and the residual stream
turns by one random orthogonal matrix with a fixed seed. A model that is only at hand quantized lies on the grid of its
format; its twin lies on none, so that no format looks better on it than on any other model. Needs the Python packages
gguf and numpy.

    python3 rotated_twin.py IN.gguf OUT.gguf
"""

import os
import sys

import gguf
import numpy as np

SEED = 20
# Matrices that read the residual stream, and the norm before them.
READS = {"attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm", "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm"}
WRITES = ("attn_output", "ffn_down")


def orthogonal(size: int) -> np.ndarray:
    """A random rotation, from the QR factors of a Gaussian matrix (Mezzadri 2007, arXiv:math-ph/0609050)."""
    q, r = np.linalg.qr(np.random.default_rng(SEED).standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def main() -> None:
    source, out = gguf.GGUFReader(sys.argv[1]), sys.argv[2]
    if source.fields["general.architecture"].contents() != "llama":
        sys.exit("rotated_twin takes models of the architecture llama")
    # Decoded as llama.cpp does it: scale and minimum in 32 bits.
    values = {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float64) for t in source.tensors}
    embedding = values["token_embd.weight"]
    turn = orthogonal(embedding.shape[1])
    head = values.get("output.weight", embedding)

    writer = gguf.GGUFWriter(out + ".part", "llama")
    for name, field in source.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)

    def matrix(name: str, weights: np.ndarray) -> None:
        writer.add_tensor(name, weights.astype(np.float16))

    matrix("token_embd.weight", embedding @ turn)
    matrix("output.weight", head * values["output_norm.weight"] @ turn)
    for name, weights in values.items():
        block, _, role = name.removesuffix(".weight").rpartition(".")
        if role in READS:
            matrix(name, weights * values[f"{block}.{READS[role]}.weight"] @ turn)
        elif role in WRITES:
            matrix(name, turn.T @ weights)
        elif role.endswith("_norm"):
            writer.add_tensor(name, np.ones(weights.shape, dtype=np.float32))
        elif role not in ("token_embd", "output"):
            sys.exit(f"no place for tensor {name}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(out + ".part", out)


if __name__ == "__main__":
    main()
