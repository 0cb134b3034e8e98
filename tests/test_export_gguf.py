"""Export to GGUF: what stands in the files, and what llama.cpp makes of them.

Files are read back with the ``gguf`` package and with this project's own import. The tests marked
``download`` run llama.cpp itself.
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import adapter_file as weights
from star_mlx.engine import open_engine
from star_mlx.engine.resolve import Found, find
from star_mlx.errors import ModelError
from star_mlx.export import gguf_lora, gguf_model
from star_mlx.export.source import ExportSource
from star_mlx.gguf import container, importing, names, vocab
from star_mlx.gguf.architectures import ARCHITECTURES
from star_mlx.settings import Train
from star_mlx.store.reading import RunRecord
from star_mlx.tasks.arithmetic_text import question, scratchpad, spaced
from star_mlx.types import Amount, Decoding, Example
from tests import llama_cpp, tiny_random
from tests.downloads import smollm2, smollm2_gguf  # noqa: F401
from tests.test_gguf import (  # noqa: F401
    loaded,
    pieces,
    same_bits,
    sentencepiece_metadata,
    tokens,
)
from tests.test_gguf import write as write_gguf
from tests.test_gguf_smollm2 import strings

pytestmark = pytest.mark.slow

reader = pytest.importorskip("gguf")

DIGITS_THEN_WORDS = {  # as SmolLM's own tokenizer.json has it
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
RANK, SCALE = 3, 5.0


def base(folder: Path, bits: int | None = 4, **changes: Any) -> Path:
    """A tiny random llama whose tokenizer llama.cpp has an equal of."""
    tiny_random.write(folder, bits=bits, **changes)
    edit(folder / "tokenizer.json", pre_tokenizer=DIGITS_THEN_WORDS)
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def adapter(
    folder: Path, out: Path, *, dora: bool = False, size: float = 0.05, seed: int = 1
) -> Path:
    """A random adapter of every linear layer of a base, in mlx-lm's form."""
    import mlx.core as mx
    from mlx_lm.utils import load_model

    model, _ = load_model(folder, lazy=True)
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return mx.array(rng.normal(size=shape, scale=size).astype(np.float32))

    arrays = {}
    for name, weight in loaded(folder).items():
        if name.startswith("model.layers") and weight.ndim == 2:
            module, (rows, columns) = name.removesuffix(".weight"), weight.shape
            arrays[f"{module}.lora_a"] = draw(columns, RANK)
            arrays[f"{module}.lora_b"] = draw(RANK, rows)
            if dora:
                arrays[f"{module}.m"] = mx.abs(draw(rows)) + 1
    out.mkdir(parents=True)
    mx.save_safetensors(str(out / "adapters.safetensors"), arrays)
    settings = {"rank": RANK, "scale": SCALE, "dropout": 0.0}
    config = {
        "fine_tune_type": "dora" if dora else "lora",
        "num_layers": len(model.layers),
        "lora_parameters": settings,
    }
    (out / "adapter_config.json").write_text(json.dumps(config))
    return out


def source(folder: Path, laid_on: Path, run: str = "my run") -> ExportSource:
    return ExportSource(RunRecord(Path(run), {}, []), 7, laid_on, Found(folder.name, folder))


def fused(folder: Path, laid_on: Path) -> dict[str, np.ndarray]:
    """The base's weights with the adapter in them, by mlx-lm's own layers."""
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    from star_mlx.engine.load import widen

    model, _ = load_model(folder)
    widen(model)
    load_adapters(model, str(laid_on))
    changed = [(name, m.fuse()) for name, m in model.named_modules() if hasattr(m, "fuse")]
    assert changed
    model.update_modules(tree_unflatten(changed))
    return {name: np.array(p) for name, p in tree_flatten(model.parameters())}


def imported(path: Path, out: Path) -> dict[str, np.ndarray]:
    """What this project's import makes of a GGUF file, widened to float32."""
    importing.import_gguf(path, out)
    return {name: np.array(array) for name, array in loaded(out).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("export") / "base")


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter(folder, tmp_path_factory.mktemp("export") / "adapter")


