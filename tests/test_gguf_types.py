"""Files whose weights are of each type of ggml's, all the way through an import."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.engine import blas, resolve
from star_mlx.errors import ModelError
from star_mlx.gguf import blocks, container, importing
from tests.test_gguf import METADATA, any_blocks, permute, tokens

gguf = pytest.importorskip("gguf")

SIZE = 256  # of everything, since a block of the K types has as many weights
QUANTIZED = sorted({name for name, block, _ in container.KNOWN.values() if block > 1})
SHAPE = {
    "llama.block_count": 1, "llama.embedding_length": SIZE, "llama.feed_forward_length": SIZE,
    "llama.attention.head_count": 4, "llama.attention.head_count_kv": 4,
}  # fmt: skip
LAYER = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write(path: Path, kind: str) -> dict[str, np.ndarray]:
    """A llama with random blocks of a type, or of several in turn; returns the matrices as the
    package decodes them."""
    out, kinds = gguf.GGUFWriter(path, "llama"), kind.split()
    lists = {
        "tokenizer.ggml.tokens": tokens(),
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens()) - 3), 4],
        "tokenizer.ggml.merges": ["Ġ t", "h e", "Ġt he", "1 2"],
    }
    for key, value in {**METADATA, **SHAPE, **lists}.items():
        add = {int: out.add_uint32, float: out.add_float32, list: out.add_array}
        add.get(type(value), out.add_string)(key, value)
    stored = {}
    rows = {"token_embd": len(tokens()), **{f"blk.0.{name}": SIZE for name in LAYER}}
    for i, (name, n) in enumerate(rows.items()):
        called = gguf.GGMLQuantizationType[kinds[i % len(kinds)]]
        block, size = gguf.GGML_QUANT_SIZES[called]
        raw = any_blocks(called.name, 0.001).reshape(-1, size)
        data = np.resize(np.roll(raw, i, axis=0), (n * SIZE // block, size)).reshape(n, -1)
        values = gguf.dequantize(data, called)
        if name.endswith(("attn_q", "attn_k")):
            data = permute(data, 4)  # rows in llama.cpp's order
        out.add_tensor(f"{name}.weight", data, raw_dtype=called)
        stored[name] = values
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        out.add_tensor(f"{name}.weight", np.ones(SIZE, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return stored


def values(folder: Path) -> Any:
    """A function from a module's name to its weights in float32, as mlx-lm dequantizes them."""
    blas.load()
    import mlx.core as mx

    weights: Any = mx.load(str(folder / "model.safetensors"))
    asked = json.loads((folder / "config.json").read_text()).get("quantization", {})

    def of(module: str, part: str = "weight") -> np.ndarray:
        weight = weights[f"{module}.{part}"]
        if f"{module}.scales" not in weights or part != "weight":
            return np.array(weight.astype(mx.float32))
        how = asked.get(module, asked)
        scales = [weights[f"{module}.{key}"].astype(mx.float32) for key in ("scales", "biases")]
        wide = mx.dequantize(weight, *scales, group_size=how["group_size"], bits=how["bits"])
        return np.array(wide)

    return of


