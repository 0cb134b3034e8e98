"""A training that was stopped goes on from its last state, and ends with the same adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine
from star_mlx.errors import RunError
from star_mlx.settings import Train
from star_mlx.store import names
from star_mlx.types import Amount, Step
from tests import gpu_branch, tiny_random
from tests.test_engine_train import examples

pytestmark = pytest.mark.slow

ALWAYS = 1e-9  # minutes: after every step
LORA = Train(
    rank=4, learning_rate=1e-2, warmup=2, decay="linear", batch_size=3, max_length=64,
    save_every=ALWAYS,
)  # fmt: skip
STEPS = 6
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "the last layer": {"layers": 1, "keys": ("self_attn.q_proj",)},
    "checkpointed, with dropout": {"dropout": 0.3, "checkpoint": True},
}


class Cut(Exception):
    """The process is stopped."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_engine(str(tiny_random.write(tmp_path_factory.mktemp("base"), bits=4)))


def train(engine: Any, out: Path, lora: Train = LORA, *, cut: int = 0, **options: Any) -> list[Any]:
    """The steps that are told. With ``cut`` the training is stopped when it has taken so many."""
    out.mkdir(exist_ok=True)
    told: list[Step] = []

    def progress(step: Step) -> None:
        told.append(step)
        if step.step == cut:
            raise Cut

    options = {"seed": 5, "rows": examples(engine), **options}
    try:
        engine.train(
            options["rows"], lora, Amount(steps=STEPS), seed=options["seed"], out=out,
            progress=progress,
        )  # fmt: skip
    except Cut:
        assert cut
    return told


def figures(steps: list[Step]) -> list[tuple[float, ...]]:
    return [(s.step, s.loss, s.gradient_norm, s.learning_rate, s.tokens) for s in steps]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an element for every step that is computed."""
    from star_mlx.engine import optimizer_step

    made, real = [], optimizer_step.of

    def of(*arguments: Any) -> Any:
        take = real(*arguments)

        def counted(parts: Any) -> Any:
            made.append(len(made))
            return take(parts)

        return counted

    monkeypatch.setattr(optimizer_step, "of", of)
    return made


@pytest.mark.parametrize("how", WAYS)
def test_the_adapter_is_the_same_to_the_last_bit(
    how: str, engine: Any, tmp_path: Path, computed: list[int]
) -> None:
    lora = LORA.model_copy(update=WAYS[how])
    whole = train(engine, tmp_path / "whole", lora)
    assert set(files(tmp_path / "whole")) == {names.WEIGHTS, names.ADAPTER_CONFIG}
    computed.clear()
    first = train(engine, tmp_path / "cut", lora, cut=4)
    assert names.TRAINING in files(tmp_path / "cut") and len(computed) == 4
    second = train(engine, tmp_path / "cut", lora)
    assert len(computed) == STEPS
    assert figures(second) == figures(whole) and second[:4] == first
    assert second[-1].seconds > second[3].seconds > 0
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_compiled_training_goes_on_too(engine: Any, tmp_path: Path, computed: list[int]) -> None:
    with gpu_branch.compiling():
        train(engine, tmp_path / "whole")
        train(engine, tmp_path / "cut", cut=3)
        train(engine, tmp_path / "cut")
    assert len(computed) == 2 * STEPS
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_no_state_is_written_before_its_time_or_without_the_setting(
    engine: Any, tmp_path: Path
) -> None:
    for minutes in (10.0, None):
        folder = tmp_path / str(minutes)
        train(engine, folder, LORA.model_copy(update={"save_every": minutes}), cut=3)
        assert files(folder) == {}


@pytest.mark.parametrize("other", ["seed", "rate", "rows"])
def test_the_state_of_another_training_is_passed_over(
    other: str, engine: Any, tmp_path: Path, computed: list[int]
) -> None:
    train(engine, tmp_path / "cut", cut=3)
    lora = LORA.model_copy(update={"learning_rate": 2e-2}) if other == "rate" else LORA
    options: dict[str, Any] = {"seed": 6} if other == "seed" else {}
    if other == "rows":
        options["rows"] = examples(engine, 5)
    train(engine, tmp_path / "fresh", lora, **options)
    computed.clear()
    train(engine, tmp_path / "cut", lora, **options)
    assert len(computed) == STEPS
    assert files(tmp_path / "cut") == files(tmp_path / "fresh")


def flipped(folder: Path) -> None:
    [arrays] = folder.glob("training-*.safetensors")
    data = bytearray(arrays.read_bytes())
    data[-9] ^= 4
    arrays.write_bytes(data)


def without_arrays(folder: Path) -> None:
    next(folder.glob("training-*.safetensors")).unlink()


def cut_short(folder: Path) -> None:
    file = folder / names.TRAINING
    file.write_bytes(file.read_bytes()[:-20])


def another_loss(folder: Path) -> None:
    file = folder / names.TRAINING
    state = json.loads(file.read_bytes())
    state["steps"][0]["loss"] += 1
    file.write_text(json.dumps(state))


def of_another_form(folder: Path) -> None:
    (folder / names.TRAINING).write_text("[3]")


@pytest.mark.parametrize(
    "damage", [flipped, without_arrays, cut_short, another_loss, of_another_form]
)
def test_a_damaged_state_is_passed_over(
    damage: Any, engine: Any, tmp_path: Path, computed: list[int]
) -> None:
    train(engine, tmp_path / "cut", cut=3)
    damage(tmp_path / "cut")
    train(engine, tmp_path / "whole")
    computed.clear()
    train(engine, tmp_path / "cut")
    assert len(computed) == STEPS
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_full_disk_is_one_line_and_the_state_before_is_kept(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[int]
) -> None:
    import mlx.core as mx

    from star_mlx.engine import training_state

    train(engine, tmp_path / "whole")
    real = mx.save_safetensors

    def full(path: str, *rest: Any) -> None:
        if path.endswith("training-4.safetensors"):
            Path(path).write_bytes(b"half")
            raise RuntimeError("[save_safetensors] No space left on device")
        real(path, *rest)

    monkeypatch.setattr(training_state.mx, "save_safetensors", full)
    with pytest.raises(RunError, match=r"training-4.safetensors cannot be written: .*No space"):
        train(engine, tmp_path / "cut")
    monkeypatch.undo()
    assert {path.name for path in (tmp_path / "cut").iterdir()} == {
        names.TRAINING,
        "training-3.safetensors",
    }
    steps = train(engine, tmp_path / "cut")
    assert len(steps) == STEPS
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