# --------------------------------------------------------------------------- whole models


@pytest.mark.parametrize("dora", [False, True])
def test_the_file_has_the_base_with_the_adapter_in_it(
    folder: Path, tmp_path: Path, dora: bool
) -> None:
    laid_on = adapter(folder, tmp_path / "adapter", dora=dora)
    (path,) = gguf_model.write(source(folder, laid_on), tmp_path, "F32")
    assert path == tmp_path / "my-run-007-F32.gguf"
    have, want, bare = imported(path, tmp_path / "in"), fused(folder, laid_on), loaded(folder)
    assert have.keys() == want.keys()
    for name, values in want.items():
        assert np.allclose(have[name], values, rtol=1e-5, atol=1e-6), name
        if name.startswith("model.layers") and values.ndim == 2:
            assert np.abs(have[name] - np.array(bare[name])).max() > 0.05, name
        else:
            assert same_bits(have[name], np.array(bare[name])), name


def step(values: np.ndarray, kind: str) -> np.ndarray:
    """The most that a type may change each value by."""
    if kind == "F16":
        return np.abs(values) * 2.0**-11 + 2.0**-25
    blocks = np.abs(values).reshape(-1, 32).max(axis=1, keepdims=True)
    # half a step; in Q4_0 a whole one, as 8 steps are on one side of zero and 7 on the other;
    # and the scale itself is in half precision
    most = blocks / 127 / 2 if kind == "Q8_0" else blocks / 8
    return np.broadcast_to(most * 1.001 + blocks * 2.0**-10, (len(blocks), 32)).reshape(
        values.shape
    )


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
def test_values_are_within_a_step_of_their_type(
    folder: Path, lora: Path, tmp_path: Path, kind: str
) -> None:
    (path,) = gguf_model.write(source(folder, lora), tmp_path, kind)
    have, want = imported(path, tmp_path / "in"), fused(folder, lora)
    types = {t.name: t.tensor_type.name for t in reader.GGUFReader(path).tensors}
    assert types["blk.0.attn_q.weight"] == kind and types["output_norm.weight"] == "F32"
    assert types["token_embd.weight"] == ("Q8_0" if kind == "Q4_0" else kind)
    for name, values in want.items():
        if values.ndim == 1:
            assert same_bits(have[name], values)
        else:
            stored = "Q8_0" if kind == "Q4_0" and "embed" in name else kind
            assert (np.abs(have[name] - values) <= step(values, stored)).all(), name
            assert not np.array_equal(have[name], values)


def test_the_bare_base_is_written_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "F32", None, title="b")
    have = imported(tmp_path / "b.gguf", tmp_path / "in")
    for name, values in loaded(folder).items():
        assert same_bits(have[name], np.array(values)), name


LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True, "mlp_bias": True},
        {"tie_word_embeddings": False},
        {"rope_scaling": LLAMA3, "rope_theta": 500000.0},
        {"rope_scaling": {"type": "linear", "factor": 2.5}},
        {"head_dim": 16, "num_key_value_heads": 4},
        {"model_type": "mistral", "sliding_window": 4096},
    ],
)
def test_a_base_comes_back_as_it_went(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = base(tmp_path / "base", None, **changes)
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "F32", None, title="b")
    have = imported(tmp_path / "b.gguf", tmp_path / "in")
    want = loaded(folder)
    assert have.keys() == want.keys()
    for name, values in want.items():
        assert same_bits(have[name], np.array(values)), name
    back = json.loads((tmp_path / "in" / "config.json").read_text())
    asked = {**tiny_random.CONFIG, **changes, "model_type": "llama"}
    asked.pop("sliding_window", None)
    assert {key: back[key] for key in asked} == asked
    assert back["eos_token_id"] == 0


