"""Tokenizers of GGUF files: as llama.cpp's, for each pre-tokenizer and for three real files."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from star_mlx.errors import ModelError
from star_mlx.gguf import container, importing
from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.container import Gguf
from star_mlx.gguf.words import WORDS
from tests import llama_cpp
from tests.downloads import GEMMA3, QWEN2, SMOLLM2, Model, fetched
from tests.test_gguf import pieces, sentencepiece_metadata, write  # noqa: F401
from tests.test_gguf_smollm2 import ABSENT

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
    assert len(set("".join(strings()))) > 2500


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


def differing(tokenizer: Any, texts: Sequence[str], wanted: tuple[list[list[int]], ...]) -> Any:
    """The texts of other tokens than wanted: with special tokens read as such, and without."""
    found = []
    for plain, rows in enumerate(wanted):
        tokenizer.encode_special_tokens = bool(plain)
        have = tokenizer.encode_batch(texts, add_special_tokens=False)
        found.append([text for text, a, b in zip(texts, have, rows, strict=True) if a.ids != b])
    return tuple(found)


@pytest.mark.download
def test_every_pre_tokenizer_is_llama_cpps(tmp_path: Path) -> None:
    """On a sixth of the texts: its regular expressions take a second for a thousand."""
    texts, tokens = strings()[::6], byte_level()["tokenizer.ggml.tokens"]
    paths = {name: tmp_path / f"{name}.gguf" for name in KINDS}
    for name, path in paths.items():
        write(path, metadata=byte_level() | {"tokenizer.ggml.pre": name})
    found = llama_cpp.tokens(list(paths.values()), texts, tokens.index("<none>"))
    for name, ids in zip(paths, found, strict=True):
        tokenizer = converted(tmp_path / name, byte_level() | {"tokenizer.ggml.pre": name})
        assert differing(tokenizer, texts, ids) == ([], []), name


@pytest.mark.parametrize(
    ("pre", "text", "words"),
    [
        ("qwen2", "a 12 IT'S(b'ſ\r\n  x", "a| |1|2| IT|'S|(b|'ſ|\r\n| | x"),
        ("smaug-bpe", "a 1234 IT'S(b\n\n", "a| |123|4| IT|'S|(b|\n\n"),
        ("qwen35", "e\u0301a e\u0301 12", "e\u0301a| e\u0301| |1|2"),
        ("qwen2", "e\u0301a", "e|\u0301a"),
        ("seed-coder", "a ?!\n\n12", "a| ?!|\n\n|1|2"),
        ("qwen2", "a ?!\n\n12", "a| ?!\n\n|1|2"),
        ("ufakzeka", "it's 12", "it|'s| |1|2"),
        ("ufakzeka", "it'seen", "it|'seen"),
        ("minicpm5", "a12345 b", "a|123|45| b"),
        ("gpt-4o", "HTTPServer camelCase it's/\n", "HTTPServer| camel|Case| it's|/\n"),
        ("gpt-4o", "ÉCOLEs 12345", "ÉCOLEs| |123|45"),
        ("tekken", "camelCase it's 12", "camel|Case| it|'s| |1|2"),
        ("viking", "a b, c12", "a| b|,| c|1|2"),
        ("bloom", "a b, c12", "a| b|,| c12"),
        ("deepseek-llm", "a b12 世界,\nc", "a| b|12| |世界|,|\n|c"),
        ("deepseek-coder", "a b12 世,\nc", "a| b|1|2| |世|,|\n|c"),
        ("deepseek-v3", "(ab 1234世界はx!\n", "(ab| |123|4|世界は|x|!\n"),
        ("starcoder", "a 12", "a| |1|2"),
        ("falcon3", "a 1234", "a| |123|4"),
    ],
)  # fmt: skip
def test_a_text_is_split_into_words(pre: str, text: str, words: str) -> None:
    from tokenizers import Regex, pre_tokenizers

    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in WORDS[pre].patterns]
    found = pre_tokenizers.Sequence(splits).pre_tokenize_str(text)
    assert [word for word, _ in found] == words.split("|")


@pytest.mark.parametrize(
    ("pre", "whole", "bos"),
    [("llama-bpe", True, True), ("tekken", True, True), ("minicpm5", True, False),
     ("smaug-bpe", False, False), ("qwen2", False, False)],
)  # fmt: skip
def test_words_that_are_tokens_and_the_first_token(
    tmp_path: Path, pre: str, whole: bool, bos: bool
) -> None:
    metadata = byte_level()
    tokens = [*metadata["tokenizer.ggml.tokens"], "Ġunmerged"]
    types = [*metadata["tokenizer.ggml.token_type"], 1]
    lists = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    tokenizer = converted(tmp_path / "out", metadata | lists | {"tokenizer.ggml.pre": pre})
    ids = tokenizer.encode(" unmerged").ids
    assert (ids[-1] == len(tokens) - 1) == whole
    assert (ids[0] == tokens.index("<s>")) == bos


# --------------------------------------------------------------------------- real files


@pytest.mark.download
@pytest.mark.parametrize(
    ("model", "between", "ends", "apart"),
    [
        # some bytes have no token: llama.cpp keeps apart what stood beside them
        (SMOLLM2, "<jupyter_script>", ["<|im_end|>", "<|endoftext|>"],
         (['"\x06\\'], ['"\x06\\'])),
        # it takes </s> for a control token in any vocabulary: an ordinary word here,
        (QWEN2, "[PAD151935]", ["<|im_end|>", "<|endoftext|>"], (["a</s>"], [])),
        # and here one that the file says is to be found in ordinary text too
        (GEMMA3, "<unused6000>", ["<eos>", "<end_of_turn>"], ([], ["a</s>"])),
    ],
    ids=["smollm2", "qwen2", "gemma3"],
)  # fmt: skip
def test_a_real_files_texts_have_llama_cpps_tokens(
    tmp_path: Path, model: Model, between: str, ends: list[str], apart: tuple[list[str], list[str]]
) -> None:
    file = container.read(fetched(model))
    tokenizer = converted(tmp_path / "out", file.metadata)
    assert [tokenizer.id_to_token(i) for i in gguf_tokenizer.end_tokens(file)] == ends
    texts = [re.sub(ABSENT, "", text) if model is SMOLLM2 else text for text in strings()]
    texts += sorted({text for one in apart for text in one})
    assert len(set(texts)) > 1500
    (found,) = llama_cpp.tokens([file.path], texts, tokenizer.token_to_id(between))
    assert differing(tokenizer, texts, found) == apart
    if model is not GEMMA3:  # there "▁" is a space
        some = texts[: -len(apart[0])]
        ids = [e.ids for e in tokenizer.encode_batch(some, add_special_tokens=False)]
        assert tokenizer.decode_batch(ids, skip_special_tokens=False) == some


@pytest.mark.download
def test_transformers_loads_qwens(tmp_path: Path) -> None:
    from mlx_lm.utils import load_tokenizer

    file = container.read(fetched(QWEN2))
    written = converted(tmp_path / "out", file.metadata)
    (tmp_path / "out" / "config.json").write_text('{"model_type": "qwen2"}')
    tokenizer = load_tokenizer(tmp_path / "out", eos_token_ids=gguf_tokenizer.end_tokens(file))
    assert tokenizer.eos_token_ids == {151645, 151643}
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    # transformers' own class for qwen2, unlike llama.cpp, composes accents and takes 'ſ for 's
    differ = [
        text for text, ids in zip(strings(), written.encode_batch(strings()), strict=True)
        if tokenizer.encode(text, add_special_tokens=False) != ids.ids
    ]  # fmt: skip
    assert differ
    assert all(normalize("NFC", text) != text or "'ſ" in text for text in differ)


def test_a_tokenizer_that_mlx_lm_would_misread_is_refused(
    tmp_path: Path,
    pieces: Any,  # noqa: F811
) -> None:
    """transformers reads every qwen2 with the rules of Qwen's own tokenizer."""
    converted(tmp_path, sentencepiece_metadata(pieces))
    for model_type in ("qwen3", "qwen2"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        if model_type == "qwen3":
            importing._check_read(Path("a.gguf"), tmp_path)
        else:
            with pytest.raises(ModelError, match=r"a\.gguf: its tokenizer cannot be imported"):
                importing._check_read(Path("a.gguf"), tmp_path)


# --------------------------------------------------------------------------- SentencePiece


@pytest.mark.download
@pytest.mark.parametrize("name", ["Phi3", "Phi 3 Mini"])
def test_phi3s_tokens_take_white_space_along(
    tmp_path: Path,
    pieces: Any,  # noqa: F811
    name: str,
) -> None:
    """As llama.cpp has it: by the name in the file, and spaces of ASCII alone."""
    metadata = sentencepiece_metadata(pieces)
    extra = ["<|endoftext|>", "<|user|>", "<|end|>", "<none>"]
    for key, more in {"tokens": extra, "scores": [-1000.0] * 4, "token_type": [3] * 4}.items():
        metadata[f"tokenizer.ggml.{key}"] = [*metadata[f"tokenizer.ggml.{key}"], *more]
    metadata["general.name"] = name
    write(tmp_path / "a.gguf", metadata=metadata)
    tokenizer = converted(tmp_path / "out", metadata)
    texts = ["<|user|> \n Hi<|end|>\n<|user|>  ", "<s> a</s>  b <|endoftext|> c", *strings()[::5]]
    (found,) = llama_cpp.tokens([tmp_path / "a.gguf"], texts, tokenizer.token_to_id("<none>"))
    assert differing(tokenizer, texts, found) == ([], [])


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tokens": "a"}, "tokens is not a list of str"),
        ({"tokens": [1, 2]}, "tokens is not a list of str"),
        ({"token_type": ["x"]}, "token_type is not a list of int"),
        ({"token_type": [1, 2]}, "tokens but 2 token types"),
        ({"merges": None}, "lacks the metadata tokenizer.ggml.merges"),
        ({"merges": [1]}, "merges is not a list of str"),
        ({"merges": ["\n\n"]}, r"merge '\\n\\n' is not in its vocabulary"),
        ({"pre": "mine"}, "pre-tokenizer is 'mine'; known are default, gpt-2, .*llama-bpe.*qwen2"),
        ({"pre": ["x"]}, "pre-tokenizer is .*; known are default"),
        ({"model": "x" * 99}, "of the kind 'x{60}'; `gpt2`"),
        ({"eos_token_id": None}, r"names no end token \(tokenizer.ggml.eos_token_id\)"),
        ({"eos_token_id": -1}, "its eos token -1 is not in its vocabulary"),
        ({"eos_token_id": True}, "its eos token True is not in its vocabulary"),
        ({"eot_token_id": 1 << 31}, "its eot token 2147483648 is not in its vocabulary"),
        ({"bos_token_id": "a\nb"}, r"its bos token 'a\\nb' is not in its vocabulary"),
        ({"add_bos_token": "yes"}, "tokenizer.ggml.add_bos_token is 'yes', not a bool"),
        ({"scores": [0.0]}, "tokens but 1 scores"),
        ({"scores": None}, "lacks the metadata tokenizer.ggml.scores"),
        ({"scores": [float("nan")] * 3006}, "a score of its vocabulary is not a finite number"),
        ({"scores": [0.0] * 3006}, "lacks tokens for single bytes"),
    ],
)  # fmt: skip
def test_a_broken_vocabulary_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    metadata = byte_level() | ({"tokenizer.ggml.model": "llama"} if "scores" in changes else {})
    for key, value in changes.items():
        metadata[f"tokenizer.ggml.{key}"] = value
    whole = {key: value for key, value in metadata.items() if value is not None}
    with pytest.raises(ModelError, match=text) as raised:
        converted(tmp_path / "out", whole)
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_template_of_another_type_and_tokens_without_text(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.chat_template is not a text"):
        converted(tmp_path / "out", byte_level() | {"tokenizer.chat_template": ["x"]})
    assert list((tmp_path / "out").iterdir()) == []
    tokens = [*byte_level()["tokenizer.ggml.tokens"], "", ""]
    types = [*byte_level()["tokenizer.ggml.token_type"], 1, 1]
    lists = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    tokenizer = converted(tmp_path / "out", byte_level() | lists)
    assert tokenizer.id_to_token(len(tokens) - 1) == f"[EMPTY_{len(tokens) - 1}]"


def test_the_first_of_two_equal_merges_counts(tmp_path: Path) -> None:
    merges = byte_level()["tokenizer.ggml.merges"]
    again = byte_level() | {"tokenizer.ggml.merges": [*merges, *merges[:50]]}
    texts = list(strings())
    once = converted(tmp_path / "a", byte_level()).encode_batch(texts)
    assert [e.ids for e in converted(tmp_path / "b", again).encode_batch(texts)] == [
        e.ids for e in once
    ]


def test_generation_stops_where_the_file_says(tmp_path: Path) -> None:
    converted(tmp_path / "out", byte_level())
    found = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    tokens = byte_level()["tokenizer.ggml.tokens"]
    assert found["eos_token_id"] == [tokens.index("<|im_end|>")]
    assert found["bos_token_id"] == tokens.index("<s>")
