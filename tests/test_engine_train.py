"""LoRA training on a tiny random model: the base stays, the adapter is mlx-lm's, runs repeat."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine
from star_mlx.errors import ModelError, NothingKept, TrainingDiverged
from star_mlx.settings import Train
from star_mlx.types import Amount, Decoding, Example, Step, Trained
from tests import tiny_random

pytestmark = pytest.mark.slow

LORA = Train(
    rank=4, scale=2.0, dropout=0.0, layers=-1, keys=None, learning_rate=1e-2, warmup=2,
    decay="linear", batch_size=3, max_length=64, grad_clip=1.0, weight_decay=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_random.write(tmp_path_factory.mktemp("base"), bits=4)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Any:
    return open_engine(str(folder))


def examples(engine: Any, n: int = 7) -> list[Example]:
    pairs = [(f"q{'?' * i}\n", f"{'ab' * i} 1\n{i}") for i in range(n)]
    return [
        Example(f"e{i}", p, c, "direct", token_ids=tuple(engine.encode(c)), iteration=1)
        for i, (p, c) in enumerate(pairs)
    ]


def train(
    engine: Any, out: Path, lora: Train = LORA, rows: list[Example] | None = None, **options: Any
) -> Trained:
    options = {"seed": 5, "progress": lambda step: None, **options}
    amount = options.pop("amount", Amount(steps=6))
    rows = examples(engine) if rows is None else rows
    return engine.train(rows, lora, amount, out=out, **options)  # type: ignore[no-any-return]


def weights(model: Any) -> dict[str, Any]:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    return {name: mx.array(p) for name, p in tree_flatten(model.parameters())}


def test_training_learns_and_leaves_the_base_bit_for_bit(engine: Any, tmp_path: Path) -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    before = weights(engine._base.model)
    steps: list[Step] = []
    found = train(engine, tmp_path, amount=Amount(epochs=10), progress=steps.append)
    losses = [step.loss for step in steps]
    after = weights(engine._base.model)
    assert before.keys() == after.keys()
    assert all(mx.array_equal(before[k], after[k]) for k in before)
    assert found.steps == len(losses) == 30
    assert found.epochs == 10.0
    assert found.first_loss == pytest.approx(sum(losses[:3]) / 3)
    assert found.last_loss < 0.7 * found.first_loss
    assert [step.step for step in steps] == list(range(1, 31)) and steps[-1].tokens == found.tokens
    assert not tree_flatten(engine._base.model.trainable_parameters())


def test_tokens_are_prompt_completion_and_end(engine: Any, tmp_path: Path) -> None:
    rows = examples(engine)
    found = train(engine, tmp_path, amount=Amount(epochs=2))
    each = [len(engine._text.prompt(e.prompt)) + len(e.token_ids) + 1 for e in rows]
    assert found.tokens == 2 * sum(each)


def test_training_twice_gives_the_same_bytes(engine: Any, folder: Path, tmp_path: Path) -> None:
    train(engine, tmp_path / "a")
    engine.generate(
        ["q"], Decoding(4, (), temperature=1.0), prefix="", adapter=tmp_path / "a", seeds=[1],
        progress=lambda *_: None,
    )  # fmt: skip
    train(engine, tmp_path / "b")
    train(open_engine(str(folder)), tmp_path / "c")
    train(engine, tmp_path / "other", seed=6)
    read = {p.name: (p / "adapters.safetensors").read_bytes() for p in tmp_path.iterdir()}
    assert read["a"] == read["b"] == read["c"] != read["other"]


def test_dropout_repeats_too(engine: Any, tmp_path: Path) -> None:
    for name in "ab":
        train(engine, tmp_path / name, LORA.model_copy(update=dict(dropout=0.3)))
    train(engine, tmp_path / "plain")
    read = {p.name: (p / "adapters.safetensors").read_bytes() for p in tmp_path.iterdir()}
    assert read["a"] == read["b"] != read["plain"]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (("q_proj",), "train.keys names q_proj, which no layer of the model has; its linear module"
         "s: mlp.down_proj, mlp.gate_proj, mlp.up_proj, self_attn.k_proj, self_attn.o_proj, "
         "self_attn.q_proj, self_attn.v_proj"),
        (("self_attn.q_proj", "mlp.no_proj"), "train.keys names mlp.no_proj, which"),
        (("mlp",), "train.keys=['mlp']: Can't convert layer of type MLP"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_adapted_are_named(
    engine: Any, tmp_path: Path, keys: Any, says: str
) -> None:
    before = weights(engine._base.model)
    with pytest.raises(ModelError) as caught:
        train(engine, tmp_path, LORA.model_copy(update=dict(keys=keys)))
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)
    assert weights(engine._base.model).keys() == before.keys()
    train(engine, tmp_path)  # the base is as it was


@pytest.mark.parametrize(
    ("layers", "keys", "modules"),
    [(-1, None, 21), (2, None, 14), (2, ("self_attn.q_proj",), 2)],
)
def test_the_adapter_is_one_mlx_lm_loads(
    engine: Any, folder: Path, tmp_path: Path, layers: int, keys: Any, modules: int
) -> None:
    import mlx.core as mx
    from mlx_lm.utils import load_adapters, load_model

    train(engine, tmp_path, LORA.model_copy(update=dict(layers=layers, keys=keys)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapters.safetensors",
    ]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["fine_tune_type"] == "lora"
    assert len(mx.load(str(tmp_path / "adapters.safetensors"))) == 2 * modules

    theirs, _ = load_model(folder)
    theirs.set_dtype(mx.float32)
    load_adapters(theirs, str(tmp_path))
    theirs.eval()
    ids = mx.array([engine._text.prompt("q??\nab 1")])
    bare = engine._base.model(ids)
    engine._switch.use(tmp_path)
    ours = engine._base.model(ids)
    engine._switch.use(None)
    assert mx.array_equal(engine._base.model(ids), bare)
    assert mx.abs(ours - theirs(ids)).max().item() < 1e-3
    assert mx.abs(ours - bare).max().item() > 1e-2


def test_the_loss_is_the_mean_over_supervised_tokens_alone(engine: Any) -> None:
    import mlx.core as mx
    from mlx.nn.losses import cross_entropy

    from star_mlx.engine.batches import rows
    from star_mlx.engine.loss import loss_sum, padded

    model = engine._base.model
    made, _ = rows(examples(engine), engine._text, 64)
    by_hand = 0.0
    for row in made:
        logits = model(mx.array([list(row.tokens[:-1])]))[0]
        targets = mx.array(list(row.tokens[1:]))
        each = cross_entropy(logits, targets)
        by_hand += float(each[row.start - 1 :].sum().item())
    together = float(loss_sum(model, engine._base.form, *padded(made)).item())
    assert together == pytest.approx(by_hand, rel=1e-5)


def test_padding_and_parts_do_not_change_the_training(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx

    from star_mlx.engine import lora

    for budget in (1, 10**6):  # a row at a time, or the whole batch padded to its longest
        monkeypatch.setattr(lora, "CPU_BUDGET", budget)
        monkeypatch.setattr(lora, "GPU_BUDGET", budget)
        train(engine, tmp_path / str(budget))
    one, whole = (mx.load(str(tmp_path / str(b) / "adapters.safetensors")) for b in (1, 10**6))
    assert all(mx.allclose(one[k], whole[k], atol=2e-3) for k in one)


def test_every_architecture_without_a_short_cut_gives_the_same_loss(engine: Any) -> None:
    from star_mlx.engine.batches import rows
    from star_mlx.engine.loss import loss_sum, padded

    model, form = engine._base.model, engine._base.form
    assert form.head
    arrays = padded(rows(examples(engine), engine._text, 64)[0])
    quick, slow = (
        float(loss_sum(model, f, *arrays).item()) for f in (form, replace(form, head=False))
    )
    assert quick == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("adapted", [False, True])
def test_many_logits_are_computed_some_at_a_time_unless_the_head_is_trained(
    engine: Any, adapted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from star_mlx.engine import adapter, batches, vector
    from star_mlx.engine.loss import loss_sum, padded

    model, form = engine._base.model, engine._base.form
    arrays = padded(batches.rows(examples(engine), engine._text, 64)[0])
    times: list[int] = []
    quick = vector.head_cross_entropy

    def counted(*given: Any) -> mx.array:
        times.append(given[-1])
        return quick(*given)

    monkeypatch.setattr(vector, "head_cross_entropy", counted)
    with adapter.fresh(model, LORA, 5):
        for _, layer in adapter.layers(model):
            layer["lora_b"] = mx.random.normal(layer["lora_b"].shape, key=mx.random.key(1))
        if adapted:
            model.model.embed_tokens.unfreeze()
        found = []
        for logits in (1 << 30, 3 * len(model.model.embed_tokens.weight)):
            monkeypatch.setattr(batches, "CPU_LOGITS", logits)
            loss, gradient = nn.value_and_grad(model, loss_sum)(model, form, *arrays)
            found.append((loss.item(), dict(tree_flatten(gradient))))
        model.model.embed_tokens.freeze()
    assert times == ([] if adapted or not vector.wanted() else [3])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, g in found[0][1].items():
        assert mx.allclose(g, found[1][1][name], rtol=1e-4, atol=1e-4 * mx.abs(g).max().item()), (
            name
        )


def test_rows_too_long_are_named_and_nothing_left_is_said(engine: Any, tmp_path: Path) -> None:
    rows = examples(engine)
    limit = len(engine._text.prompt(rows[3].prompt)) + len(rows[3].token_ids) + 1
    found = train(engine, tmp_path, LORA.model_copy(update=dict(max_length=limit)), rows)
    assert found.too_long == ("e4", "e5", "e6")
    with pytest.raises(NothingKept, match="all 7 are longer than"):
        train(engine, tmp_path, LORA.model_copy(update=dict(max_length=2)), rows)


def test_an_adapter_changes_generation_and_comes_off(engine: Any, tmp_path: Path) -> None:
    def write(adapter: Path | None) -> Any:
        return engine.generate(
            ["q??\n"], Decoding(12, ()), prefix="q\n1 ", adapter=adapter, seeds=[0],
            progress=lambda *_: None,
        )  # fmt: skip

    bare = write(None)
    train(engine, tmp_path, amount=Amount(steps=40))
    adapted = write(tmp_path)
    assert adapted != bare
    assert write(None) == bare
    assert write(tmp_path) == adapted


def test_adapters_that_do_not_fit_are_refused(engine: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no adapter"):
        engine._switch.use(tmp_path / "none")
    train(engine, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["lora_parameters"]["rank"] = 9
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit this base"):
        engine._switch.use(tmp_path)
    assert engine._switch.use(None) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "Input data was truncated"),
        ('{"x": ' + "[" * 100_000, "is no config of an adapter"),
        ('{"lora_parameters": {"rank": "4", "scale": 2}}', r"Expected `int`, got `str` .*rank`"),
        ('{"lora_parameters": {"rank": 0, "scale": 2}}', r"Expected `int` >= 1 .*rank`"),
        ('{"lora_parameters": {"rank": 99999999, "scale": 2}}', "Expected `int` <= 65536"),
        ('{"lora_parameters": {"rank": 4, "scale": NaN}}', "invalid character"),
        ('{"lora_parameters": {"rank": 4, "scale": 2, "keys": "q"}}', "Expected `array | null`"),
        ('{"lora_parameters": {"rank": 4}}', "missing required field `scale`"),
        ('{"lora_parameters": null}', "lacks lora_parameters with a rank and a scale"),
        ('{"num_layers": {"a": 1}}', r"Expected `int`, got `object` - at `\$.num_layers`"),
        ('{"fine_tune_type": "\x1b[31m"}', "invalid"),
        (f'{{"fine_tune_type": "{"x" * 100_000}"}}', "characters ..."),
    ],
)
def test_a_damaged_config_of_an_adapter_is_one_line(
    engine: Any, tmp_path: Path, config: str, said: str
) -> None:
    (tmp_path / "adapters.safetensors").touch()
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=said) as caught:
        engine._switch.use(tmp_path)
    assert str(tmp_path / "adapter_config.json") in str(caught.value)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_training_that_diverges_ends_at_that_step(engine: Any, tmp_path: Path) -> None:
    steps: list[Step] = []
    wild = LORA.model_copy(update=dict(learning_rate=1e30, warmup=0, grad_clip=0.0))
    with pytest.raises(TrainingDiverged) as caught:
        train(engine, tmp_path, wild, progress=steps.append)
    assert len(steps) == 1
    assert re.fullmatch(
        r"the training diverged in step 2 of 6: the loss is \S+, and the norm of its gradient \S+"
        r"\. Give a lower train\.learning_rate than 1e\+30, train\.grad_clip=1 or a longer "
        r"train\.warmup than 0",
        str(caught.value),
    )
    assert not [*tmp_path.iterdir()]
    train(engine, tmp_path)  # and the base is as it was


def test_weights_that_are_no_numbers_are_refused(engine: Any, tmp_path: Path) -> None:
    import mlx.core as mx

    from star_mlx.engine import adapter_file as exported

    train(engine, tmp_path)
    file = tmp_path / "adapters.safetensors"
    arrays = dict(mx.load(str(file)))
    name = sorted(arrays)[-1]
    arrays[name] = mx.where(mx.arange(arrays[name].shape[-1]) == 1, mx.nan, arrays[name])
    mx.save_safetensors(str(file), arrays)
    bare = weights(engine._base.model)
    with pytest.raises(
        ModelError, match=r"the adapter in .* has weights that are no numbers: train"
    ):
        engine._switch.use(tmp_path)
    assert weights(engine._base.model).keys() == bare.keys()
    with pytest.raises(
        ModelError, match=rf"{re.escape(name)} has values that are no numbers: train"
    ):
        exported.read(tmp_path)


def test_learning_rates() -> None:
    from star_mlx.engine.lora import learning_rate

    def rates(decay: Any) -> list[float]:
        lora = LORA.model_copy(update=dict(learning_rate=1.0, warmup=2, decay=decay))
        return [round(learning_rate(lora, step, 6), 3) for step in range(6)]

    assert rates("none") == [0.5, 1, 1, 1, 1, 1]
    assert rates("linear") == [0.5, 1, 1, 0.75, 0.5, 0.25]
    assert rates("cosine") == [0.5, 1, 1, 0.854, 0.5, 0.146]


def test_peak_memory_is_counted_anew(engine: Any, tmp_path: Path) -> None:
    engine.peak_memory()
    train(engine, tmp_path)
    assert engine.peak_memory() > 0


def test_checkpointing_computes_the_same_adapter(engine: Any, tmp_path: Path) -> None:
    import mlx.core as mx

    block = type(engine._base.model.layers[0])
    call = block.__call__
    for name, lora in (("plain", LORA), ("less", LORA.model_copy(update=dict(checkpoint=True)))):
        train(engine, tmp_path / name, lora)
    one, other = (mx.load(str(tmp_path / n / "adapters.safetensors")) for n in ("plain", "less"))
    assert all(mx.allclose(one[k], other[k], atol=1e-4) for k in one)
    assert block.__call__ is call


def test_checkpointing_draws_one_mask_for_both_passes(engine: Any, tmp_path: Path) -> None:
    """The gradient of a checkpointed loss with dropout is that of the same loss without
    checkpoints, and the next pass has other masks."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from star_mlx.engine import adapter
    from star_mlx.engine.batches import rows
    from star_mlx.engine.loss import loss_sum, padded

    lora = LORA.model_copy(update=dict(checkpoint=True, dropout=0.4))
    model, arrays = engine._base.model, padded(rows(examples(engine), engine._text, 64)[0])
    mx.random.seed(3)
    with adapter.fresh(model, lora, 5):
        for _, layer in adapter.layers(model):  # its product is not zero, so that masks count
            layer["lora_b"] = mx.random.normal(layer["lora_b"].shape)
        block = type(model.layers[0])
        checkpointed = block.__call__
        plain = checkpointed.__closure__[0].cell_contents
        found = []
        for call in (checkpointed, plain, None, checkpointed):
            if call is None:
                adapter.new_masks(model)
                continue
            block.__call__ = call
            loss, gradient = nn.value_and_grad(model, loss_sum)(model, engine._base.form, *arrays)
            found.append((loss.item(), dict(tree_flatten(gradient))))
            mx.eval(found[-1][1])
        block.__call__ = checkpointed
    one, other, later = found
    assert one[0] == pytest.approx(other[0], rel=1e-6) != pytest.approx(later[0], rel=1e-6)
    for name, g in one[1].items():
        assert mx.allclose(g, other[1][name], rtol=1e-4, atol=1e-4 * mx.abs(g).max().item()), name