@pytest.mark.parametrize("original", [8192, 512])
def test_llama3s_factors_are_what_mlx_divides_by(tmp_path: Path, original: int) -> None:
    from mlx_lm.models.rope_utils import initialize_rope

    scaling = {**LLAMA3, "original_max_position_embeddings": original}
    folder = base(tmp_path / "base", None, rope_scaling=scaling, rope_theta=1e5)
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "F32", None, title="b")
    factors = next(
        t.data for t in reader.GGUFReader(tmp_path / "b.gguf").tensors if t.name.startswith("rope")
    )
    rope = initialize_rope(8, 1e5, False, scaling, 512)
    assert np.allclose(np.array(rope._freqs) / 1e5 ** (np.arange(0, 8, 2) / 8), factors, rtol=1e-5)
    assert len(set(factors.tolist())) > 1


def test_rows_that_are_no_multiple_of_a_block_stay_half_precision(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", None, intermediate_size=48)
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "Q8_0", None, title="b")
    types = {t.name: t.tensor_type.name for t in reader.GGUFReader(tmp_path / "b.gguf").tensors}
    assert types["blk.1.ffn_down.weight"] == "F16"  # 48 columns
    assert types["blk.1.ffn_up.weight"] == "Q8_0"


# --------------------------------------------------------------------------- adapters


def test_the_adapters_file_is_what_llama_cpp_asks_for(
    folder: Path, lora: Path, tmp_path: Path
) -> None:
    (path,) = gguf_lora.write(source(folder, lora), tmp_path)
    assert path == tmp_path / "my-run-007-lora.gguf"
    file = container.read(path)
    alpha = file.metadata["adapter.lora.alpha"]
    assert alpha == SCALE * RANK
    assert {k: file.metadata[k] for k in ("general.type", "adapter.type")} == {
        "general.type": "adapter", "adapter.type": "lora",
    }  # fmt: skip
    assert file.metadata["general.architecture"] == "llama"
    tensors = {t.name: np.array(t.data) for t in reader.GGUFReader(path).tensors}
    read = weights.read(lora)
    assert len(tensors) == 2 * len(read.modules) == 2 * 7 * 3
    for module in read.modules:
        name = names.tensor(f"{module.name}.weight", ARCHITECTURES["llama"])
        a, b = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        assert a.shape == (RANK, module.a.shape[0]) and b.shape == (module.b.shape[1], RANK)
        if heads := {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(module.part):
            assert not np.array_equal(b, module.b.T)
            b = importing.unpermute(b, heads)
        assert np.allclose(alpha / RANK * (b @ a), SCALE * (module.a @ module.b).T, atol=1e-6)


def test_a_dora_adapter_has_no_file_of_its_own(folder: Path, tmp_path: Path) -> None:
    laid_on = adapter(folder, tmp_path / "adapter", dora=True)
    with pytest.raises(ModelError, match=r"is DoRA, .* use --format gguf"):
        gguf_lora.write(source(folder, laid_on), tmp_path)
    assert os.listdir(tmp_path) == ["adapter"]


# --------------------------------------------------------------------------- tokenizers


def metadata(folder: Path) -> dict[str, Any]:
    from mlx_lm.utils import load_tokenizer

    config = json.loads((folder / "config.json").read_text())
    tokenizer = load_tokenizer(folder, eos_token_ids=config.get("eos_token_id"))
    return vocab.metadata(folder, tokenizer, config["vocab_size"])


def test_tinys_tokenizer() -> None:
    found = metadata(find("tiny").folder)
    assert found["tokenizer.ggml.pre"] == "poro-chat"
    assert found["tokenizer.ggml.tokens"][270:277] == [
        "ĊĊ", "Input:", "Target:", "<scratch>", "</scratch>", "<|endoftext|>", "[PAD276]",
    ]  # fmt: skip
    assert found["tokenizer.ggml.token_type"][270:] == [1, 4, 4, 4, 4, 3, *[5] * 12]
    assert found["tokenizer.ggml.eos_token_id"] == found["tokenizer.ggml.bos_token_id"] == 275
    assert found["tokenizer.ggml.add_bos_token"] is False


@pytest.mark.parametrize(
    "pre", ["smollm", "gpt-2", "default", "llama-bpe", "poro-chat", "qwen2", "smaug-bpe", "gpt-4o"]
)
@pytest.mark.parametrize("bos", [False, True])
def test_an_imported_tokenizer_comes_back(tmp_path: Path, pre: str, bos: bool) -> None:
    wanted = {"tokenizer.ggml.pre": pre, "tokenizer.ggml.add_bos_token": bos}
    write_gguf(tmp_path / "a.gguf", metadata=wanted)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "in")
    have, found = container.read(tmp_path / "a.gguf").metadata, metadata(tmp_path / "in")
    for key in ("model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id",
                "add_bos_token"):  # fmt: skip
        assert found[f"tokenizer.ggml.{key}"] == have[f"tokenizer.ggml.{key}"], key
    assert found["tokenizer.chat_template"] == "{{ messages }}"


