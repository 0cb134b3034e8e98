"""Files whose weights are of each type of ggml's, all the way through an import."""

from __future__ import annotations

import hashlib
import json
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
    """A llama with random blocks of a type; returns the matrices as the package decodes them."""
    out = gguf.GGUFWriter(path, "llama")
    called = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[called]
    lists = {
        "tokenizer.ggml.tokens": tokens(),
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens()) - 3), 4],
        "tokenizer.ggml.merges": ["Ġ t", "h e", "Ġt he", "1 2"],
    }
    for key, value in {**METADATA, **SHAPE, **lists}.items():
        add = {int: out.add_uint32, float: out.add_float32, list: out.add_array}
        add.get(type(value), out.add_string)(key, value)
    raw = any_blocks(kind, 0.001).reshape(-1, size)
    stored = {}
    rows = {"token_embd": len(tokens()), **{f"blk.0.{name}": SIZE for name in LAYER}}
    for i, (name, n) in enumerate(rows.items()):
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


def test_one_of_several_parts(tmp_path: Path) -> None:
    out = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    out.add_uint16("split.count", 3)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    with pytest.raises(ModelError, match=r"one of 3 parts: .* `llama-gguf-split --merge`"):
        importing.import_gguf(tmp_path / "a.gguf", tmp_path / "out")
