"""The import of three real GGUF files: SmolLM2 (llama), Qwen2.5-Coder (qwen2) and Gemma 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from star_mlx.gguf import config as gguf_config
from star_mlx.gguf import container, importing
from tests import downloads, llama_cpp, parting
from tests.test_export_gguf import mlx, opened, ties
from tests.test_gguf_types import values

pytestmark = [pytest.mark.download, pytest.mark.slow]
reader = pytest.importorskip("gguf")

TOKENS = 10  # of each continuation


@dataclass(frozen=True)
class Real:
    """A file: its tensors, the prefix of its prompts, and the share of an average weight by which
    the weights of one type may be off on average."""

    model: downloads.Model
    tensors: int
    prefix: str
    rounded: dict[str, float]


FILES = {
    "smollm2": Real(downloads.SMOLLM2, 272, "shared", {}),
    "qwen2": Real(downloads.QWEN2, 291, "shared", {"Q6_K": 0.006}),
    "gemma3": Real(downloads.GEMMA3, 236, "copied", {"Q6_K": 0.006}),
}


@pytest.fixture(
    scope="module",
    # each file's tests in one process, but another file's in another one
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in FILES],
)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A file, its path, and what was imported of it."""
    what = FILES[request.param]
    path = downloads.fetched(what.model)
    yield what, path, importing.import_gguf(path, tmp_path_factory.mktemp("real") / "base")
    opened.cache_clear()


def test_every_weight_has_the_value_it_has_in_the_file(real: Any) -> None:
    what, path, done = real
    file = container.read(path)
    offset = gguf_config.architecture(file).norm_offset
    (_, places), have = gguf_config.read(file), values(done.folder)
    tensors = reader.GGUFReader(path).tensors
    assert len(tensors) == len(places) == what.tensors
    for tensor in tensors:
        place, part = places[tensor.name], tensor.name.rpartition(".")[2]
        theirs = reader.dequantize(tensor.data, tensor.tensor_type)
        if place.heads:
            pairs = theirs.reshape(place.heads, -1, 2, theirs.shape[-1])
            theirs = pairs.swapaxes(1, 2).reshape(theirs.shape)
        ours = have(place.module, part)
        if offset and tensor.name.endswith("norm.weight"):
            ours = ours + np.float32(offset)  # as mlx-lm uses it
        if most := what.rounded.get(tensor.tensor_type.name):
            assert 0 < np.abs(ours - theirs).mean() < most * np.abs(theirs).mean(), tensor.name
        else:
            assert np.array_equal(ours, theirs), tensor.name
    assert set(done.nearest) == set(what.rounded)


def test_llama_cpp_continues_the_file_as_mlx_does(real: Any) -> None:
    """20 prompts. llama.cpp rounds what it multiplies quantized weights with to 8 bits, so that two
    tokens which are nearly as probable may change places, and no others."""
    what, path, done = real
    wanted = mlx(done.folder, None, parting.PROMPTS, TOKENS)
    found = llama_cpp.ask(path, prompts=parting.PROMPTS, tokens=TOKENS).continuations
    gaps = ties(done.folder, None, parting.PROMPTS, wanted, found)
    assert len(parting.PROMPTS) == 20 and len(gaps) <= 10, gaps
    assert all(gap < 0.5 for gap in gaps.values()), gaps
    engine = opened(str(done.folder))
    assert engine.describe()["prefix"].startswith(what.prefix)
    parted = parting.partings(engine._text, parting.PROMPTS, wanted, found)
    del engine
    opened.cache_clear()  # one model at a time
    assert parting.unlike(done.folder, path, parted) == {}