@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_vocabulary_comes_back(
    tmp_path: Path,
    pieces: Any,  # noqa: F811
    prefix: bool,
) -> None:
    wanted = sentencepiece_metadata(pieces) | {"tokenizer.ggml.add_space_prefix": prefix}
    write_gguf(tmp_path / "a.gguf", "Q8_0", wanted)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "in")
    found = metadata(tmp_path / "in")
    for key in ("model", "tokens", "token_type", "add_space_prefix", "unknown_token_id"):
        assert found[f"tokenizer.ggml.{key}"] == wanted[f"tokenizer.ggml.{key}"], key
    assert found["tokenizer.ggml.add_bos_token"] is True
    order = [f"tokenizer.ggml.{key}" for key in ("tokens", "token_type", "scores")]
    assert importing.gguf_tokenizer.merges_of(*(found[key] for key in order)) == (
        importing.gguf_tokenizer.merges_of(*(wanted[key] for key in order))
    )


def test_a_tokenizer_in_the_form_of_gemmas_own(
    tmp_path: Path,
    pieces: Any,  # noqa: F811
) -> None:
    """It splits at spaces when none is left, and has a token for pictures behind the embeddings,
    which llama.cpp's own conversion leaves out too."""
    wanted = sentencepiece_metadata(pieces) | {"tokenizer.ggml.add_space_prefix": False}
    write_gguf(tmp_path / "a.gguf", "Q8_0", wanted)
    folder = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "in").folder
    found, path = metadata(folder), folder / "tokenizer.json"
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    have, rows = json.loads(path.read_text())["added_tokens"], len(found["tokenizer.ggml.tokens"])
    edit(
        path,
        normalizer=spaces,
        pre_tokenizer={**split, "invert": False},
        added_tokens=[*have, added("<image_soft_token>", rows, special=True)],
    )
    assert metadata(folder) == found
    edit(path, pre_tokenizer={**split, "invert": True})
    with pytest.raises(ModelError, match=r"puts spaces before words in a way of its own"):
        metadata(folder)


