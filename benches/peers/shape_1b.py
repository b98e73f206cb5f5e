"""Writes a GGUF file of Llama-3.2-1B's shape (1.236 B weights, tied head) with random 16-bit weights.

The tokenizer is that of the GGUF file given first, filled up with unused tokens: speed does not depend on what weights
mean. Needs the Python packages gguf and numpy.

    python3 shape_1b.py TOKENIZER_FROM.gguf OUT.gguf
"""

import os
import sys

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD, VOCAB = 2048, 16, 32, 8, 64, 8192, 128256


def main() -> None:
    source, out = gguf.GGUFReader(sys.argv[1]), sys.argv[2]
    writer = gguf.GGUFWriter(out + ".part", "llama")
    writer.add_name("llama-3.2-1b-shape")
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(1)

    def field(name: str):
        return source.fields[f"tokenizer.ggml.{name}"].contents()

    tokens, types = list(field("tokens")), list(field("token_type"))
    missing = VOCAB - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(field("pre"))
    writer.add_token_list(tokens + [f"<unused {i}>" for i in range(missing)])
    writer.add_token_types(types + [5] * missing)
    writer.add_token_merges(field("merges"))
    writer.add_bos_token_id(int(field("bos_token_id")))
    writer.add_eos_token_id(int(field("eos_token_id")))
    if "tokenizer.chat_template" in source.fields:
        writer.add_chat_template(source.fields["tokenizer.chat_template"].contents())

    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, cols: int) -> None:
        weights = random.standard_normal((rows, cols), dtype=np.float32) * 0.02
        writer.add_tensor(name + ".weight", weights.astype(np.float16))

    def norm(name: str) -> None:
        writer.add_tensor(name + ".weight", np.ones(HIDDEN, dtype=np.float32))

    matrix("token_embd", VOCAB, HIDDEN)
    norm("output_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        norm(block + "attn_norm")
        matrix(block + "attn_q", HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_k", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_v", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(block + "attn_output", HIDDEN, HEADS * HEAD_DIM)
        norm(block + "ffn_norm")
        matrix(block + "ffn_gate", FEED_FORWARD, HIDDEN)
        matrix(block + "ffn_up", FEED_FORWARD, HIDDEN)
        matrix(block + "ffn_down", HIDDEN, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(out + ".part", out)


if __name__ == "__main__":
    main()
