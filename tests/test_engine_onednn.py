"""Products in bfloat16: when they can be had, and that they are right."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import blas, onednn, open_engine
from star_mlx.errors import ModelError
from star_mlx.settings import Train
from star_mlx.types import Amount, Completion, Decoding, Example, Trained
from tests import tiny_random

blas.load()  # before mlx is imported

HERE = pytest.mark.skipif(bool(onednn.problem()), reason=onednn.problem())
ROUNDING = 2**-8  # of a number in bfloat16, relative


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("_flags", lambda: {"avx512f"}, "this processor has no instructions for bfloat16"),
        ("_shim", None, "mlx was not given OpenBLAS by star-mlx (see star-mlx doctor)"),
        ("_library", lambda: None, "oneDNN is not installed: pip install 'star-mlx[cpu-bfloat16]'"),
        ("_library", lambda: "/nowhere/libdnnl.so.3", "oneDNN cannot be loaded: /nowhere/libdnnl"),
        ("_library", lambda: "libc.so.6", "oneDNN lacks dnnl_engine_create: pip install"),
    ],
)
def test_bfloat16_is_refused_in_a_line_that_says_why(
    name: str, value: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if onednn._shim is None:
        pytest.skip("no forwarding library for this machine")
    monkeypatch.setattr(onednn, "_opened", False)
    monkeypatch.setattr(onednn.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onednn, "_flags", lambda: {"amx_bf16"})
    monkeypatch.setattr(onednn, name, value)
    with pytest.raises(ModelError) as raised:
        open_engine("tiny", products="bfloat16")
    text = str(raised.value)
    assert text.startswith(f"model.products=bfloat16 cannot be had here: {said}")
    assert "\n" not in text


def test_a_missing_openmp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if onednn._shim is None:
        pytest.skip("no forwarding library for this machine")

    def missing() -> None:
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(onednn, "_opened", False)
    monkeypatch.setattr(onednn.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onednn, "_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(onednn, "_library", lambda: "libc.so.6")
    monkeypatch.setattr(onednn, "_openmp", missing)
    assert onednn.problem().endswith("is not installed: apt install libgomp1")


def packed(*layers: Any) -> Any:
    """A model of these layers, whose weights are registered."""
    import mlx.core as mx
    import mlx.nn as nn

    from star_mlx.engine.packed import Packed

    model = nn.Sequential(*layers)
    mx.eval(model.parameters())
    return Packed(model)


def rounded(a: Any) -> Any:
    """The nearest numbers in bfloat16, as float64."""
    import mlx.core as mx

    return np.array(mx.array(a).astype(mx.bfloat16).astype(mx.float32)).astype(np.float64)


@HERE
@pytest.mark.parametrize("rows", [1, 3, 64, 200])
@pytest.mark.parametrize("bias", [False, True])
def test_a_registered_weight_is_multiplied_in_bfloat16_both_ways(rows: int, bias: bool) -> None:
    import mlx.core as mx
    import mlx.nn as nn

    layer = nn.Linear(96, 160, bias=bias)
    kept = packed(layer)
    before = onednn.counts()
    x = mx.random.normal((rows, 96), key=mx.random.key(1))
    y = mx.random.normal((rows, 160), key=mx.random.key(2))
    found, (back,) = mx.vjp(layer, [x], [y])
    mx.eval(found, back)
    after = onednn.counts()
    assert (after[0] - before[0], after[1] - before[1]) == (2, 0)
    weight = rounded(layer.weight)
    added = np.array(layer.bias) if bias else 0.0
    np.testing.assert_allclose(
        np.array(found[0]), rounded(x) @ weight.T + added, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(np.array(back), rounded(y) @ weight, rtol=1e-4, atol=1e-5)
    del kept


@HERE
def test_nothing_else_is_rounded() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    layer, other = nn.Linear(96, 160, bias=False), nn.Linear(96, 160, bias=False)
    x = mx.random.normal((8, 96), key=mx.random.key(1))
    exact = [np.array(m(x)) for m in (layer, other)]
    half = np.array(x @ layer.weight[:80].T)
    kept = packed(layer)
    assert not np.array_equal(np.array(layer(x)), exact[0])
    assert np.array_equal(np.array(other(x)), exact[1])
    assert np.array_equal(np.array(x @ layer.weight[:80].T), half)  # a part, at the same address
    kept._registry.keep({})
    assert np.array_equal(np.array(layer(x)), exact[0])
    del kept


@HERE
def test_weights_are_forgotten_with_the_model() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    layer = nn.Linear(96, 160, bias=False)
    x = mx.random.normal((8, 96), key=mx.random.key(1))
    exact = np.array(layer(x))
    kept = packed(layer)
    assert not np.array_equal(np.array(layer(x)), exact)
    del kept
    gc.collect()
    assert np.array_equal(np.array(layer(x)), exact)


@HERE
def test_a_weight_changed_many_times_is_found_each_time() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    layer = nn.Linear(32, 32, bias=False)
    kept = packed(layer)
    x = mx.random.normal((4, 32), key=mx.random.key(1))
    for i in range(50):
        layer.weight = mx.random.normal((32, 32), key=mx.random.key(i))
        kept.update()
        before = onednn.counts()
        found = np.array(layer(x))
        assert onednn.counts()[0] == before[0] + 1
        right = rounded(x) @ rounded(layer.weight).T
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


def written(engine: Any, adapter: Path | None = None) -> list[Completion]:
    made: list[Completion] = engine.generate(
        [f"{i} + {i} =" for i in range(20)], Decoding(max_tokens=12, stop=(), batch_size=16),
        prefix="1 + 1 = 2. ", adapter=adapter, seeds=[0] * 20, progress=lambda done, total: None,
    )  # fmt: skip
    return made


def trained(engine: Any, out: Path) -> Trained:
    text = " the sum."
    ids = tuple(engine.encode(text))
    examples = [Example(str(i), f"{i} + 1 =", text, "given", ids, iteration=1) for i in range(12)]
    made: Trained = engine.train(
        examples, Train(rank=4, batch_size=4, learning_rate=1e-3), Amount(epochs=3),
        seed=0, out=out, progress=lambda step: None,
    )  # fmt: skip
    return made


@HERE
@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_an_engine_decodes_and_trains_in_bfloat16(tied: bool, tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "intermediate_size": 128, "tie_word_embeddings": tied}
    folder = str(tiny_random.write(tmp_path / "base", **shape))
    exact, engine = open_engine(folder), open_engine(folder, products="bfloat16")
    assert engine.describe()["products"].startswith("bfloat16, oneDNN ")
    assert "products" not in exact.describe()
    before = onednn.counts()
    plain = written(engine)
    assert onednn.counts()[0] > before[0] and onednn.counts()[1] == before[1]
    assert [c.token_ids for c in written(engine)] == [c.token_ids for c in plain]
    one, other = trained(exact, tmp_path / "exact"), trained(engine, tmp_path / "rounded")
    assert other.first_loss == pytest.approx(one.first_loss, rel=0.02)
    assert other.last_loss == pytest.approx(one.last_loss, rel=0.02)
    folded = onednn.counts()[0]
    adapted = written(engine, tmp_path / "rounded")  # folded: its weights are registered anew
    assert onednn.counts()[0] > folded and onednn.counts()[1] == before[1]
    assert [c.token_ids for c in adapted] != [c.token_ids for c in plain]
    assert [c.token_ids for c in written(engine)] == [c.token_ids for c in plain]


def vacated(layer: Any) -> Any:
    """A model of one layer, whose weight is packed and its numbers given back."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_map

    from star_mlx.engine.packed import Packed

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.embed = nn.Embedding(10, 96)
            self.inner = inner

        def __call__(self, tokens: Any) -> Any:
            return self.inner(self.embed(tokens))

    model = Model(layer)
    mx.eval(model.parameters())
    stored = tree_map(lambda a: mx.array(np.array(a)), model.parameters())

    def again() -> Any:
        read = Model(type(layer)(96, 160, bias="bias" in layer))
        read.update(stored)
        return read

    return Packed(model, again)