def test_what_ends_a_completion_in_mlx_ends_it_there(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", None, eos_token_id=[5, 0])
    found = metadata(folder)
    assert found["tokenizer.ggml.eos_token_id"] == 0  # the one it is trained on
    assert found["tokenizer.ggml.eot_token_id"] == 5


def test_a_base_that_composes_accents_is_written_as_one_that_does_not(tmp_path: Path) -> None:
    """As Qwen's do: llama.cpp has the same tokens of any text in the usual form, NFC."""
    folder = base(tmp_path / "base", None)
    wanted = metadata(folder)
    edit(folder / "tokenizer.json", normalizer={"type": "NFC"})
    assert metadata(folder) == wanted


def test_runs_of_one_character_may_overlap(tmp_path: Path) -> None:
    """As Gemma's spaces and newlines do; other tokens may not, whatever runs there are."""
    runs = [added("  ", 264), added("    ", 265), added("\n\n", 266), added("\n\n\n", 267)]
    folder = base(tmp_path / "base", None)
    edit(folder / "tokenizer.json", added_tokens=[added("<eos>", 0, special=True), *runs])
    edit(folder / "config.json", vocab_size=268)
    assert metadata(folder)["tokenizer.ggml.tokens"][264:] == [run["content"] for run in runs]
    more = [added("<eos>", 0, special=True), *runs, added(" \n", 268)]
    edit(folder / "tokenizer.json", added_tokens=more)
    edit(folder / "config.json", vocab_size=269)
    with pytest.raises(ModelError, match=r"can overlap in a text"):
        metadata(folder)


def test_ends_that_llama_cpp_knows_by_their_text_need_no_role(tmp_path: Path) -> None:
    ends = ["<|end|>", "<|im_end|>", "<|eot_id|>"]
    names = [*tokens()[:-4], *ends, "<user>"]
    wanted = {"tokenizer.ggml.tokens": names, "tokenizer.ggml.merges": ["Ġ t"]}
    write_gguf(tmp_path / "a.gguf", metadata=wanted)
    importing.import_gguf(tmp_path / "a.gguf", tmp_path / "in")
    config = json.loads((tmp_path / "in" / "config.json").read_text())
    assert sorted(config["eos_token_id"]) == [1, *sorted(map(names.index, ends))]
    assert metadata(tmp_path / "in")["tokenizer.ggml.eos_token_id"] == 1


SPLIT = {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Isolated", "invert": False}
BYTES = DIGITS_THEN_WORDS["pretokenizers"][1]


def added(content: str, i: int, **flags: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": i, "content": content, **plain, **flags}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pre_tokenizer": {**BYTES, "use_regex": False}}, r"merges 'ab\\n' across the borders"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPLIT, BYTES]}},
         "splits text into words in a way of its own"),
        ({"pre_tokenizer": {**BYTES, "add_prefix_space": True}}, "in a way of its own"),
        ({"pre_tokenizer": None}, "in a way of its own"),
        ({"normalizer": {"type": "NFKC"}}, r"normalizes text \(NFKC\)"),
        ({"added_tokens": [added("<eos>", 0, lstrip=True)]}, "takes the spaces or words beside"),
        ({"added_tokens": [added("<eos>", 0), added("a<e", 300)]}, "'a<e' and '<eos>' can overlap"),
        ({"added_tokens": [added("<eos>", 0), added("big", 300)]}, "token 300 has no row among"),
        ({"added_tokens": [added("ab", 0)]}, "have the same text"),
        ({"model": {"type": "WordLevel", "vocab": {}}}, "its model is 'WordLevel'"),
    ],
)  # fmt: skip
def test_tokenizers_that_llama_cpp_has_no_equal_of(
    tmp_path: Path, lora: Path, changes: dict[str, Any], text: str
) -> None:
    from mlx_lm.utils import load_tokenizer

    folder = base(tmp_path / "base", None)
    tokenizer = load_tokenizer(folder, eos_token_ids=0)
    edit(folder / "tokenizer.json", **changes)
    with pytest.raises(ModelError, match=text) as raised:
        vocab.metadata(folder, tokenizer, 264)
    assert "\n" not in str(raised.value)
    assert "llama.cpp has no tokenizer like the base's" in str(raised.value)