@pytest.mark.parametrize("kind", QUANTIZED)
def test_a_file_of_each_type(tmp_path: Path, kind: str) -> None:
    stored = write(tmp_path / "a.gguf", kind)
    arguments = ["import-gguf", str(tmp_path / "a.gguf"), "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(cli, arguments, catch_exceptions=False).output
    have = values(tmp_path / "out")
    record = resolve.imported(tmp_path / "out")
    assert record is not None and record["file"] == "a.gguf"
    assert record["sha256"] == hashlib.sha256((tmp_path / "a.gguf").read_bytes()).hexdigest()
    assert record["weights"][kind] == sum(array.size for array in stored.values())
    modules = {f"blk.0.{name}": f"model.layers.0.{module}" for name, module in (
        ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
    )}  # fmt: skip
    off = {name: np.abs(have(modules.get(name, "model.embed_tokens")) - array)
           for name, array in stored.items()}  # fmt: skip
    largest = max(float(array.max()) for array in off.values())
    if kind in blocks.EXACT:
        assert largest == 0 and "rounded" not in said and record["rounded"] == {}
    else:
        assert f"rounded    {kind} to 8 bits: by" in said
        assert np.isclose(record["rounded"][kind]["largest"], largest, rtol=1e-3)
        assert 0 < record["rounded"][kind]["mean_share"] < 0.01


@pytest.mark.slow
def test_mlx_lm_itself_computes_with_mixed_types(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "Q8_0 Q4_K Q3_K Q5_0 Q6_K IQ4_XS Q4_1 Q5_K")
    folder = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out").folder
    import mlx.core as mx
    import mlx_lm

    from star_mlx.engine.load import widen

    model, tokenizer = mlx_lm.load(str(folder))
    asked = model.model.layers[0].self_attn
    assert [(m.bits, m.group_size) for m in (asked.q_proj, asked.k_proj, asked.v_proj)] == [
        (4, 32), (8, 128), (5, 32),
    ]  # fmt: skip
    ids = mx.array([tokenizer.encode("the 12 the")])
    stored = model(ids)
    widen(model)
    wide = model(ids)
    assert 0 < mx.abs(stored - wide).max() < 0.01 * mx.abs(wide).max()  # float16 embeddings


def test_halves_are_nearer(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", "Q6_K")
    near, halves = (
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / f"{bits}", bits=bits)
        for bits in (None, 16)
    )
    assert halves.nearest["Q6_K"].share < near.nearest["Q6_K"].share / 10
    assert "quantization" not in json.loads((tmp_path / "16" / "config.json").read_text())


@pytest.mark.slow
def test_the_record_of_an_import_is_no_part_of_the_model(tmp_path: Path) -> None:
    from star_mlx.engine import open_engine

    write(tmp_path / "a.gguf", "Q4_K")
    folder = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out").folder
    found = open_engine(str(folder)).describe()
    assert found["imported"] == resolve.imported(folder) != None  # noqa: E711
    (folder / resolve.IMPORTED).write_text("[broken")
    assert resolve.imported(folder) is None
    assert resolve.content_hash(folder) == found["hash"]
    (folder / resolve.IMPORTED).unlink()
    assert resolve.content_hash(folder) == found["hash"]
    assert "imported" not in open_engine(str(folder)).describe()


def test_norms_of_gemma_in_bfloat16(tmp_path: Path) -> None:
    """They have 1 added, whatever their type."""
    blas.load()
    import mlx.core as mx

    halves = np.array([1.5, 0.25, -2.0], np.float32).view("<u4") >> 16
    (tmp_path / "raw").write_bytes(halves.astype("<u2").tobytes())
    tensor = container.Tensor("blk.0.attn_norm.weight", (3,), "BF16", 0, 6)
    file = container.Gguf(tmp_path / "raw", {}, {tensor.name: tensor})
    place = importing.Place("model.layers.0.input_layernorm", (3,))
    found = importing._Weights(file, 1.0, None).vector(tensor, place)
    assert found.dtype == mx.float32 and found.tolist() == [0.5, -0.75, -3.0]


@pytest.mark.parametrize(
    ("architecture", "key", "value", "text"),
    [
        ("llama", "split.count", 3, r"one of 3 parts: .* `llama-gguf-split --merge`"),
        ("llama", "general.type", "adapter", r"is an adapter \(LoRA\), and no model: give the"),
        ("clip", "general.type", "mmproj", r"vision or audio part of a model \(mmproj\), and"),
        ("clip", "general.name", "an older one", r"is the vision or audio part of a model"),
        ("llama", "general.type", "vocab", "is a vocabulary without weights, and no model"),
    ],
)
def test_what_is_no_whole_model(
    tmp_path: Path, architecture: str, key: str, value: Any, text: str
) -> None:
    out = gguf.GGUFWriter(tmp_path / "a.gguf", architecture)
    (out.add_uint16 if isinstance(value, int) else out.add_string)(key, value)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    with pytest.raises(ModelError, match=text):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.gguf"]
