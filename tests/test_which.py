"""Which iteration is meant, and which is the best."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_mlx.errors import RunError
from star_mlx.run import evaluate
from star_mlx.store.reading import RunRecord
from star_mlx.store.which import Which, is_name, most_accurate, number, resolve, which


def line(n, accuracy=None):
    return {"iteration": n} | ({} if accuracy is None else {"eval": {"accuracy": accuracy}})


RUN = RunRecord(Path("r"), {}, [line(0, 0.1), line(1, 0.7), line(2, 0.7), line(4, 0.3)])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0", Which(0)),
        ("2", Which(2)),
        ("004", Which(4)),
        ("best", Which(1)),
        ("last", Which(4)),
        ("few-shot", Which(0)),
        ("zero-shot", Which(0, zero_shot=True)),
    ],
)
def test_a_name_means_an_iteration(name, found):
    assert which(RUN, name) == found and is_name(name)


@pytest.mark.parametrize("name", ["", "-1", "1.0", "Best", "first", "direct", " 1"])
def test_other_names_mean_none(name):
    assert not is_name(name)
    with pytest.raises(RunError) as caught:
        which(RUN, name)
    assert str(caught.value) == (
        f"no iteration {name!r}: give a number, best, last, few-shot or zero-shot"
    )


@pytest.mark.parametrize("name", ["3", "5", "99"])
def test_an_iteration_must_be_finished(name):
    with pytest.raises(RunError, match=rf"^r has no iteration {name}: its last is 4$"):
        which(RUN, name)
    assert resolve(name, best=1, last=4) == Which(int(name))


def test_the_base_is_there_before_anything_is_finished():
    assert which(RunRecord(Path("r"), {}, []), "last") == Which(0)


def test_zero_shot_is_no_iteration_to_use():
    assert [number(RUN, name) for name in ("best", "few-shot", "2")] == [1, 0, 2]
    with pytest.raises(RunError, match="zero-shot is a way to measure the base"):
        number(RUN, "zero-shot")


def test_what_is_measured_is_called_by_its_name():
    run = RunRecord(Path("r"), {}, [line(0, 0.4), line(1, 0.2)])
    names = [evaluate.which(run, name).name for name in ("0", "best", "few-shot", "zero-shot")]
    assert names == ["iteration 0 (the base)", "iteration 0 (the base)", "few-shot", "zero-shot"]


def test_the_most_accurate_is_the_earliest_of_equals():
    assert most_accurate({0: 0.1, 1: 0.5, 2: 0.5, 3: 0.4}) == 1
    assert most_accurate({0: 0.0, 1: 0.0}) == 0
    assert most_accurate({}) is None
