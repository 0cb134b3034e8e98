"""GGUF import: exact values, the tokenizer, and one clear line for every file it cannot take.

The small files are written with the ``gguf`` package, which also says what their values are.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.engine import blas
from star_mlx.errors import ModelError
from star_mlx.gguf import blocks, container, importing
from star_mlx.gguf import config as gguf_config
from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.architectures import ARCHITECTURES

writer = pytest.importorskip("gguf")
Type = writer.GGMLQuantizationType

HIDDEN, INNER, HEADS, KV, HEAD, LAYERS = 64, 96, 4, 2, 16, 2
METADATA: dict[str, Any] = {
    "llama.block_count": LAYERS,
    "llama.context_length": 256,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 50000.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.chat_template": "{{ messages }}",
}
MERGES = ["Ġ t", "h e", "Ġt he", "1 2"]


def byte_pieces() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def tokens() -> list[str]:
    return ["<s>", "<e>", *byte_pieces(), *("".join(m.split()) for m in MERGES), "<user>"]


def permute(array: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's converter reorders the rows of q and k."""
    rows = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return rows.swapaxes(1, 2).reshape(array.shape)


def weights(seed: int = 0, vocab: int | None = None) -> dict[str, np.ndarray]:
    """Random weights by GGUF name, rows in Hugging Face's order."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocab or len(tokens()), HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,), "attn_q": (HEADS * HEAD, HIDDEN),
            "attn_k": (KV * HEAD, HIDDEN), "attn_v": (KV * HEAD, HIDDEN),
            "attn_output": (HIDDEN, HEADS * HEAD), "ffn_gate": (INNER, HIDDEN),
            "ffn_up": (INNER, HIDDEN), "ffn_down": (HIDDEN, INNER),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return {name: rng.normal(size=s, scale=0.3).astype(np.float32) for name, s in shapes.items()}


def write(
    path: Path,
    kind: str | Callable[[str], str] = "F32",
    metadata: dict[str, Any] | None = None,
    extra: dict[str, np.ndarray] | None = None,
    drop: str = "",
    architecture: str = "llama",
) -> dict[str, np.ndarray]:
    """Write a file whose matrices are of ``kind``; a value of None takes a metadata key away.

    Returns every tensor's values as stored, float32, rows in Hugging Face's order.
    """
    out = writer.GGUFWriter(path, architecture)
    lists = {
        "tokenizer.ggml.tokens": tokens(),
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens()) - 3), 4],
        "tokenizer.ggml.merges": MERGES,
    }
    for key, value in {**METADATA, **lists, **(metadata or {})}.items():
        if isinstance(value, bool):
            out.add_bool(key, value)
        elif isinstance(value, int):
            out.add_uint32(key, value)
        elif isinstance(value, float):
            out.add_float32(key, value)
        elif value is not None:
            (out.add_array if isinstance(value, list) else out.add_string)(key, value)
    vocab = len((metadata or {}).get("tokenizer.ggml.tokens") or tokens())
    stored = {}
    for name, values in {**weights(vocab=vocab), **(extra or {})}.items():
        if name == drop:
            continue
        wanted = kind(name) if callable(kind) else kind
        called = Type[wanted if values.ndim == 2 else "F32"]
        heads = {"attn_q": HEADS, "attn_k": KV}.get([*name.split("."), "", ""][2], 1)
        order = permute if heads > 1 else lambda array, heads: array
        packed = writer.quantize(order(values, heads), called)
        out.add_tensor(name, packed, raw_dtype=called)
        # Hugging Face's order again: rows keep their own blocks
        stored[name] = writer.dequantize(writer.quantize(values, called), called)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return stored


def module(name: str) -> str:
    llama = ARCHITECTURES["llama"]
    block = {**llama.linear, **llama.norms}
    tops = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    first, *rest = name.split(".")
    middle = tops.get(first) or f"model.layers.{rest[0]}.{block[rest[1]]}"
    return f"{middle}.{rest[-1]}"


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """To the last bit; a zero may have the other sign, which no sum of two terms can give it."""
    a, b = a + np.float32(0), b + np.float32(0)
    return a.dtype == b.dtype == np.float32 and np.array_equal(a.view("u4"), b.view("u4"))


def loaded(folder: Path, *, widened: bool = True) -> dict[str, Any]:
    """The parameters as mlx-lm loads them, on a CPU widened as star-mlx computes with them."""
    blas.load()
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model

    from star_mlx.engine.load import widen

    model, _ = load_model(folder)
    if widened:
        widen(model)
    return dict(tree_flatten(model.parameters()))


def mixed(name: str) -> str:
    return "Q8_0" if name == "token_embd.weight" else "F16" if "ffn_up" in name else "Q4_1"


# --------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", mixed]
)
def test_every_value_is_that_of_the_file(tmp_path: Path, kind: Any) -> None:
    stored = write(tmp_path / "a.gguf", kind)
    done = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    have = loaded(done.folder)
    assert len(have) == len(stored)
    for name, values in stored.items():
        assert same_bits(np.array(have[module(name)]), values), name
    assert done.parameters == sum(v.size for v in stored.values())


def test_what_is_not_quantized_keeps_its_type(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "BF16")
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    import mlx.core as mx

    have = loaded(tmp_path / "out", widened=False)
    assert have["model.embed_tokens.weight"].dtype == mx.bfloat16
    assert have["model.norm.weight"].dtype == mx.float32


def test_each_module_has_its_own_quantization(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", mixed)
    done = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization"] == {
        "group_size": 32, "bits": 4, "mode": "affine",
        "model.embed_tokens": {"group_size": 32, "bits": 8, "mode": "affine"},
        "model.layers.0.mlp.up_proj": False, "model.layers.1.mlp.up_proj": False,
    }  # fmt: skip
    assert set(done.types) == {"Q4_1", "Q8_0", "F16", "F32"}


HALVES = {"Q4_1": (0, 4), "Q5_1": (0, 4), "Q4_K": (0, 4), "Q5_K": (0, 4)}  # scales and minima
HALVES |= {"Q3_K": (108, 110), "Q6_K": (208, 210), "Q2_K": (80, 84)}  # others: bytes 0 and 1


def any_blocks(kind: str, scale: float | None = None) -> np.ndarray:
    """64 rows of 40 random blocks whose scales are of the given size, or any finite ones, the
    largest and the smallest among them."""
    size = next(size for name, _, size in container.KNOWN.values() if name == kind)
    raw = np.random.default_rng(1).integers(0, 256, (64, 40, size), dtype=np.uint8)
    start, end = HALVES.get(kind, (0, 2))
    halves = np.ascontiguousarray(raw[..., start:end]).view("<u2")
    halves[(halves & 0x7C00) == 0x7C00] &= 0xFBFF  # finite; every other pattern stays
    halves[0, :4, 0] = 0x7BFF, 0x0001, 0x8000, 0x5FFF
    if scale is not None:
        halves = np.random.default_rng(2).normal(0, scale, halves.shape).astype("<f2")
    raw[..., start:end] = halves.view("u1")
    return raw


def unpacked(packed: blocks.QuantizedMatrix) -> np.ndarray:
    blas.load()
    import mlx.core as mx

    if not packed.group:
        return packed.arrays["weight"].astype(np.float32)
    weight, *rest = (mx.array(packed.arrays[key]) for key in ("weight", "scales", "biases"))
    scales, biases = (array.astype(mx.float32) for array in rest)
    wide = mx.dequantize(weight, scales, biases, group_size=packed.group, bits=packed.bits)
    return np.array(wide)


@pytest.mark.parametrize("kind", sorted(blocks.EXACT))
def test_any_finite_block_is_exact(kind: str) -> None:
    """Also the largest and the smallest scales, whose bias half precision may not hold."""
    raw = any_blocks(kind)
    packed = blocks.pack(raw.reshape(64, -1), kind)
    want = writer.dequantize(raw.reshape(64, -1), Type[kind]).astype(np.float32)
    assert np.array_equal(unpacked(packed), want) and packed.errors.largest == 0
    assert blocks.pack(raw[8:9].reshape(1, -1) * 0, kind).arrays["scales"].dtype == np.float16


@pytest.mark.parametrize("kind", ["Q6_K", "Q2_K"])
def test_what_has_no_exact_form_is_near_and_says_how_near(kind: str) -> None:
    raw = any_blocks(kind, 0.001).reshape(64, -1)
    want = writer.dequantize(raw, Type[kind]).astype(np.float32)
    for halves, share in ((False, 0.01), (True, 0.0005)):
        packed = blocks.pack(raw, kind, halves=halves)
        off = np.abs(unpacked(packed) - want)
        assert 0 < packed.errors.share < share and packed.errors.count == want.size
        assert np.isclose(packed.errors.largest, off.max(), rtol=1e-2)
        assert np.isclose(packed.errors.mean, off.mean(dtype="f8"), rtol=1e-2)


def test_weights_over_half_precision_are_no_halves() -> None:
    raw = any_blocks("Q6_K").reshape(64, -1)
    with pytest.raises(ValueError, match="over half precision: leave --bits 16 out"):
        blocks.pack(raw, "Q6_K", halves=True)


def test_a_scale_that_is_not_finite_is_refused() -> None:
    raw = any_blocks("Q5_0").reshape(64, -1)
    raw[3, 1] = 0x7C
    with pytest.raises(ValueError, match="not finite"):
        blocks.pack(raw, "Q5_0")


def test_rows_of_q_and_k_come_back() -> None:
    rows = np.arange(2 * 8 * 3).reshape(16, 3)
    assert np.array_equal(importing.unpermute(permute(rows, 2), 2), rows)
    assert not np.array_equal(permute(rows, 2), rows)


@pytest.mark.parametrize(("bits", "most"), [(4, 0.2), (8, 0.02)])
def test_bits_quantizes(tmp_path: Path, bits: int, most: float) -> None:
    stored = write(tmp_path / "a.gguf", "F16")
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out", bits=bits)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["quantization"]["bits"], config["quantization"]["group_size"]) == (bits, 64)
    # 96 columns are no multiple of 64
    assert config["quantization"]["model.layers.0.mlp.down_proj"]["group_size"] == 32
    have = loaded(tmp_path / "out")
    for name, values in stored.items():
        assert np.abs(np.array(have[module(name)]) - values).max() < most


def test_bits_of_what_is_quantized_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", mixed)
    with pytest.raises(ModelError, match=r"already quantized \(Q4_1, Q8_0\).*leave --bits out"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out", bits=4)


def test_output_and_biases_have_their_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = {"attn_q": 64, "attn_k": 32, "attn_v": 32, "attn_output": 64}
    extra = {f"blk.{i}.{n}.bias": rng.normal(size=r).astype(np.float32)
             for i in range(LAYERS) for n, r in rows.items()}  # fmt: skip
    extra["output.weight"] = rng.normal(size=(len(tokens()), HIDDEN)).astype(np.float32)
    stored = write(tmp_path / "a.gguf", "Q8_0", extra=extra)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    have = loaded(tmp_path / "out")
    assert len(have) == len(stored)
    for name, values in stored.items():
        assert same_bits(np.array(have[module(name)]), values), name


def test_the_engine_opens_it(tmp_path: Path) -> None:
    from star_mlx.engine import open_engine

    write(tmp_path / "a.gguf", "Q4_0")
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    found = open_engine(str(tmp_path / "out")).describe()
    assert (found["architecture"], found["bits"], found["context"]) == ("llama", 4, 256)


def test_the_config(tmp_path: Path) -> None:
    wanted = {
        "tokenizer.ggml.eot_token_id": 3, "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 2.0,
    }  # fmt: skip
    write(tmp_path / "a.gguf", "F16", wanted)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_scaling"] == {"type": "linear", "factor": 2.0}
    assert (config["rope_theta"], config["rms_norm_eps"]) == (50000.0, 1e-5)
    assert (config["eos_token_id"], config["bos_token_id"]) == ([1, 3], 0)
    assert (config["torch_dtype"], config["tie_word_embeddings"]) == ("float16", True)


def llama3_factors(factor: float, base: float = 50000.0, head: int = HEAD) -> np.ndarray:
    """The loop of llama.cpp's converter, in its own words."""
    out = []
    for i in range(0, head, 2):
        wavelength = 2 * np.pi * base ** (i / head)
        if wavelength < 8192 / 4:
            out.append(1.0)
        elif wavelength > 8192:
            out.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / 3
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, np.float32)


