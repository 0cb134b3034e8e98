"""Problems that are kept on the disk: the same as the list that they stand for."""

from __future__ import annotations

import json
import random

import pytest

from star_mlx import data
from star_mlx.data import stored
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import TaskError
from star_mlx.prompts import drawn
from star_mlx.recipe.loading import load
from star_mlx.recipe.opening import open_task
from star_mlx.recipe.provenance import data_sha256
from star_mlx.run import loop
from star_mlx.types import Problem, Question
from tests.lines import json_lines

N = 40


def row(number: int, **more: object) -> dict[str, object]:
    """Every tenth asks the same as the one before; the texts have what JSON can have."""
    asked = f"What is {number - (number % 10 == 9)} + 1? \u2603\u00e9\u202e"
    return {"q": asked, "a": str(number + 1), "c": f"c{number % 3}", "r": f"{number}.", **more}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def options(path, *more):
    return [
        f"task.options.path={path}",
        "task.options.fields={question: q, answer: a, class: c, rationale: r}",
        "task.options.read={kind: last-number}",
        "task.options.dev=5",
        "task.options.test=4",
        "prompts.k=2",
        *more,
    ]


def opened(path, *more):
    return open_task(load(None, task="jsonl", overrides=options(path, *more)))


@pytest.fixture
def few(monkeypatch):
    """No more than 7 problems are kept in memory, and read at once."""
    monkeypatch.setattr(stored, "IN_MEMORY", 7)
    monkeypatch.setattr(stored, "_BLOCK", 6)


def seen(task, prompts):
    """What a run sees of its data."""
    train = task.problems("train")
    unseen = prompts.unseen(train)
    return {
        "train": list(train),
        "dev": list(task.problems("dev")),
        "test": list(task.problems("test")),
        "skipped": task.skipped(),
        "hash": data_sha256(task),
        "shots": prompts.examples,
        "unseen": list(unseen),
        "drawn": [random.Random(f"0/{n}").sample(unseen, 6) for n in range(5)],
        "all": random.Random("0/1").sample(unseen, len(unseen)),
        "some": [train[0], train[-1], *train[2:9:3], *train[:-20]],
    }