def test_a_tokenizer_that_comes_back_otherwise_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a part ever be misread: the last check compares tokens themselves."""
    monkeypatch.setattr(vocab, "_patterns", lambda node: vocab.WORDS["gpt-2"].patterns)
    with pytest.raises(ModelError, match=r"would be .*, not .*; use --format fused"):
        metadata(folder)


def test_a_file_that_mlx_lm_reads_otherwise_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocab, "misread", lambda folder, tokenizer: "a text")
    with pytest.raises(ModelError, match=r"mlx-lm reads 'a text' otherwise than the base's token"):
        metadata(folder)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "qwen2_moe"}, "'qwen2_moe' model, and only llama, .* use --format fused"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rotary embedding is 'dynamic'"),
        (
            {"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale_all_dim": 1.0}},
            "yarn has an mscale of its own",
        ),
        ({"rope_traditional": True}, "rotary embedding is 'traditional'"),
        (
            {"layer_types": ["full_attention"] + ["sliding_attention"] * 2, "sliding_window": 8},
            "has sliding windows",
        ),
        ({"max_position_embeddings": None}, "names no max_position_embeddings"),
    ],
)  # fmt: skip
def test_bases_without_a_form_in_gguf(
    folder: Path, lora: Path, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    shutil.copytree(folder, tmp_path / "base")
    edit(tmp_path / "base" / "config.json", **changes)
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=text) as raised:
        gguf_model.write(source(tmp_path / "base", lora), tmp_path / "out")
    assert "\n" not in str(raised.value)
    if "model_type" in changes:
        with pytest.raises(ModelError, match=text):
            gguf_lora.write(source(tmp_path / "base", lora), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_an_adapter_of_another_base_is_refused(folder: Path, tmp_path: Path) -> None:
    other = base(tmp_path / "other", None, intermediate_size=96)
    laid_on = adapter(other, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"mlp\.\w+_proj is \[\d+, \d+\], not \[\d+, \d+\]"):
        gguf_model.write(source(folder, laid_on), tmp_path)


def test_what_else_is_refused(
    folder: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="type 'Q5_K' cannot be written: F32, F16, Q8_0, Q4_0"):
        gguf_model.write(source(folder, lora), tmp_path, "Q5_K")
    big = adapter(folder, tmp_path / "big", size=300.0)
    with pytest.raises(ModelError, match="over half precision: use F32"):
        gguf_model.write(source(folder, big), tmp_path, "F16")
    with pytest.raises(ModelError, match="cannot be written: No such file"):
        gguf_lora.write(source(folder, lora), tmp_path / "none")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"pip install 'star-mlx\[gguf\]'"):
        gguf_lora.write(source(folder, lora), tmp_path)
    assert os.listdir(tmp_path) == ["big"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_half_written_stays(
    folder: Path, lora: Path, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gguf_model._packed

    def fail(values: Any, kind: str, name: str) -> Any:
        if "layers.1" in name:
            assert [p.name for p in tmp_path.iterdir()] == ["my-run-007-F16.gguf.partial"]
            raise error
        return packed(values, kind, name)

    monkeypatch.setattr(gguf_model, "_packed", fail)
    with pytest.raises(ModelError if isinstance(error, OSError) else type(error)):
        gguf_model.write(source(folder, lora), tmp_path)
    assert os.listdir(tmp_path) == []


# --------------------------------------------------------------------------- llama.cpp itself

TOKENS = 32
TRAINING = Train(
    rank=8, scale=2.0, dropout=0.0, layers=-1, keys=None, learning_rate=2e-3, warmup=2,
    decay="none", batch_size=8, max_length=512, grad_clip=1.0, weight_decay=0.0,
)  # fmt: skip


def example(a: int, b: int) -> tuple[str, str]:
    return f"Input:\n{question(a, b)}\nTarget:\n", f"{scratchpad(a, b)}\n{spaced(a + b)}"


def sums(n: int, seed: int) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    sizes = [10**digits for digits in (1, 2, 3, 4) for _ in range(-(-n // 4))]
    return [(rng.randrange(s // 10, s), rng.randrange(s // 10, s)) for s in sizes[:n]]


def prompts() -> list[str]:
    """20 prompts of the arithmetic task, each after one worked sum."""
    first = "".join(example(624, 259)) + "\n\n"
    return [first + example(a, b)[0] for a, b in sums(20, 3)]


# a folder's engine, kept while its models are compared
opened = functools.lru_cache(maxsize=1)(open_engine)


def mlx(
    folder: str | Path, laid_on: Path | None, asked: Sequence[str], tokens: int = TOKENS
) -> list[list[int]]:
    """The ids of MLX's greedy continuations, the end token included, as llama.cpp counts."""
    engine = opened(str(folder))
    done = engine.generate(
        asked, Decoding(max_tokens=tokens, stop=()), prefix="", adapter=laid_on,
        seeds=[0] * len(asked), progress=lambda *_: None,
    )  # fmt: skip
    end = {"stop": [engine._text.end], "length": []}
    return [[*completion.token_ids, *end[completion.finish]][:tokens] for completion in done]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> ExportSource:
    """An adapter that a few steps of training left on ``tiny``."""
    engine, out = open_engine("tiny"), tmp_path_factory.mktemp("taught") / "adapter"
    rows = [
        Example(f"{a}+{b}", prompt, text, "direct", tuple(engine.encode(text)), 1)
        for a, b in sums(40, 1)
        for prompt, text in [example(a, b)]
    ]
    engine.train(rows, TRAINING, Amount(steps=20), seed=0, out=out, progress=lambda step: None)
    return ExportSource(RunRecord(Path("taught"), {}, []), 1, out, find("tiny"))