def test_llama3s_rope_scaling_is_recognized(tmp_path: Path) -> None:
    factors = llama3_factors(32.0)
    write(tmp_path / "a.gguf", extra={"rope_freqs.weight": factors})
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_scaling"]["rope_type"] == "llama3"
    assert config["rope_scaling"]["factor"] == 32.0
    from mlx_lm.models.rope_utils import initialize_rope

    rope = initialize_rope(HEAD, 50000.0, False, config["rope_scaling"], 256)
    plain = 50000.0 ** (np.arange(0, HEAD, 2) / HEAD)
    assert np.allclose(np.array(rope._freqs) / plain, factors, rtol=1e-5)
    write(tmp_path / "b.gguf", extra={"rope_freqs.weight": factors * 1.01})
    with pytest.raises(ModelError, match="is not Llama 3's rope scaling"):
        importing.import_gguf(tmp_path / "b.gguf", tmp_path / "other")


# --------------------------------------------------------------------------- the tokenizer


def encode(folder: Path, text: str, special: bool = False) -> list[str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return list(tokenizer.encode(text, add_special_tokens=special).tokens)


def test_merges_digits_and_marked_tokens(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert encode(tmp_path / "out", "the the<s>12 <user>") == [
        "t", "he", "Ġthe", "<s>", "1", "2", "Ġ", "<user>",
    ]  # fmt: skip
    from mlx_lm.utils import load_tokenizer

    tokenizer = load_tokenizer(tmp_path / "out", eos_token_ids=1)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "<e>")
    assert tokenizer.chat_template == "{{ messages }}"
    assert tokenizer.decode(tokenizer.encode("é\n 12'll"), skip_special_tokens=False) == "é\n 12'll"


@pytest.mark.parametrize(
    ("pre", "text", "words"),
    [
        ("smollm", "a 12 it's  x\n\n", ["a", "Ġ", "1", "2", "Ġit", "'s", "Ġ", "Ġx", "ĊĊ"]),
        ("gpt-2", "a 1234 IT'S", ["a", "Ġ1234", "ĠIT", "'", "S"]),
        ("default", "a+1234 (b", ["a", "+", "123", "4", "Ġ", "(", "b"]),
        ("llama-bpe", "a 1234 IT'S(b\n\n", ["a", "Ġ", "123", "4", "ĠIT", "'S", "(b", "ĊĊ"]),
    ],
)
def test_pre_tokenizers(tmp_path: Path, pre: str, text: str, words: list[str]) -> None:
    from tokenizers import Tokenizer

    write(tmp_path / "a.gguf", metadata={"tokenizer.ggml.pre": pre})
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    splitter = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).pre_tokenizer
    assert [word for word, _ in splitter.pre_tokenize_str(text)] == words