def test_stored_problems_are_those_of_the_list(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", map(row, range(N)))
    whole = seen(*opened(path))
    monkeypatch.setattr(stored, "IN_MEMORY", 7)
    monkeypatch.setattr(stored, "_BLOCK", 6)
    task, prompts = opened(path)
    assert isinstance(task.problems("train"), stored.Stored)
    assert isinstance(prompts.unseen(task.problems("train")), stored.Stored)
    assert seen(task, prompts) == whole
    assert isinstance(task.problems("dev"), list), "few are a list"


def test_a_run_with_stored_problems_is_the_same_to_the_last_byte(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", map(row, range(N)))
    sets = options(path, "star.problems=9", "star.iterations=2", "evaluate.dev=5")

    def made(name):
        recipe = load(None, task="jsonl", overrides=sets)
        loop.run(recipe, tmp_path / name, lambda e: None, engine=ScriptedEngine(right))
        files = sorted((tmp_path / name / "iterations").rglob("*.jsonl"))
        return [(f.relative_to(tmp_path / name), list(json_lines(f))) for f in files]

    def right(asked):
        number = int(asked.prompt.rsplit("What is ", 1)[1].split()[0])
        return f" So. The answer is {number + 1 + number % 2}."

    whole = made("list")
    monkeypatch.setattr(stored, "IN_MEMORY", 7)
    assert made("stored") == whole and len(whole) > 5


def repeated(*numbers):
    return [row(n, i=f"id{7 if n in numbers else n}") for n in range(N)]


FIELDS = "task.options.fields={question: q, answer: a, class: c, rationale: r, id: i}"


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_id_that_is_used_again_is_named_by_its_places(tmp_path, monkeypatch, on_disk):
    monkeypatch.setattr(stored, "IN_MEMORY", 10 if on_disk else 1000)
    path = write(tmp_path / "a.jsonl", [*repeated(20, 30), {"q": "no answer"}])
    with pytest.raises(TaskError) as caught:
        opened(path, FIELDS)[0].problems("train")
    assert str(caught.value) == (
        f"{path}, line 21: its id 'id7' is already used in {path}, line 8; fix it, or leave such "
        "rows out with task.options.on_bad_row=skip"
    )
    task, _ = opened(path, FIELDS, "task.options.on_bad_row=skip")
    assert len(task.problems("train")) + len(task.problems("dev")) < N
    said = [text for text in task.skipped() if "already used" in text]
    assert [text.split(": ")[0] for text in said] == [f"{path}, line 21", f"{path}, line 31"]


@pytest.mark.parametrize("large", [False, True])
def test_an_id_of_an_earlier_large_file_is_found(tmp_path, few, large):
    path = write(tmp_path / "a.jsonl", repeated())
    size = 20 if large else 5
    tests = write(tmp_path / "t.jsonl", [row(n + 100, i=f"id{n + 35}") for n in range(size)])
    with pytest.raises(TaskError, match=r"t\.jsonl, line 1: its id 'id35' is .*a\.jsonl, line 36"):
        opened(path, FIELDS, f"task.options.test={tests}")[0].problems("test")


def test_an_error_in_a_late_row_is_named(tmp_path, few):
    path = write(tmp_path / "a.jsonl", [*map(row, range(N)), {"q": "no answer"}])
    with pytest.raises(TaskError, match=rf"a\.jsonl, line {N + 1}: "):
        opened(path)[0].problems("train")


def test_no_room_for_the_file_is_one_line(tmp_path, few, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(stored.tempfile, "tempdir", str(tmp_path / "nowhere"))
    path = write(tmp_path / "a.jsonl", map(row, range(N)))
    with pytest.raises(TaskError, match=r"cannot be written: No such file.*; give TMPDIR a folder"):
        opened(path)[0].problems("train")


def test_nothing_is_left_on_the_disk(tmp_path, few, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "room"))
    monkeypatch.setattr(stored.tempfile, "tempdir", None)
    (tmp_path / "room").mkdir()
    path = write(tmp_path / "a.jsonl", map(row, range(N)))
    task, _ = opened(path)
    assert len(task.problems("train")) > 7 and not list((tmp_path / "room").iterdir())


def test_a_place_outside_is_an_index_error(few):
    reader = data.Reader(lambda values: Problem("", Question(values["q"]), "1"))
    rows = (data.Row(f"a.jsonl, line {n}", {"q": f"{n}?"}) for n in range(1, 20))
    found = reader.problems(rows, "train")
    assert isinstance(found, stored.Stored) and found[-19] == found[0] == next(iter(found))
    assert found[18].id == "train-19"
    assert reader.stored[0].place_of("train-19") == "a.jsonl, line 19"
    for at in (19, -20):
        with pytest.raises(IndexError):
            found[at]


def test_a_problem_is_found_by_its_id(tmp_path, few):
    task, _ = opened(write(tmp_path / "a.jsonl", map(row, range(N))))
    train, dev = task.problems("train"), task.problems("dev")
    found = stored.by_id(train)
    assert {id: found[id] for id in found} == {p.id: p for p in train} and len(found) == len(train)
    assert found.get("nobody") is None and found.get(dev[0].id) is None, "it is of dev"
    assert stored.by_id(dev) == {p.id: p for p in dev}


def test_a_few_problems_of_many_are_read_alone(tmp_path, few, monkeypatch):
    read = []
    pread = stored.os.pread
    monkeypatch.setattr(stored, "_APART", 4)
    monkeypatch.setattr(stored.os, "pread", lambda *how: read.append(how[1]) or pread(*how))
    task, _ = opened(write(tmp_path / "a.jsonl", map(row, range(N))), "prompts.k=1")
    every = task.problems("train")
    read.clear()
    list(every)
    assert len(read) < len(every), "a block of problems at once"
    whole = sum(read)
    read.clear()
    found = every.where(lambda problem: problem in (every[0], every[len(every) - 1]))
    assert found == [every[0], every[-1]]
    assert max(read) < whole / 3
    ends = stored.Stored(every._rows, every._numbers[[0, -1]])
    read.clear()
    assert list(ends) == found and sum(read) < whole / 5


def test_few_shot_examples_are_drawn_in_the_order_of_the_list(tmp_path, few):
    task, _ = opened(write(tmp_path / "a.jsonl", map(row, range(N))))
    order = list(task.problems("train"))
    random.Random("prompts/3").shuffle(order)
    assert drawn(task, 4, 3).examples == tuple(order[:4])
