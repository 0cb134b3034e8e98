"""Which iteration is meant, and which is the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.recipe.loading import load
from star_mlx.run import evaluate, loop
from star_mlx.store import reading
from star_mlx.store.reading import RunRecord
from star_mlx.store.which import Which, is_name, most_accurate, number, resolve, which
from tests.scripts import learner

SMALL = [
    "task.options.train=200", "task.options.held_out=4", "star.iterations=3", "star.problems=20",
    "generate.max_tokens=1000", "train.max_length=1000", "evaluate.dev=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three iterations, of which the first is as good as any after it."""
    path = tmp_path_factory.mktemp("which") / "run"
    loop.run(load("arithmetic", overrides=SMALL), path, lambda e: None,
             engine=ScriptedEngine(learner))  # fmt: skip
    return reading.read(path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0", Which(0)),
        ("2", Which(2)),
        ("003", Which(3)),
        ("best", Which(1)),
        ("last", Which(3)),
        ("few-shot", Which(0)),
        ("zero-shot", Which(0, zero_shot=True)),
    ],
)
def test_a_name_means_an_iteration(run, name, found):
    assert which(run, name) == found and is_name(name)


@pytest.mark.parametrize("name", ["", "-1", "1.0", "Best", "first", "direct", " 1"])
def test_other_names_mean_none(run, name):
    assert not is_name(name)
    with pytest.raises(RunError) as caught:
        which(run, name)
    assert str(caught.value) == (
        f"no iteration {name!r}: give a number, best, last, few-shot or zero-shot"
    )


@pytest.mark.parametrize("name", ["4", "99"])
def test_an_iteration_must_be_finished(run, name):
    with pytest.raises(RunError, match=rf"run has no iteration {name}: its last is 3$"):
        which(run, name)
    assert resolve(name, best=1, last=3) == Which(int(name))


def test_the_base_is_there_before_anything_is_finished():
    assert which(RunRecord(Path("r"), {}, []), "last") == Which(0)


def test_zero_shot_is_no_iteration_to_use(run):
    assert [number(run, name) for name in ("best", "few-shot", "2")] == [1, 0, 2]
    with pytest.raises(RunError, match="zero-shot is a way to measure the base"):
        number(run, "zero-shot")


def test_what_is_measured_is_called_by_its_name(run):
    names = [evaluate.which(run, name).name for name in ("0", "best", "few-shot", "zero-shot")]
    assert names == ["iteration 0 (the base)", "iteration 1", "few-shot", "zero-shot"]


def test_the_most_accurate_is_the_earliest_of_equals():
    assert most_accurate({0: 0.1, 1: 0.5, 2: 0.5, 3: 0.4}) == 1
    assert most_accurate({0: 0.0, 1: 0.0}) == 0
    assert most_accurate({}) is None
