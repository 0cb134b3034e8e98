"""The import of a real GGUF file: SmolLM2-135M-Instruct, Q4_1 with a Q8_0 embedding."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import open_engine
from star_mlx.gguf.architectures import ARCHITECTURES
from star_mlx.types import Decoding
from tests.downloads import smollm2, smollm2_gguf  # noqa: F401

pytestmark = pytest.mark.download
reader = pytest.importorskip("gguf")

TEXT = """
the The of and Natalia sold clips to 48 friends 1,234.50 $3 50% #### 72 <<48/2=24>>24 = + - * / ( )
don't we'll I'm you've she'd it's they're DON'T WE'LL 's 't 'S ’s naïve café coöperate Straße ẞ ﬁ
Привет мир Γειά こんにちは 世界 你好 한국어 ไทย हिन्दी
नमस्ते العربية שלום ١٢٣ ४५६ Ⅷ ½ ² ³ ㊿ 𝟙𝟚 😀 👩‍👩‍👧 🇩🇪 ❤️ … — “q” «x»
def f(x): return x**2 if x>0 else -x; {"a":[1,2]} <b>&amp;</b> https://a.b/c?d=e#f a_b camelCase
<|im_start|>user <|im_end|> <|endoftext|> <|im_ end|> <repo_name> <file_sep> <empty_output>
aaaaaaaaaaaaaaaa zzzzzz ...... !!! ?! -- \x00 \x07 \x7f \u200b \u200d \ufeff \u00ad
e\u0301 \u0e33 \U0010ffff \ufffd \ue000
"""
PIECES = TEXT.split()
SPACES = ["", "", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\n ", "\r\n", "        ",
          "\u00a0", "\u3000", "\u2028", "\x0b", "\x0c", "\x85", "\t\t "]  # fmt: skip
ABSENT = "[\x04\x06\x13\x14\x16\x1d\U00040000-\U000bffff]"  # SmolLM2 has no token for these bytes
# SHA-256 of llama.cpp's own token ids (node-llama-cpp 3.22.1) of strings(), as JSON
LLAMA_CPP = "ff16bea125a6b334ee07aa5c69e3f2a593c0bfbbde7e301b242fedac574f6ac1"


def strings() -> list[str]:
    """1,500 texts, the same on every machine: pieces and spaces, characters, digits, bytes.

    Characters the vocabulary cannot spell are left out: llama.cpp and Hugging Face both drop
    them, but Hugging Face (which trained the model) then merges what stood on their two sides.
    """
    rng = random.Random(0)

    def pick(options: Any) -> Any:
        return options[int(rng.random() * len(options))]

    def several(most: int, make: Callable[[], str]) -> str:
        return "".join(make() for _ in range(1 + int(rng.random() * most)))

    made = ["", " ", "\n", *PIECES, *SPACES]
    while len(made) < 900:
        made.append(several(12, lambda: pick(SPACES) + pick(PIECES)) + pick(SPACES))
    while len(made) < 1100:
        made.append(several(40, lambda: chr(pick(range(1, 0x3000)))))
    while len(made) < 1300:
        made.append(several(30, lambda: pick("0123456789 ., +-=\n")))
    while len(made) < 1500:
        made.append(bytes(pick(range(256)) for _ in range(40)).decode("utf-8", "replace"))
    return [re.sub(ABSENT, "", text) for text in made]


@pytest.fixture(scope="module")
def folder(smollm2: Path) -> Path:  # noqa: F811
    return smollm2


def test_every_weight_has_the_value_it_has_in_the_file(smollm2_gguf: Path, folder: Path) -> None:  # noqa: F811
    from mlx.utils import tree_flatten

    from star_mlx.engine import resolve
    from star_mlx.engine.load import load

    ours = dict(tree_flatten(load(resolve.find(str(folder))).model.parameters()))
    tensors = reader.GGUFReader(smollm2_gguf).tensors
    assert len(tensors) == len(ours) == 272
    modules = {**ARCHITECTURES["llama"].linear, **ARCHITECTURES["llama"].norms}
    for tensor in tensors:
        _, layer, part, *_ = [*tensor.name.split("."), ""]
        name = {"token_embd.weight": "model.embed_tokens", "output_norm.weight": "model.norm"}.get(
            tensor.name, f"model.layers.{layer}.{modules.get(part)}"
        )
        theirs = reader.dequantize(tensor.data, tensor.tensor_type)
        if heads := {"attn_q": 9, "attn_k": 3}.get(part):
            theirs = theirs.reshape(heads, 32, 2, -1).swapaxes(1, 2).reshape(theirs.shape)
        have = np.array(ours[f"{name}.weight"])
        assert have.dtype == np.float32
        assert np.array_equal(have.view(np.uint32), theirs.view(np.uint32)), tensor.name


def test_it_answers(folder: Path) -> None:
    completion = open_engine(str(folder)).generate(
        ["The capital of France is"],
        Decoding(max_tokens=12, stop=()),
        prefix="",
        adapter=None,
        seeds=[0],
        progress=lambda done, tokens: None,
    )[0]
    assert "Paris" in completion.text


def test_the_config_is_the_files(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert (config["rope_theta"], config["rms_norm_eps"]) == (100000.0, 1e-5)
    assert (config["eos_token_id"], config["bos_token_id"]) == ([2, 0], 1)
    assert config["quantization"] == {
        "group_size": 32,
        "bits": 4,
        "mode": "affine",
        "model.embed_tokens": {"group_size": 32, "bits": 8, "mode": "affine"},
    }


def test_every_text_has_llama_cpps_tokens(folder: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = strings()
    assert len(set(texts)) > 1200
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest() == LLAMA_CPP
    for text, row in zip(texts, ids, strict=True):
        assert tokenizer.decode(row, skip_special_tokens=False) == text


def test_the_chat_template_works(folder: Path) -> None:
    from mlx_lm.utils import load_tokenizer

    tokenizer = load_tokenizer(folder)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=True)
    text = tokenizer.decode(ids if isinstance(ids, list) else ids["input_ids"])
    assert text.startswith("<|im_start|>system\n")
    assert "<|im_start|>user\nHi<|im_end|>\n" in text