@pytest.fixture(scope="module")
def wanted(taught: ExportSource) -> list[list[int]]:
    """What MLX continues with; the adapter changes it, and the continuations differ."""
    found = mlx("tiny", taught.adapter, prompts())
    bare = mlx("tiny", None, prompts())
    assert sum(a != b for a, b in zip(found, bare, strict=True)) >= 3
    assert len({tuple(ids) for ids in found}) >= 15
    return found


def ties(
    folder: str | Path,
    laid_on: Path | None,
    asked: Sequence[str],
    wanted: list[list[int]],
    found: list[list[int]],
) -> dict[int, float]:
    """Prompts whose continuations differ -> by how much MLX preferred its own token to
    llama.cpp's (logits) at the first place where they do."""
    import mlx.core as mx

    engine, gaps = opened(str(folder)), {}
    engine._switch.use(laid_on)
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if a != b:
            at = next(n for n in range(len(a)) if a[: n + 1] != b[: n + 1])
            ids = [*engine._text.prompt(asked[i]), *a[:at]]
            logits = np.array(engine._base.model(mx.array([ids]))[0, -1].astype(mx.float32))
            gaps[i] = float(logits[a[at]] - logits[b[at]])
    return gaps


# of 20 prompts: at most so many may part, and only where MLX's two best tokens are so close
@pytest.mark.download
@pytest.mark.parametrize(
    ("kind", "most", "close"), [("F32", 0, 0), ("F16", 1, 0.02), ("Q8_0", 2, 0.1)]
)
def test_llama_cpp_continues_tiny_as_mlx_does(
    taught: ExportSource,
    wanted: list[list[int]],
    tmp_path: Path,
    kind: str,
    most: int,
    close: float,
) -> None:
    (path,) = gguf_model.write(taught, tmp_path, kind)
    found = llama_cpp.ask(path, prompts=prompts(), tokens=TOKENS).continuations
    gaps = ties("tiny", taught.adapter, prompts(), wanted, found)
    assert len(gaps) <= most and all(gap < close for gap in gaps.values()), gaps


@pytest.mark.download
def test_llama_cpp_continues_q4_0_as_mlx_does_with_the_same_weights(
    taught: ExportSource, tmp_path: Path
) -> None:
    (path,) = gguf_model.write(taught, tmp_path, "Q4_0")
    importing.import_gguf(path, tmp_path / "in")
    wanted = mlx(tmp_path / "in", None, prompts())
    found = llama_cpp.ask(path, prompts=prompts(), tokens=TOKENS).continuations
    gaps = ties(tmp_path / "in", None, prompts(), wanted, found)
    assert len(gaps) <= 2 and all(gap < 0.1 for gap in gaps.values()), gaps


@pytest.mark.download
def test_llama_cpp_lays_the_adapter_on_tiny(
    taught: ExportSource, wanted: list[list[int]], tmp_path: Path
) -> None:
    (lora,) = gguf_lora.write(taught, tmp_path)
    gguf_model.convert(taught.base, tmp_path / "tiny.gguf", "F32", None, title="tiny")
    bare = llama_cpp.ask(tmp_path / "tiny.gguf", prompts=prompts(), tokens=TOKENS)
    assert bare.continuations == mlx("tiny", None, prompts()) != wanted
    on = llama_cpp.ask(tmp_path / "tiny.gguf", lora=lora, prompts=prompts(), tokens=TOKENS)
    assert on.continuations == wanted


