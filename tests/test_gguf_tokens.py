"""Tokenizers of GGUF files: as llama.cpp's, for each pre-tokenizer and for three real files."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.container import Gguf
from star_mlx.gguf.words import WORDS
from tests import llama_cpp

TEXT = r"""
the The of and Natalia sold clips to 48 friends 1,234.50 $3 50% #### 72 <<48/2=24>>24 = + - * / ( )
don't we'll I'm you've she'd it's they're DON'T WE'LL I'M YOU'VE SHE'D THEY'RE 's 't 'S 'ſ 'ſt ’s ''
naïve café coöperate Straße ẞ ﬁ ÉCOLE camelCase HTTPServer x_y ǅ ʰ ª
Привет мир Γειά こんにちは カタカナ 世界 你好 한국어 ไทย हिन्दी বাংলা தமிழ் తెలుగు ქართული አማርኛ ខ្មែរ བོད
नमस्ते العربية שלום ١٢٣ ४५६ Ⅷ ½ ² ³ ㊿ 𝟙𝟚 😀 👩‍👩‍👧 👩🏽‍🚀 🏳️‍🌈 🇩🇪 ❤️ 1️⃣ … — “q” «x» 𐍈 𒀀 𠀀 ＡＢ １２
def f(x): return x**2 if x>0 else -x; {"a":[1,2]} <b>&amp;</b> https://a.b/c?d=e#f // /* */ a->b::c
\n \t @d $e `f` ~g ^h |i| <|im_start|>user <|im_end|> <|endoftext|> <|im_ end|> <|repo_name|> <bos>
<file_sep> <tool_call> </tool_call> <start_of_turn>model <end_of_turn> <unused0> <0x0A> <unk> <user>
[PAD151700] [multimodal] <s> aaaaaaaaaaaaaaaa ...... !!! ?! -- ▁ ▁a a▁b ▁▁ <0x4 1> <<user>>
1 12 123 1234 12345 123456789012345 3.14159 0x1F 1e-10 10:30 2024-01-02
"""
PIECES = [*TEXT.split(), "e\u0301", *"\0\a\x7f\u200b\u200d\ufeff\u00ad\u0345\u0e33\U0010ffff\ufffd"]
PIECES += "\ue000\u0378\U000e0001\u1c80\u3400\u180e"
SPACES = ["", "", "", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\n ", "\r\n", "\r",
          " " * 8, "\n" * 4, "\t\t ", *"\u00a0\u3000\u2028\u1680\v\f\x85"]  # fmt: skip
BLOCKS = ((0x3000, 0x3100), (0xE000, 0x10200), (0x1F300, 0x1F650), (0x20000, 0x20100))
YOUNG = "[\u0897\u1b4e\u1b4f\u1b7f\u1c89\u1c8a\u2427-\u2429]"  # of Unicode 16; llama.cpp's is 15
RUNS = (2, 3, 7, 16, 31, 32, 33, 64, 100)


@cache
def strings() -> tuple[str, ...]:
    """Over 1,500 texts: pieces between spaces, runs, digits, any characters, broken bytes."""
    rng = random.Random(0)

    def several(most: int, make: Callable[[], str]) -> str:
        return "".join(make() for _ in range(rng.randrange(1, most + 1)))

    def anything() -> str:
        return chr(rng.randrange(*rng.choice(((1, 0x3000), (1, 0x3000), *BLOCKS))))

    made: list[str] = ["", *PIECES, *SPACES, *(c * n for c in "a \n\t\r1.-='é世😀" for n in RUNS)]
    kinds: list[tuple[int, Callable[[], str]]] = [
        (500, lambda: several(12, lambda: rng.choice(SPACES) + rng.choice(PIECES))),
        (200, lambda: several(30, anything)),
        (200, lambda: several(30, lambda: rng.choice("0123456789 ., +-=\n"))),
        (200, lambda: several(30, lambda: rng.choice(" \t\n\r'sStlLvea1.É世é\u00a0"))),
        (150, lambda: rng.randbytes(40).decode("utf-8", "replace")),
    ]
    for n, make in kinds:
        made += [make() for _ in range(n)]
    return tuple(re.sub(YOUNG, "", text) for text in made)


def test_the_texts_are_many_and_varied() -> None:
    assert len(strings()) >= 1500
    assert len(set(strings())) > 1450
    assert len(set("".join(strings()))) > 3000


# --------------------------------------------------------------------------- every pre-tokenizer

# one name for each way that a text is split
KINDS = list({kind: name for name, kind in reversed(WORDS.items())}.values())[::-1]
MARKED = {"<|im_start|>": 3, "<|im_end|>": 1, "<tool_call>": 4, "<user>": 4, "<s>": 3, "<none>": 3}


@cache
def byte_level() -> dict[str, Any]:
    """A vocabulary learned from the texts as a whole, so that merges cross the borders of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learner.train_from_iterator(
        (text.replace("<", "") for text in strings()),  # no token is a marked one's text
        trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(learner.to_str())["model"]
    tokens = [*sorted(model["vocab"], key=model["vocab"].get), *MARKED]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * len(model["vocab"]) + list(MARKED.values()),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.bos_token_id": tokens.index("<s>"),
        "tokenizer.ggml.eos_token_id": tokens.index("<|im_end|>"),
    }


def converted(folder: Path, metadata: dict[str, Any]) -> Any:
    """The ``tokenizers.Tokenizer`` that is made of a file's metadata."""
    from tokenizers import Tokenizer

    folder.mkdir(exist_ok=True)
    gguf_tokenizer.write(Gguf(Path("a.gguf"), metadata, {}), folder, 256)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def differing(tokenizer: Any, texts: Any, wanted: list[list[int]], special: bool) -> list[str]:
    tokenizer.encode_special_tokens = not special
    have = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [text for text, a, b in zip(texts, have, wanted, strict=True) if a.ids != b]


@pytest.mark.download
@pytest.mark.parametrize("special", [True, False])
def test_every_pre_tokenizer_is_llama_cpps(tmp_path: Path, special: bool) -> None:
    from tests.test_gguf import write

    tokens = byte_level()["tokenizer.ggml.tokens"]
    paths = {name: tmp_path / f"{name}.gguf" for name in KINDS}
    for name, path in paths.items():
        write(path, metadata=byte_level() | {"tokenizer.ggml.pre": name})
    found = llama_cpp.tokens(
        list(paths.values()), strings(), tokens.index("<none>"), special=special
    )
    for name, ids in zip(paths, found, strict=True):
        tokenizer = converted(tmp_path / name, byte_level() | {"tokenizer.ggml.pre": name})
        assert differing(tokenizer, strings(), ids, special) == [], name
