"""Every architecture of GGUF there and back, and as llama.cpp computes it.

llama.cpp is the judge of both directions: a file whose names, rows, norms or rotary embedding were
not as it expects would not load, or would be continued otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx import engine as engines
from star_mlx.engine.resolve import Found
from star_mlx.errors import ModelError
from star_mlx.export import export, gguf_lora, gguf_model
from star_mlx.gguf import config as gguf_config
from star_mlx.gguf import container, importing
from star_mlx.gguf.words import QWEN2
from star_mlx.recipe import loading
from star_mlx.tasks import own
from tests import families, gguf_families, llama_cpp, parting
from tests.test_export_gguf import adapter, edit, imported, mlx, opened, source, step, ties
from tests.test_gguf import loaded, same_bits

pytestmark = pytest.mark.slow

# as in the files of Qwen, whose class of tokenizers splits so whatever the file says
WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}
TOKENS = 8


@pytest.fixture(scope="module", params=list(gguf_families.FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and its GGUF file, F32, in a folder."""
    place = tmp_path_factory.mktemp("family")
    folder = gguf_families.write(place / "base", request.param)
    edit(folder / "tokenizer.json", pre_tokenizer=WORDS)
    gguf_model.convert(Found("base", folder), place / "base.gguf", "F32", None, title="base")
    return place


def prompts() -> list[str]:
    """Prompts within and beyond the windows and contexts of the families."""
    rng = random.Random(1)
    return ["".join(rng.choices("0123456789 abxyz.,\n+=", k=n)) for n in (3, 20, 60, 100, 150, 200)]


def test_it_comes_back_as_it_went(family: Path) -> None:
    have, want = imported(family / "base.gguf", family / "in"), loaded(family / "base")
    gemma = "rope_local_base_freq" in (family / "in" / "config.json").read_text()
    assert have.keys() == want.keys()
    for name, array in want.items():
        values = np.array(array)
        if gemma and name.endswith("norm.weight"):  # as mlx-lm uses it, with 1 added
            have[name], values = have[name] + np.float32(1), values + np.float32(1)
        assert same_bits(have[name], values), name
    back = json.loads((family / "in" / "config.json").read_text())
    sent = json.loads((family / "base" / "config.json").read_text())
    scaling = sent.pop("rope_scaling", None)
    assert (back["rope_scaling"] or {}).items() >= (scaling or {}).items()
    assert {key: back[key] for key in sent if key != "architectures"} == {
        key: value for key, value in sent.items() if key != "architectures"
    }


@pytest.mark.download
def test_llama_cpp_continues_it_as_mlx_does(family: Path) -> None:
    """The base, whole with a random adapter in it, and with the adapter beside it."""
    base, asked = family / "base", prompts()
    laid_on = adapter(base, family / "adapter")
    wanted = mlx(base, laid_on, asked, TOKENS)
    assert wanted != mlx(base, None, asked, TOKENS)
    (whole,) = gguf_model.write(source(base, laid_on), family, "F32")
    (lora,) = gguf_lora.write(source(base, laid_on), family)
    for found in (
        llama_cpp.ask(whole, prompts=asked, tokens=TOKENS).continuations,
        llama_cpp.ask(family / "base.gguf", lora=lora, prompts=asked, tokens=TOKENS).continuations,
    ):
        assert found == wanted, ties(base, laid_on, asked, wanted, found)
    opened.cache_clear()


@pytest.mark.download
@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma3", "phi3"])
def test_llama_cpp_continues_each_type_as_mlx_does_with_the_same_weights(
    tmp_path: Path, name: str, kind: str
) -> None:
    """An export in a type with less than float32, imported again."""
    folder = gguf_families.write(tmp_path / "base", name)
    edit(folder / "tokenizer.json", pre_tokenizer=WORDS)
    gguf_model.convert(Found("base", folder), tmp_path / "a.gguf", kind, None, title="base")
    have, want = imported(tmp_path / "a.gguf", tmp_path / "in"), loaded(folder)
    for module in ("model.layers.1.mlp.down_proj", "model.embed_tokens"):
        values = np.array(want[f"{module}.weight"])
        stored = "Q8_0" if kind == "Q4_0" and "embed" in module else kind
        differ = np.abs(have[f"{module}.weight"] - values)
        assert differ.any() and (differ <= step(values, stored)).all(), module
    wanted = mlx(tmp_path / "in", None, prompts(), TOKENS)
    found = llama_cpp.ask(tmp_path / "a.gguf", prompts=prompts(), tokens=TOKENS).continuations
    parted = parting.partings(opened(str(tmp_path / "in"))._text, prompts(), wanted, found)
    assert len(parted) <= 3, parted
    assert parting.unlike(tmp_path / "in", tmp_path / "a.gguf", parted) == {}
    opened.cache_clear()


def test_an_imported_gemma_goes_through_a_run_and_out_again(tmp_path: Path) -> None:
    """With quantized weights, and a run that is interrupted and resumed."""
    folder = gguf_families.write(tmp_path / "base", "gemma3")
    edit(folder / "tokenizer.json", pre_tokenizer=WORDS)
    gguf_model.convert(Found("b", folder), tmp_path / "b.gguf", "Q4_0", None, title="b")
    importing.import_gguf(tmp_path / "b.gguf", tmp_path / "in")
    task = families.Always()
    settings = [*families.SETTINGS, "prompts.chat=false", "prompts.system=null"]
    with own.offered(task):
        recipe = loading.load(
            task=own.name_of(task), model=str(tmp_path / "in"), overrides=settings
        )
        engine = engines.open_base(recipe)
        run = families.interrupted_and_resumed(recipe, tmp_path / "run", engine)
        for form in ("gguf", "gguf-lora"):
            export(run, "last", form, tmp_path / form, kind="F32")
    found = engine.describe()
    assert found["imported"]["weights"].keys() == {"F32", "Q4_0", "Q8_0"}
    assert found["prefix"] == "copied: its layers keep RotatingKVCache"
    have = imported(tmp_path / "gguf/run-002-F32.gguf", tmp_path / "out")
    bare = loaded(tmp_path / "in")
    assert have.keys() == bare.keys()
    changed = {name for name in have if not np.allclose(have[name], bare[name], atol=1e-7)}
    assert changed == {name for name in have if "proj" in name}
    lora = container.read(tmp_path / "gguf-lora/run-002-lora.gguf")
    assert lora.metadata["general.architecture"] == "gemma3"
    assert len(lora.tensors) == 2 * 7 * 7


