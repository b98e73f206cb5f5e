"""The byte-level BPE of hearth: `python -m training.tokenizer --data DIR --out DIR`.

An answer starts only after its intent line, and every token of that line costs a fifth of a second
on a small board. So names of intents are words of the vocabulary, `@slot` keys are tokens of their
own, and frequent words are looked up whole (`ignore_merges`, as in Llama 3) and need no merges:
none of the 2,048 places goes to a piece that occurs only on the way to a longer one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.lines import (
    END,
    HEARTH,
    INTENT_LINE,
    PREFIX,
    SPECIAL_TOKENS,
    SYSTEM,
    SYSTEM_TEXT,
    USER,
    Line,
    read_lines,
)

VOCAB = 2048
MERGES = 640
"""Pieces for words that are not looked up whole: names nobody has said in training, mostly."""

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    f"{{%- if messages[0].role != 'system' -%}}{{{{ '{PREFIX}' }}}}{{%- endif -%}}"
    "{%- for message in messages -%}"
    f"{{%- if message.role == 'system' -%}}{{{{ '{SYSTEM}' + message.content }}}}"
    f"{{%- elif message.role == 'user' -%}}{{{{ '{USER}' + message.content }}}}"
    f"{{%- else -%}}{{{{ '{HEARTH}' + message.content + '{END}' }}}}{{%- endif -%}}"
    "{%- endfor -%}"
    f"{{%- if add_generation_prompt -%}}{{{{ '{HEARTH}' }}}}{{%- endif -%}}"
)
"""Renders the text that training saw; further turns follow the end of the last answer."""


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Cuts as Llama 3 does: ` kitchen` is one word, in a command and in an answer."""
    split = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, byte_level])


def names_of(lines: Iterable[Line]) -> tuple[list[str], list[str]]:
    """All names of intents and all `@slot` keys, sorted; fails on a first line of another form."""
    intents, keys = set(), set()
    for line in lines:
        first = (line.answer or "").split("\n", 1)[0]
        if not INTENT_LINE.fullmatch(first):
            raise ValueError(f"expected an intent line, found {first!r} for {line.prompt!r}")
        intent, *pairs = first.split("@")
        intents.add(intent)
        keys.update("@" + pair.split(" ", 1)[0] for pair in pairs)
    return sorted(intents), sorted(keys)


def pieces_of(line: Line) -> list[str]:
    """The texts between special tokens and `@slot` keys, without the name of the intent."""
    first, _, reply = (line.answer or "").partition("\n")
    values = [" " + pair.split(" ", 1)[1] for pair in first.split("@")[1:]]
    return [line.prompt, *values, "\n", reply]


def train(lines: list[Line], vocab: int = VOCAB, merges: int = MERGES) -> Tokenizer:
    """A tokenizer of at most `vocab` tokens, of which `merges` are merged from others."""
    intents, keys = names_of(lines)
    cut = pre_tokenizer()
    words: Counter[str] = Counter()
    for line in lines:
        for piece in pieces_of(line):
            words.update(word for word, _ in cut.pre_tokenize_str(piece))

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = cut
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL_TOKENS) + 256 + merges,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator((p for line in lines for p in pieces_of(line)), trainer)

    description = json.loads(trained.to_str())
    model = description["model"]
    model["ignore_merges"] = True
    ids: dict[str, int] = model["vocab"]
    # The system text stands in every conversation: the fewer positions, the less attention costs.
    for word in [*intents, *(word for word, _ in cut.pre_tokenize_str(SYSTEM_TEXT))]:
        ids.setdefault(word, len(ids))
    free = vocab - len(ids) - len(keys)
    if free < 0:
        raise ValueError(f"expected at most {vocab} tokens, found {vocab - free} before whole words")
    bpe = trained.model
    saved = {word: count * (len(bpe.tokenize(word)) - 1) for word, count in words.items() if word not in ids}
    best = sorted(saved, key=lambda word: (-saved[word], word))
    # Twice at least: a word said once teaches its token nothing.
    for word in [word for word in best if saved[word] > 0 and words[word] > 1][:free]:
        ids[word] = len(ids)
    for key in keys:
        description["added_tokens"].append(
            {"id": len(ids) + keys.index(key), "content": key, "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": False, "special": False}
        )
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.decoder = decoders.ByteLevel()
    check(tokenizer, intents, keys)
    return tokenizer


def check(tokenizer: Tokenizer, intents: Iterable[str], keys: Iterable[str]) -> None:
    """Fails unless names and keys are one token each and every byte has one."""
    for text in [*SPECIAL_TOKENS, *intents, *keys]:
        tokens = tokenizer.encode(text).tokens
        if tokens != [text]:
            raise ValueError(f"expected one token for {text!r}, found {tokens}")
    absent = [byte for byte in pre_tokenizers.ByteLevel.alphabet() if tokenizer.token_to_id(byte) is None]
    if absent:
        raise ValueError(f"expected a token for each byte, found none for {absent}")


def spellings(tokenizer: Tokenizer) -> dict[int, list[int]]:
    """For each lower-case word that is looked up whole, its pieces as an unknown word would have."""
    description = json.loads(tokenizer.to_str())
    description["model"]["ignore_merges"] = False
    merged = Tokenizer.from_str(json.dumps(description))
    spelled = {}
    for token in range(len(SPECIAL_TOKENS), tokenizer.get_vocab_size()):
        text = tokenizer.decode([token])
        if text.strip().isalpha() and text.islower():
            pieces = merged.encode(text).ids
            if len(pieces) > 1:
                spelled[token] = pieces
    return spelled


def save(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "pad_token": END,
        "chat_template": CHAT_TEMPLATE,
        "whittle_dialogue": "commands",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Trains on `train.jsonl` and says how long the texts became."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tokenizer")
    parser.add_argument("--merges", type=int, default=MERGES, help="tokens that are merged from others")
    arguments = parser.parse_args()
    lines = list(read_lines(arguments.data / "train.jsonl"))
    tokenizer = train(lines, merges=arguments.merges)
    save(tokenizer, arguments.out, context=256)

    def mean(texts: list[str]) -> float:
        return sum(len(encoding) for encoding in tokenizer.encode_batch(texts)) / max(len(texts), 1)

    report = {
        "tokens": tokenizer.get_vocab_size(),
        "prompt": mean([line.prompt for line in lines]),
        "intent_line": mean([line.answer.split("\n", 1)[0] for line in lines if line.answer]),
        "answer": mean([line.answer for line in lines if line.answer]),
    }
    held_out = arguments.data / "heldout.jsonl"
    if held_out.exists():
        report["held_out_prompt"] = mean([line.prompt for line in read_lines(held_out)])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
