"""What the engine does on a GPU, tried on a CPU: half precision, few kernels, whole batches."""

from __future__ import annotations

import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from star_mlx.engine import blas, open_engine
from star_mlx.types import Amount, Decoding
from tests import gpu_branch, tiny_random
from tests.test_engine_generate import complete
from tests.test_engine_train import LORA, examples, train

blas.load()  # before mlx is imported


@pytest.fixture(autouse=True, scope="module")
def gpu() -> Iterator[None]:
    with gpu_branch.taken():
        yield


# --- attention in half precision ---


def double(a: Any) -> Any:
    """An array of mlx in float64."""
    import mlx.core as mx

    return np.array(a.astype(mx.float32)).astype(np.float64)


def exact(q: Any, k: Any, v: Any, seen: Any, scale: float) -> Any:
    """Attention in float64 with keys and values for all heads."""
    scores = np.where(seen, q @ k.swapaxes(-1, -2) * scale, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights @ v / weights.sum(axis=-1, keepdims=True)


FAR = {"spread": 30.0, "offset": 300.0, "prefix": 4096, "own": 40, "level": 20.0, "length": 1,
       "width": (64, 0.125), "seed": 0}  # fmt: skip


@pytest.mark.slow
@example(kind="bfloat16", **FAR)
@example(kind="float16", **FAR)
@example(kind="float16", **{**FAR, "spread": 0.0})  # unnormalized sums would be infinite
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(["float16", "bfloat16"]),
    spread=st.sampled_from([0.0, 1.0, 5.0, 30.0]),  # of the scores: uniform to peaked
    offset=st.sampled_from([-300.0, 0.0, 100.0, 300.0]),
    prefix=st.sampled_from([1, 60, 1300]),
    own=st.sampled_from([1, 40]),
    level=st.sampled_from([0.0, 20.0]),  # of the values
    length=st.sampled_from([1, 5]),
    width=st.sampled_from([(64, 0.125), (80, 80**-0.5)]),
    seed=st.integers(0, 1000),
)
def test_half_precision_is_as_exact_as_its_rounding(
    kind: str, spread: float, offset: float, prefix: int, own: int, level: float, length: int,
    width: tuple[int, float], seed: int,
) -> None:  # fmt: skip
    """The error is at most twice that of the exact result rounded, the least of a fused kernel."""
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache, as_prefix

    (d, scale), b, g, h = width, 2, 2, 4
    own = max(own, length)
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> Any:
        return draw.normal(size=shape).astype(np.float32)

    q, k, pk = normal(b, h, length, d) * spread, normal(b, g, own, d), normal(g, prefix, d)
    q[..., 0], k[..., 0], pk[..., 0] = 16, offset / 16 / scale, offset / 16 / scale
    v, pv = normal(b, g, own, d) + level, normal(g, prefix, d) + level
    halves = [mx.array(a).astype(getattr(mx, kind)) for a in (q, k, v, pk, pv)]
    q, k, v, pk, pv = map(double, halves)
    columns = Columns([0, own - length], prefix)
    columns.advance(own - length)
    columns.advance(length)
    read = [type("Read", (), {"keys_and_values": lambda _: (halves[3][None], halves[4][None])})()]
    cache = SharedCache(columns, as_prefix(read)[0])
    found = attend(*halves[:3], cache, scale=scale, mask=cache.make_mask(length))
    assert found.dtype == halves[2].dtype

    keys, values = (
        np.repeat(np.concatenate([np.broadcast_to(a, (b, *a.shape)), one], axis=2), h // g, axis=1)
        for a, one in ((pk, k), (pv, v))
    )
    place, new = np.arange(own), np.arange(own - length, own)[:, None]
    seen = (place <= new) & (place >= np.array(columns.pads)[:, None, None, None])
    seen = np.concatenate([np.ones((b, 1, length, prefix), bool), seen], axis=-1)
    wanted = exact(q, keys, values, seen, scale)
    rounded = double(mx.array(wanted.astype(np.float32)).astype(found.dtype))
    off, least = double(found) - wanted, rounded - wanted
    assert np.isfinite(off).all()
    assert np.sqrt((off**2).mean()) <= 2 * np.sqrt((least**2).mean())
    unit = 2.0**-9 if kind == "bfloat16" else 2.0**-12  # three roundings, of the values' size
    assert np.abs(off).max() <= 3 * unit * np.abs(values).max()


# --- kernels ---

VIEWS = {"Reshape", "Transpose", "Slice", "Broadcast", "ExpandDims", "Squeeze", "Flatten",
         "Unflatten", "Split"}  # fmt: skip


def kernels(*outputs: Any) -> Counter[str]:
    """The kernels that compute arrays from those already evaluated."""
    import mlx.core as mx

    graph = io.StringIO()
    mx.export_to_dot(graph, *outputs)
    found = Counter(re.findall(r'label ="(\w+)', graph.getvalue()))
    return Counter({name: n for name, n in found.items() if name not in VIEWS})


@pytest.fixture(scope="module")
def model() -> Any:
    """A random llama in half precision, as it is on a GPU."""
    import mlx.core as mx
    from mlx_lm.models.llama import Model, ModelArgs

    from star_mlx.engine import patch

    made = Model(ModelArgs.from_dict({**tiny_random.CONFIG, "vocab_size": 64}))
    made.set_dtype(mx.bfloat16)
    patch.install(made)
    mx.eval(made.parameters())
    return made


@pytest.mark.parametrize("pads", [[0, 0, 0], [0, 2, 1]])
@pytest.mark.parametrize(("prefix", "more"), [(7, 12), (0, 0)])
def test_a_step_of_a_layer_takes_few_kernels(
    model: Any, pads: list[int], prefix: int, more: int
) -> None:
    """At most ``more`` than mlx-lm's own, which attends in one on a GPU (in several on a CPU)."""
    import mlx.core as mx
    from mlx_lm.models.cache import BatchKVCache

    from star_mlx.engine.shared_cache import Columns, SharedCache

    layer, heads = model.layers[0], 2
    tokens = mx.zeros((3, 4, 32), mx.bfloat16)
    ours = SharedCache(
        columns := Columns(pads, prefix),
        (mx.zeros((2, prefix, 8)), mx.zeros((2, prefix, 8))) if prefix else None,
    )
    theirs = BatchKVCache(pads)
    columns.advance(4)
    for cache in (ours, theirs):
        mx.eval(layer(tokens, cache.make_mask(4), cache))  # also makes room for more tokens
    columns.advance(1)
    layer(tokens[:, :1], ours.make_mask(1), ours)

    columns.advance(1)
    counts = []
    for cache in (ours, theirs):
        mask = cache.make_mask(1)
        mx.eval(cache.offset, mask, cache.keys, cache.values, columns.added(mask, heads))
        counts.append(kernels(layer(tokens[:, :1], mask, cache)))
    ours_more = counts[0].total() - counts[1].total()
    if prefix:
        q, k = mx.zeros((3, 4, 1, 8)), mx.zeros((3, 2, 4, 8))
        mask = mx.ones((3, 1, 1, 4), mx.bool_) if counts[1]["Select"] else None
        mx.eval(q, k, mask)
        fused = mx.fast.scaled_dot_product_attention(q, k, k, scale=1.0, mask=mask)
        ours_more += kernels(fused).total() - 1
        ours_more += 2  # a view that must be copied, and the second copy of joining two arrays
    assert ours_more <= more, counts


def test_the_layers_of_a_pass_add_the_same_mask() -> None:
    import mlx.core as mx

    from star_mlx.engine.shared_cache import Columns

    columns = Columns([0, 1], 3)
    columns.advance(2)
    mask = columns.mask()
    prefix, own = columns.added(mask, 2)
    assert columns.added(mask, 2)[1] is own
    assert prefix.tolist() == [0, 0, 0]
    seen, unseen = 0.0, float(np.float32(-1e30))
    one, other = [[seen, unseen], [seen, seen]], [[unseen, unseen], [unseen, seen]]
    assert own.tolist() == [[one * 2], [other * 2]]  # for both heads that share keys
    assert columns.added(mask, 1)[1].tolist() == [[one], [other]]
    assert columns.added(mx.ones((2, 1, 2, 2), mx.bool_), 2)[1].tolist() == [[[[seen] * 2] * 4]] * 2
    columns.advance(1)
    assert columns.added(None, 2)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("prefix", [0, 3])
def test_what_a_pad_computes_reaches_no_row(model: Any, prefix: int) -> None:
    """A pad's result may be NaN: it sees nothing, and its position may be negative."""
    import mlx.core as mx

    from star_mlx.engine.attention import attend
    from star_mlx.engine.shared_cache import Columns, SharedCache

    found = []
    for pad in (1.0, float("nan")):
        columns = Columns([0, 2], prefix)
        cache = SharedCache(columns, (mx.ones((2, prefix, 8)),) * 2 if prefix else None)
        for length in (4, 1):
            columns.advance(length)
            q, new = mx.ones((2, 4, length, 8)), mx.ones((2, 2, length, 8))
            if length > 1:
                q[1, :, :2], new[1, :, :2] = pad, pad
            keys, values = cache.update_and_fetch(new, new * 2)
            mask = cache.make_mask(length)
            out = attend(q, keys, values, cache, scale=0.25, mask=mask)
            found.append(np.array(out)[:, :, -1])
        assert np.isfinite(found[-1]).all() and np.isfinite(found[-2]).all()
    np.testing.assert_array_equal(found[:2], found[2:])


# --- the whole engine ---

GREEDY = Decoding(max_tokens=12, stop=(), batch_size=4)
PROMPTS = [f"Input: {'7 ' * (5 * i % 11)}{i}\n" for i in range(7)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A 4-bit base, which a GPU computes in half precision."""
    folder = tiny_random.write(tmp_path_factory.mktemp("base"), bits=4, bos=True)
    return open_engine(str(folder))


@pytest.fixture(scope="module")
def adapter(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter trained on the GPU's branch."""
    out: Path = tmp_path_factory.mktemp("adapter")
    train(engine, out, LORA, amount=Amount(steps=4))
    return out


@pytest.mark.slow
def test_rows_behind_a_prefix_are_rows_alone(engine: Any, adapter: Path) -> None:
    """But for the rounding of half precision: where another token is chosen, its logit was as
    large."""
    import mlx.core as mx

    assert engine.describe()["prefix"] == "shared"
    for folder in (None, adapter):
        found = complete(
            engine, PROMPTS, GREEDY, prefix="Input: 1 2\nTarget: ab\n\n", adapter=folder
        )
        for prompt, row in zip(PROMPTS, found, strict=True):
            start = engine._text.prompt("Input: 1 2\nTarget: ab\n\n" + prompt)
            logits = engine._base.model(mx.array([[*start, *row.token_ids]]))[
                0, len(start) - 1 : -1
            ]
            logits = double(logits)
            chosen = logits[np.arange(len(row.token_ids)), list(row.token_ids)]
            assert (logits.max(axis=-1) - chosen).max() <= 0.02 * np.abs(logits).max()


@pytest.mark.slow
def test_prompts_are_read_when_an_eighth_of_the_slots_is_free(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine.batch import SharedBatch

    free: list[int] = []
    admit = SharedBatch._admit

    def counted(self: SharedBatch) -> None:
        free.append(self._slots.count(None))
        admit(self)

    monkeypatch.setattr(SharedBatch, "_admit", counted)
    prompts = [f"Input: {i}\n" for i in range(40)]
    sampled = Decoding(max_tokens=9, stop=("a", "b"), batch_size=16, temperature=1.0)
    found = complete(engine, prompts, sampled, prefix="Input: 1 2\n")
    assert len({len(row.token_ids) for row in found}) > 3  # they end at different steps
    assert free[0] == 0 and len(free) > 2 and min(free[1:]) > 2
    assert sum(free[1:]) >= 40 - 16


@pytest.mark.slow
def test_an_adapter_beside_the_weights_computes_in_their_type(
    engine: Any, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx

    from star_mlx.engine.adapter import layers

    stored = mx.load(str(adapter / "adapters.safetensors"))
    assert {a.dtype for a in stored.values()} == {mx.float32}
    engine._switch.use(None)
    monkeypatch.setattr(engine._switch, "_fold", lambda size: False)
    engine._switch.use(adapter)
    assert {m.lora_a.dtype for _, m in layers(engine._base.model)} == {mx.float16}
    hidden = mx.zeros((1, 1, 32), mx.float16)
    assert "AsType" not in kernels(engine._base.model.layers[0].mlp(hidden))
    engine._switch.use(None)


@pytest.mark.slow
def test_an_adapter_is_folded_into_dequantized_copies_where_they_fit(
    engine: Any, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    import mlx.nn as nn

    from star_mlx.engine.adapter import copies, layers
    from star_mlx.engine.device import Bound
    from star_mlx.engine.memory import MARGIN, Memory

    base, tokens = engine._base, mx.array([[3, 4, 5, 6, 7]])
    assert copies(base.model) == 2 * 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    logits, kinds = [], []
    for fold in (True, False):
        engine._switch.use(None)
        with monkeypatch.context() as patch:
            if not fold:
                patch.setattr(engine._switch, "_fold", lambda size: False)
            engine._switch.use(adapter)
        kinds.append(type(base.model.layers[0].mlp.up_proj))
        assert bool(layers(base.model)) is not fold
        logits.append(base.model(tokens).astype(mx.float32))
    assert kinds[0] is nn.Linear
    engine._switch.use(None)
    assert isinstance(base.model.layers[0].mlp.up_proj, nn.QuantizedLinear)
    plain = base.model(tokens).astype(mx.float32)
    far, near = (mx.abs(logits[0] - other).max().item() for other in (plain, logits[1]))
    assert near < 0.02 * mx.abs(plain).max().item() and 10 * near < far

    # what decides it does not depend on what is in use: all adapters of a run are treated alike
    weights, size = engine._weights, engine._copies
    least = int((weights + 2 * size) / MARGIN)
    for room, folds in ((least + 100, True), (least - 100, False)):
        memory = Memory(Bound(room, ""), engine._shape, lambda room=room: room)
        assert memory.folds(weights, size) is folds
        monkeypatch.setattr(engine, "_memory", memory)
        assert engine.describe()["adapter"] == ("folded" if folds else "beside")
        assert engine._fold(1) is folds


@pytest.mark.slow
def test_a_batch_is_trained_in_one_pass_of_a_few_widths(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine import lora, optimizer_step

    passes: list[tuple[int, ...]] = []
    made = optimizer_step.padded

    def padded(part: Any) -> Any:
        arrays = made(part)
        passes.append(arrays[0].shape)
        return arrays

    monkeypatch.setattr(optimizer_step, "padded", padded)
    rows = examples(engine, 10)
    train(engine, tmp_path / "a", LORA.model_copy(update=dict(batch_size=5)), rows,
          amount=Amount(epochs=1))  # fmt: skip
    assert passes == [(5, 32), (5, 32)]
    passes.clear()
    monkeypatch.setattr(lora, "GPU_BUDGET", 66)  # two rows of 32 tokens and their first ones
    found = train(engine, tmp_path / "b", LORA.model_copy(update=dict(batch_size=5)), rows,
                  amount=Amount(epochs=1))  # fmt: skip
    assert passes == [(2, 32), (2, 32), (1, 32)] * 2
    assert found.padding == pytest.approx(1 - found.tokens / (10 * 33))


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A base of one layer, which is soon compiled."""
    folder = tmp_path_factory.mktemp("base")
    return open_engine(str(tiny_random.write(folder, bits=4, bos=True, num_hidden_layers=1)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="mx.compile does nothing without g++")
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_compiled_step_is_the_same_step_and_is_traced_once_a_shape(
    shallow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: bool
) -> None:
    """With dropout, whose masks are others in every step and the same in both passes over a
    checkpointed layer. Two rows of the five are one part, so parts are added too."""
    import mlx.core as mx

    from star_mlx.engine import lora, optimizer_step

    shapes: list[tuple[int, ...]] = []
    called: list[int] = []
    pad, loss = optimizer_step.padded, optimizer_step.loss_sum

    def padded(part: Any) -> Any:
        arrays = pad(part)
        shapes.append((*arrays.inputs.shape, *arrays.where.shape))
        return arrays

    def loss_sum(*given: Any) -> Any:
        called.append(1)
        return loss(*given)

    monkeypatch.setattr(optimizer_step, "padded", padded)
    monkeypatch.setattr(optimizer_step, "loss_sum", loss_sum)
    monkeypatch.setattr(lora, "GPU_BUDGET", 66)
    settings = LORA.model_copy(update=dict(
        batch_size=3, dropout=0.4, checkpoint=checkpoint, keys=("self_attn.q_proj",), warmup=0,
    ))  # fmt: skip
    steps: dict[str, list[tuple[float, float]]] = {}

    def run(name: str) -> int:
        shapes.clear()
        called.clear()
        steps[name] = taken = []
        train(
            shallow, tmp_path / name, settings, examples(shallow, 6), amount=Amount(steps=6),
            progress=lambda step: taken.append((step.loss, step.gradient_norm)),
        )  # fmt: skip
        return len(called)

    assert run("plain") == 12  # two parts each
    with gpu_branch.compiling():
        traced = run("compiled")
    # the first part of a batch, and one that is added to it, of two rows and of one
    assert len(shapes) == 12 and traced == len(set(shapes[::2])) + len(set(shapes[1::2])) <= 4
    np.testing.assert_allclose(steps["compiled"], steps["plain"], rtol=1e-5)
    one, other = (mx.load(str(tmp_path / n / "adapters.safetensors")) for n in steps)
    for name, a in one.items():
        assert mx.allclose(a, other[name], atol=1e-5 * mx.abs(a).max().item()), name


@pytest.mark.slow
def test_places_that_are_only_there_for_the_shape_do_not_count(engine: Any) -> None:
    """Not in the loss, and not in its gradient."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from star_mlx.engine import adapter as adapters
    from star_mlx.engine.batches import rows
    from star_mlx.engine.loss import loss_sum, padded, supervised_share

    made, _ = rows(examples(engine), engine._text, 64)
    arrays = padded(made)
    real = sum(len(row.tokens) - row.start for row in made)
    assert arrays.weights is not None and arrays.weights.tolist()[real - 1 : real + 1] == [1, 0]
    assert arrays.where.size * 8 % arrays.inputs.size == 0 < arrays.where.size - real
    assert arrays.where.size <= supervised_share(made) * arrays.inputs.size
    bare = (arrays.inputs, arrays.where[:real], arrays.targets[:real])
    model, form = engine._base.model, engine._base.form
    with adapters.fresh(model, LORA, 0):
        (one, gradient), (other, plain) = (
            nn.value_and_grad(model, loss_sum)(model, form, *given) for given in (arrays, bare)
        )
        assert one.item() == pytest.approx(other.item(), rel=1e-6)
        for (name, a), (_, b) in zip(tree_flatten(gradient), tree_flatten(plain), strict=True):
            assert mx.allclose(a, b, rtol=1e-3, atol=1e-3 * mx.abs(b).max().item()), name


@pytest.mark.slow
def test_padding_does_not_change_the_loss(engine: Any) -> None:
    from star_mlx.engine.batches import rows
    from star_mlx.engine.loss import loss_sum, padded

    made, _ = rows(examples(engine), engine._text, 64)
    together = loss_sum(engine._base.model, engine._base.form, *padded(made)).item()
    alone = sum(
        loss_sum(engine._base.model, engine._base.form, *padded([row])).item() for row in made
    )
    assert together == pytest.approx(alone, rel=2e-3)


@pytest.mark.slow
def test_training_on_the_branch_is_training_on_a_cpu(
    engine: Any, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same adapter, but for rounding: widened weights are the same values."""
    import mlx.core as mx

    with gpu_branch.left():
        cpu = open_engine(str(engine._base.found.folder))
        train(cpu, tmp_path, LORA, amount=Amount(steps=4))
    ours, theirs = (mx.load(str(f / "adapters.safetensors")) for f in (adapter, tmp_path))
    assert ours.keys() == theirs.keys()
    for name, a in theirs.items():
        if name.endswith("lora_b"):
            cosine = (a * ours[name]).sum() / mx.sqrt((a * a).sum() * (ours[name] ** 2).sum())
            assert cosine.item() > 0.95, name
