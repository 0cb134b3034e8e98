"""The tokenizer of the embedded base `tiny`: byte-level BPE with merges written by hand.

Every digit is one token, with its leading space or without, and so is each fixed piece of the
scratchpad format. All 256 bytes are there, so that any text survives encoding and decoding.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

EOS = "<|endoftext|>"
WORDS = ("Input:", "Target:", "<scratch>", "</scratch>")
VOCABULARY = 288
"""Rows of the embedding: all tokens, rounded up to a multiple of 32."""


def build() -> Tokenizer:
    """The tokenizer; ids 0 to 255 are the bytes, then the merges, the words and the end token."""
    space, newline = "\u0120", "\u010a"  # how byte-level BPE writes a space and a line feed
    merges = [(space, str(digit)) for digit in range(10)]
    merges += [(space, "+"), (space, ","), ("C", ":"), (space, "C:"), (newline, newline)]
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet()) + [a + b for a, b in merges]
    tokenizer = Tokenizer(BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    # Without the usual regular expression: it would part " C" from ":".
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    tokenizer.add_special_tokens([AddedToken(EOS, normalized=False, special=True)])
    return tokenizer


def save(folder: Path) -> Tokenizer:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` as transformers reads them."""
    tokenizer = build()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": EOS,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return tokenizer