# --------------------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, container.Gguf]:
    place, found = tmp_path_factory.mktemp("files"), {}
    for name in ("qwen2", "qwen3", "gemma3", "phi3", "phi3 with longrope", "smollm3"):
        folder = gguf_families.write(place / name, name)
        edit(folder / "tokenizer.json", pre_tokenizer=WORDS)
        gguf_model.convert(Found("b", folder), place / f"{name}.gguf", "F32", None, title="b")
        found[name] = container.read(place / f"{name}.gguf")
    return found


@pytest.mark.parametrize(
    ("family", "changes", "text"),
    [
        ("qwen2", {"qwen2.attention.key_length": 16, "qwen2.attention.value_length": 16},
         "4 heads, 2 for keys, of 16 do not fit"),
        ("qwen2", {"qwen2.rope.dimension_count": 4}, "dimension_count is 4 of 8; partly rotated"),
        ("qwen2", {"qwen2.expert_count": 4}, "is a mixture of experts"),
        ("qwen3", {"qwen3.rope.scaling.attn_factor": 1.2}, "attn_factor is 1.2; mlx-lm knows 1"),
        ("phi3", {"phi3.rope.scaling.attn_factor": 1.2}, "attn_factor is 1.2; mlx-lm knows 1"),
        ("qwen3", {"qwen3.rope.scaling.type": "longrope"}, "`none`, `linear` and `yarn` are known"),
        ("gemma3", {"gemma3.rope.scaling.type": "yarn"}, "'yarn'; `none` and `linear` are known"),
        ("gemma3", {"gemma3.final_logit_softcapping": 30.0}, "is 30.0, which mlx-lm's gemma3_text"),
        ("gemma3", {"gemma3.attention.sliding_window": None}, "lacks the metadata gemma3"),
        ("gemma3", {"gemma3.attention.sliding_window_pattern": 9}, "is 9, not a number of its 7"),
        ("gemma3", {"gemma3.attention.sliding_window_pattern": [True, False] * 3 + [False]},
         "has no one period"),
        ("phi3", {"phi3.rope.dimension_count": 10}, "dimension_count is 10 of 8"),
        ("phi3", {"phi3.rope.scaling.type": "longrope"}, "without the factors of `longrope`"),
        ("phi3 with longrope", {"phi3.rope.scaling.attn_factor": 1.0}, "is 1; mlx-lm knows 1.22"),
        ("phi3 with longrope", {"phi3.rope.scaling.original_context_length": None}, "lacks the"),
    ],
)  # fmt: skip
def test_metadata_it_cannot_take(
    files: dict[str, container.Gguf], family: str, changes: dict[str, Any], text: str
) -> None:
    file = files[family]
    gguf_config.read(file)
    kept = {k: v for k, v in {**file.metadata, **changes}.items() if v is not None}
    with pytest.raises(ModelError, match=text):
        gguf_config.read(dataclasses.replace(file, metadata=kept))


@pytest.mark.parametrize("pattern", [4, [True, True, True, False, True, True, True]])
def test_the_period_of_the_windows_is_the_files(
    files: dict[str, container.Gguf], pattern: Any
) -> None:
    file = files["gemma3"]
    changed = {**file.metadata, "gemma3.attention.sliding_window_pattern": pattern}
    config, _ = gguf_config.read(dataclasses.replace(file, metadata=changed))
    assert (config["sliding_window"], config["sliding_window_pattern"]) == (24, 4)


def test_longrope_is_that_of_short_texts(files: dict[str, container.Gguf]) -> None:
    file = files["phi3 with longrope"]
    long = dataclasses.replace(file.tensors["rope_factors_long.weight"], kind="not read")
    tensors = {**file.tensors, "rope_factors_long.weight": long}
    config, _ = gguf_config.read(dataclasses.replace(file, tensors=tensors))
    assert config["rope_scaling"]["long_factor"] == [1.0, 1.5, 2.0, 4.0]


def test_tensors_that_do_not_fit_an_architecture(files: dict[str, container.Gguf]) -> None:
    phi3, llama = files["phi3 with longrope"], files["qwen2"]
    short = {k: v for k, v in phi3.tensors.items() if k != "rope_factors_short.weight"}
    with pytest.raises(ModelError, match=r"lacks the tensor rope_factors_short\.weight"):
        gguf_config.read(dataclasses.replace(phi3, tensors=short))
    without = {k: v for k, v in llama.tensors.items() if k != "blk.1.attn_k.bias"}
    with pytest.raises(ModelError, match=r"blk\.1\.attn_k\.bias: it is not a whole qwen2 model"):
        gguf_config.read(dataclasses.replace(llama, tensors=without))
    extra = {**llama.tensors, "rope_freqs.weight": phi3.tensors["rope_factors_short.weight"]}
    with pytest.raises(ModelError, match=r"mlx-lm's qwen2 has no place for the tensor rope_freqs"):
        gguf_config.read(dataclasses.replace(llama, tensors=extra))