@pytest.mark.parametrize(
    ("metadata", "front"),
    [
        ({}, []),
        ({"tokenizer.ggml.add_bos_token": True}, ["<s>"]),
        ({"tokenizer.ggml.pre": "llama-bpe"}, ["<s>"]),
        ({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}, []),
    ],
)
def test_what_stands_before_a_text(tmp_path: Path, metadata: Any, front: list[str]) -> None:
    write(tmp_path / "a.gguf", metadata=metadata)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert encode(tmp_path / "out", "he", special=True) == [*front, "he"]
    from mlx_lm.utils import load_tokenizer

    tokenizer = load_tokenizer(tmp_path / "out", eos_token_ids=1)
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("he")) == [*front, "he"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A SentencePiece model trained as LLaMA's was, on this repository's own text."""
    sentencepiece = pytest.importorskip("sentencepiece")
    root = Path(__file__).parent
    text = "\n".join(p.read_text(encoding="utf-8") for p in sorted(root.glob("test_*.py"))[:12])
    model = tmp_path_factory.mktemp("sp") / "m"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.splitlines()), model_prefix=str(model), vocab_size=900,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, minloglevel=2,
        allow_whitespace_only_pieces=True,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")


def sentencepiece_metadata(pieces: Any) -> dict[str, Any]:
    ids = range(pieces.get_piece_size())
    kinds = [2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else
             6 if pieces.is_byte(i) else 1 for i in ids]  # fmt: skip
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [pieces.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [float(pieces.get_score(i)) for i in ids],
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": None,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }  # fmt: skip


def test_a_sentencepiece_vocabulary_tokenizes_as_sentencepiece_does(
    tmp_path: Path, pieces: Any
) -> None:
    from tokenizers import Tokenizer

    write(tmp_path / "a.gguf", "Q8_0", sentencepiece_metadata(pieces))
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    rng = random.Random(0)
    alphabet = "  \n\tabcdetuy_=()[]\"'.,:0123456789éЖ世😀"
    source = Path(__file__).read_text(encoding="utf-8").replace("<", "")  # no marked tokens
    texts = ["a", " a", "  a  ", "", "aaaaaaa", "        x", "世界 é"]
    texts += [
        "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 30))) for _ in range(500)
    ]
    texts += [source[at : at + 60] for at in range(0, 12000, 40)]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == pieces.encode(text), repr(text)
        assert tokenizer.decode(ids) == text
    assert tokenizer.encode("a").ids == [1, *pieces.encode("a")]


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"tokenizer.ggml.model": "t5"}, "of the kind 't5'; `gpt2`"),
        ({"tokenizer.ggml.model": None}, "lacks the metadata tokenizer.ggml.model"),
        ({"tokenizer.ggml.pre": "other"}, "pre-tokenizer is 'other'; known are default, gpt-2"),
        ({"tokenizer.ggml.tokens": None}, "lacks the metadata tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.merges": ["a z", "x"]}, "merge 'a z' is not in its vocabulary"),
        ({"tokenizer.ggml.token_type": [1]}, "260 tokens|tokens but 1 token types"),
        ({"tokenizer.ggml.tokens": ["a", "a", "b"], "tokenizer.ggml.token_type": [1, 1, 1],
          "tokenizer.ggml.merges": []}, "'a' occurs twice"),
        ({"tokenizer.ggml.eos_token_id": None}, "names no end token"),
        ({"tokenizer.ggml.eos_token_id": 9999}, "its eos token 9999 is not in its vocabulary"),
        ({"tokenizer.ggml.eos_token_id": "x"}, "its eos token 'x' is not in its vocabulary"),
        ({"llama.embedding_length": None}, "lacks the metadata llama.embedding_length"),
        ({"llama.embedding_length": 32}, r"has the shape \[263, 64\], not \[263, 32\]"),
        ({"llama.attention.head_count": 0}, "head_count is 0, not one positive"),
        ({"llama.attention.head_count": [4, 2]}, r"head_count is \[4, 2\], not one positive"),
        ({"llama.attention.head_count_kv": 3}, "4 heads, 3 for keys"),
        ({"llama.attention.value_length": 8}, "value_length differs"),
        ({"llama.block_count": 3}, "lacks the tensor blk.2.attn_norm.weight"),
        ({"llama.block_count": 1}, "has no place for the tensor blk.1"),
        ({"llama.block_count": 1 << 31}, "lacks layers"),
        ({"llama.rope.dimension_count": 8}, "dimension_count is 8 of 16"),
        ({"llama.rope.freq_base": "x"}, "freq_base is x, not a positive number"),
        ({"llama.rope.scaling.type": "other"}, "is 'other'; `none`, `linear` and `yarn`"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.attn_factor": 2.0},
         "scaling.attn_factor is 2; mlx-lm knows 1"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.yarn_log_multiplier": 0.1},
         "does not know llama.rope.scaling.yarn_log_multiplier"),
        ({"llama.final_logit_softcapping": 30.0}, "softcapping is 30.0, which mlx-lm's llama does"),
        ({"llama.logit_scale": 0.1}, "logit_scale is 0.1"),
        ({"llama.expert_count": 8}, "mixture of experts"),
    ],
)  # fmt: skip
def test_metadata_it_cannot_take(tmp_path: Path, metadata: dict[str, Any], text: str) -> None:
    write(tmp_path / "a.gguf", metadata=metadata)
    with pytest.raises(ModelError, match=text):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.gguf"]


def test_other_architectures_and_types_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", architecture="mamba")
    with pytest.raises(ModelError, match=r"its architecture is 'mamba'; those .* are llama, qwen2"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    write(tmp_path / "b.gguf", lambda name: "MXFP4" if "1.ffn_up" in name else "Q8_0")
    with pytest.raises(ModelError, match=r"blk\.1\.ffn_up\.weight is MXFP4.*ask for a Q4_K_M, "):
        importing.import_gguf(tmp_path / "b.gguf", tmp_path / "out")


def test_every_type_ggml_has_is_known_by_name() -> None:
    ours = {i: kind[0] for i, kind in container.KNOWN.items()} | container.UNKNOWN
    assert ours == {kind.value: kind.name for kind in Type}
    for kind, (_, block, size) in container.KNOWN.items():
        assert writer.GGML_QUANT_SIZES[Type(kind)] == (block, size)


def test_tensors_that_are_missing(tmp_path: Path) -> None:
    for name in ("token_embd.weight", "output_norm.weight", "blk.1.attn_k.weight"):
        write(tmp_path / "a.gguf", drop=name)
        with pytest.raises(ModelError, match=f"lacks the tensor {name}"):
            importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")


def test_what_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    for content, text in {
        b"": "is not a GGUF file",
        b"PK\x03\x04 a zip": "is not a GGUF file",
        b"GGUF": "is damaged: it is cut off",
        b"GGUF\x01\x00\x00\x00" + bytes(30): "is GGUF version 1",
        b"GGUF\x00\x00\x00\x03" + bytes(30): "is big-endian",
    }.items():
        path.write_bytes(content)
        with pytest.raises(ModelError, match=text):
            importing.import_gguf(path, tmp_path / "out")
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        importing.import_gguf(tmp_path / "none.gguf", tmp_path / "out")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        importing.import_gguf(tmp_path, tmp_path / "out")


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "Q4_1")
    data = (tmp_path / "a.gguf").read_bytes()
    rng = random.Random(0)
    ends = [*range(0, 400, 7), *(rng.randrange(len(data)) for _ in range(100)), len(data) - 40]
    for end in ends:
        (tmp_path / "cut.gguf").write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"cut|ends before|not a GGUF"):
            container.read(tmp_path / "cut.gguf")


def test_a_damaged_header_is_an_error_in_one_line_or_harmless(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "Q4_1")
    data = (tmp_path / "a.gguf").read_bytes()
    header = data.index(b"blk.1.ffn_down.weight") + 60
    rng = random.Random(0)
    refused = 0
    for number in range(250):
        bad = bytearray(data)
        for _ in range(1 + number % 3):
            bad[rng.randrange(4, header)] = rng.choice([0, 1, 9, 127, 255, rng.randrange(256)])
        (tmp_path / "bad.gguf").write_bytes(bad)
        try:
            file = container.read(tmp_path / "bad.gguf")
            gguf_config.read(file)
            (tmp_path / "out").mkdir(exist_ok=True)
            gguf_tokenizer.write(file, tmp_path / "out", 256)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 100


def test_scales_that_are_not_finite(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "Q8_0")
    file = container.read(tmp_path / "a.gguf")
    with open(tmp_path / "a.gguf", "r+b") as out:
        out.seek(file.tensors["blk.1.attn_v.weight"].offset)
        out.write(b"\x00\x7c")
    with pytest.raises(ModelError, match=r"tensor blk\.1\.attn_v\.weight has a scale that is not"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.gguf"]


# --------------------------------------------------------------------------- where it is written


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), OSError(28, "No space")])
def test_nothing_half_written_stays(
    tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.gguf")

    def fail(*arguments: object) -> None:
        assert (tmp_path / "out.partial" / "tokenizer.json").exists()
        raise error

    monkeypatch.setattr(importing._Weights, "write", fail)
    with pytest.raises(ModelError if isinstance(error, OSError) else type(error)):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.gguf"]


def test_where_it_may_not_write(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("keep")
    for taken in ("full", "a.gguf", "full/.."):
        with pytest.raises(ModelError, match="exists and is not an empty folder"):
            importing.import_gguf(tmp_path / "a.gguf", tmp_path / taken)
    with pytest.raises(ModelError, match="cannot be written: Not a directory"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "a.gguf" / "out")
    (tmp_path / "b.partial").mkdir()
    with pytest.raises(ModelError, match="left from another import: delete it"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "b")
    assert (tmp_path / "full" / "mine").read_text() == "keep"
    (tmp_path / "empty").mkdir()
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "empty")
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "deep" / "er")


# --------------------------------------------------------------------------- the command


def test_the_command(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", mixed)
    arguments = [str(tmp_path / "a.gguf"), "--out", str(tmp_path / "my out")]
    result = CliRunner().invoke(cli, ["import-gguf", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "llama, 78,592 parameters, context 256"
    assert "Q4_1" in lines[1] and "F16" in lines[1]
    assert "byte-level BPE (smollm), 263 tokens" in lines[2]
    assert lines[-1] == f"next: star-mlx loop --task arithmetic --model '{tmp_path / 'my out'}'"


def test_the_commands_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as raised:
        CliRunner().invoke(
            cli, ["import-gguf", str(tmp_path / "no.gguf"), "--out", "x"], catch_exceptions=False
        )
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