@HERE
def test_numbers_that_packed_weights_replace_are_given_back_and_products_stay() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    layer = nn.Linear(96, 160, bias=True)
    exact = np.array(layer.weight)
    x = mx.random.normal((70, 96), key=mx.random.key(1))
    y = mx.random.normal((70, 160), key=mx.random.key(2))
    kept = packed(layer)
    outputs, (gradient,) = mx.vjp(layer, [x], [y])
    found = [np.array(outputs[0]), np.array(gradient)]
    del kept
    kept = vacated(layer)
    numbers = np.array(layer.weight)
    assert np.count_nonzero(numbers == 0) > numbers.size // 2
    outputs, (gradient,) = mx.vjp(layer, [x], [y])
    assert np.array_equal(np.array(outputs[0]), found[0])
    assert np.array_equal(np.array(gradient), found[1])
    onednn.trained()
    assert np.array_equal(np.array(mx.vjp(layer, [x], [y])[1][0]), found[1])
    # a product of another shape is computed from the packed numbers, by the BLAS
    part = np.array(x @ layer.weight[:80].T)
    np.testing.assert_allclose(part, np.array(x) @ rounded(exact)[:80].T, rtol=1e-4, atol=1e-4)
    for name, _ in kept.whole([("inner", {"linear": layer})]):
        assert name == "inner" and np.array_equal(np.array(layer.weight), exact)
    assert np.array_equal(np.array(layer(x)), found[0])
    assert kept.bytes == 10 * 96 * 4  # of the embedding alone