@pytest.mark.download
def test_llama_cpp_has_tinys_tokens_for_every_text(taught: ExportSource, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    gguf_model.convert(taught.base, tmp_path / "tiny.gguf", "Q8_0", None, title="tiny")
    rng = random.Random(0)
    parts = [*"0123456789+,:C \n(|.!?", " C:", "Input:", "Target:", "<scratch>", "</scratch>",
             "<|endoftext|>", "  ", "\n\n", "é", "世", "\u00a0", "\x85", "▁"]  # fmt: skip
    texts = ["".join(rng.choices(parts, k=rng.randrange(1, 40))) for _ in range(2000)]
    texts += [text for text in strings() if "\0" not in text] + prompts()
    tokenizer = Tokenizer.from_file(str(taught.base.folder / "tokenizer.json"))
    found = llama_cpp.ask(tmp_path / "tiny.gguf", texts=texts).ids
    for text, ids, encoded in zip(texts, found, tokenizer.encode_batch(texts), strict=True):
        assert ids == encoded.ids, repr(text)


QUESTIONS = """\
What is the capital of France?|How many legs has a spider?|Who wrote Hamlet?|What is 12 + 30?
Name a colour of the rainbow.|What do bees make?|What is the boiling point of water?
How many days has a week?"""


@pytest.mark.download
def test_llama_cpp_continues_smollm2_as_mlx_does(
    smollm2: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Both forms, with a random adapter: a whole model in F16, and the adapter on the F32 base."""
    laid_on = adapter(smollm2, tmp_path / "adapter", size=0.02)
    asked = [f"Question: {q}\nAnswer:" for q in QUESTIONS.replace("\n", "|").split("|")]
    assert len(asked) == 8
    wanted, bare = mlx(smollm2, laid_on, asked, 6), mlx(smollm2, None, asked, 3)
    assert sum(a[:3] != b for a, b in zip(wanted, bare, strict=True)) >= 4
    (whole,) = gguf_model.write(source(smollm2, laid_on), tmp_path, "F16")
    found = llama_cpp.ask(whole, prompts=asked, tokens=6).continuations
    gaps = ties(smollm2, laid_on, asked, wanted, found)
    assert len(gaps) <= 1 and all(gap < 0.02 for gap in gaps.values()), gaps
    whole.unlink()
    (lora,) = gguf_lora.write(source(smollm2, laid_on), tmp_path)
    gguf_model.convert(Found("b", smollm2), tmp_path / "b.gguf", "F32", None, title="b")
    found = llama_cpp.ask(tmp_path / "b.gguf", lora=lora, prompts=asked, tokens=6).continuations
    assert found == wanted


@pytest.mark.download
@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "llama-bpe", "default", "SentencePiece"])
def test_llama_cpp_has_the_bases_tokens(
    tmp_path: Path,
    pieces: Any,  # noqa: F811
    pre: str,
) -> None:
    """Of bases that were imported, and so have their tokenizers in Hugging Face's form."""
    from tokenizers import Tokenizer

    spm = pre == "SentencePiece"
    wanted = sentencepiece_metadata(pieces) if spm else {"tokenizer.ggml.pre": pre}
    write_gguf(tmp_path / "a.gguf", "Q8_0", wanted)
    folder = importing.import_gguf(tmp_path / "a.gguf", tmp_path / "in").folder
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "Q8_0", None, title="b")
    texts = [text for text in strings() if "\0" not in text]
    texts += ["x<s>y <s> z", "the<user> the", "1234567 it's IT'S\r\n\r\n  x"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    for text, ids, want in zip(
        texts, llama_cpp.ask(tmp_path / "b.gguf", texts=texts).ids, encoded, strict=True
    ):
        assert ids == want.ids, repr(text)