def test_checkpointing_with_dropout_repeats(engine: Any, tmp_path: Path) -> None:
    both = LORA.model_copy(update=dict(checkpoint=True, dropout=0.3))
    for name, lora in (("a", both), ("b", both), ("plain", LORA)):
        train(engine, tmp_path / name, lora, amount=Amount(steps=2))
    read = {p.name: (p / "adapters.safetensors").read_bytes() for p in tmp_path.iterdir()}
    assert read["a"] == read["b"] != read["plain"]


def test_the_norm_told_is_that_of_the_gradient_before_it_is_clipped(
    engine: Any, tmp_path: Path
) -> None:
    def norms(clip: float) -> list[float]:
        steps: list[Step] = []
        lora = LORA.model_copy(update=dict(grad_clip=clip))
        train(engine, tmp_path / str(clip), lora, amount=Amount(steps=1), progress=steps.append)
        return [step.gradient_norm for step in steps]

    assert norms(0.0) == norms(1e-6) == norms(1e6)
    assert norms(0.0)[0] > 1e-3


def test_the_share_of_padding_is_told(engine: Any, tmp_path: Path) -> None:
    rows = examples(engine)
    whole = train(engine, tmp_path / "a", rows=rows)
    assert 0 < whole.padding < 0.5
    assert train(engine, tmp_path / "b", rows=rows[:1] * 3).padding == 0.0