@HERE
def test_a_model_that_reads_its_weights_otherwise_keeps_their_numbers() -> None:
    import mlx.core as mx
    import mlx.nn as nn

    class Reads(nn.Module):  # type: ignore[misc]
        def __init__(self, *sizes: int, bias: bool = False) -> None:
            super().__init__()
            self.proj = nn.Linear(96, 160, bias=False)

        def __call__(self, x: Any) -> Any:
            return self.proj(x) + mx.sum(self.proj.weight, axis=1)

    layer = Reads()
    exact = np.array(layer.proj.weight)
    kept = vacated(layer)
    assert np.array_equal(np.array(layer.proj.weight), exact)
    del kept


@pytest.mark.slow
@HERE
def test_a_base_whose_files_change_cannot_get_an_adapter(tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "intermediate_size": 128}
    folder = tiny_random.write(tmp_path / "base", **shape)
    engine = open_engine(str(folder), products="bfloat16")
    trained(engine, tmp_path / "adapter")
    with open(folder / "model.safetensors", "ab") as file:
        file.write(b" ")
    with pytest.raises(ModelError, match="was changed while its model was in use: start again"):
        written(engine, tmp_path / "adapter")
    written(engine)


@HERE
@pytest.mark.slow
def test_gradients_of_an_adapter_are_near_those_in_float32(tmp_path: Path) -> None:
    """Every product with a weight of the base is in bfloat16. Gradients of this random model differ
    by 12% of their norm, those of SmolLM2 on a solution of GSM8K by 3% (docs/performance.md)."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from star_mlx.engine import adapter
    from star_mlx.engine.batches import TrainingRow
    from star_mlx.engine.loss import loss_sum, padded

    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4}
    folder = str(tiny_random.write(tmp_path / "base", **shape))
    rows = [TrainingRow(str(i), tuple((7 * i + 3 * j) % 90 for j in range(40)), 8) for i in (1, 2)]

    def gradient(engine: Any) -> Any:
        base = engine._base
        with adapter.fresh(base.model, Train(rank=4), seed=0) as model:
            for _, layer in adapter.layers(model):  # with zeros, half of the gradients would be 0
                layer.lora_b = mx.full(layer.lora_b.shape, 0.01)
            taken = nn.value_and_grad(model, loss_sum)
            before = onednn.counts()
            _, found = taken(model, base.form, *padded(rows))
            flat = mx.concatenate([a.reshape(-1) for _, a in tree_flatten(found)])
            mx.eval(flat)
            done, left = (a - b for a, b in zip(onednn.counts(), before, strict=True))
            return np.array(flat), done, left

    exact, none, _ = gradient(open_engine(folder))
    near, done, left = gradient(open_engine(folder, products="bfloat16"))
    # forward and back; the gradient goes no further than the first queries, keys and values
    assert (none, left, done) == (0, 0, 2 * (4 * 7 + 1) - 3)
    off = np.linalg.norm(near - exact) / np.linalg.norm(exact)
    assert 1e-5 < off < 0.15
