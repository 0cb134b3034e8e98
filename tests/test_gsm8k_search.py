"""The search for a recipe: rungs, what is shared between trials, and going on where it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe import loading

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ("gsm8k_search", "search_trial")
HINT = 'prompts.hint="{question} (It is {answer}.)"'


@pytest.fixture
def bench():
    """The scripts, imported as modules."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def data(tmp_path):
    rows = [
        {"question": f"What is {n} + {n}?", "answer": f"{n} + {n} = {2 * n}.\n#### {2 * n}"}
        for n in range(60)
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, "utf-8")
    return folder


class Counting(ScriptedEngine):
    """Right on even numbers; trained, on all of them; with a hint, by a wrong step on the rest."""

    def __init__(self):
        self.asked = []
        super().__init__(self.reply)

    def reply(self, asked):
        self.asked.append(asked.prompt)
        n = int(asked.prompt.partition("What is ")[2].split()[0])
        if n % 2 == 0 or asked.trained_on:
            return f"{n} + {n} = {2 * n}. The answer is {2 * n}."
        if "(It is" in asked.prompt:
            return f"At first {n} + {n} = {3 * n + 1}. No, {n} + {n} = {2 * n} in all, {2 * n}."
        return "I do not know."


COMMON = ["prompts.chat=true", "prompts.k=0", 'prompts.ask="{question}"', HINT,
          "task.options.prose=true", "star.require_valid_steps=true", "generate.chunk=4",
          "star.schedule.kind=epochs", "task.options.dev=10"]  # fmt: skip
SPACE = {
    "direct": [*COMMON, "star.rationalize=false"],
    "both": [*COMMON, "star.rationalize=true"],
    "unchecked": [*COMMON, "star.rationalize=true", "star.require_valid_steps=false"],
}


@pytest.fixture
def searched(bench, data, tmp_path, monkeypatch):
    """A search of two rungs, and its engine."""
    engine = Counting()
    monkeypatch.setattr(bench.search_trial, "open_base", lambda recipe: engine)
    settings = {"name": "gsm8k", "model": None, "data": str(data), "seed": 0}

    def go():
        ladder = bench.gsm8k_search.rungs("12:10:2 16:10:1")
        bench.gsm8k_search.search(SPACE, ladder, tmp_path / "out", settings, ["train.rank=4"])
        return bench.gsm8k_search.read(tmp_path / "out")

    return SimpleNamespace(go=go, engine=engine, out=tmp_path / "out", bench=bench)


def test_trials_share_their_generation_and_differ_in_what_they_keep(searched):
    trials = {(t["rung"], t["name"]): t for t in searched.go()}
    assert len(trials) == 3 + 2
    first = [trials[1, name] for name in SPACE]
    [solved] = {t["solved"] for t in first}
    assert [t["kept"] for t in first] == [solved, solved, 12]
    assert [t["rejected"] for t in first] == [0, 12 - solved, 0]
    assert [t["rationalized"] for t in first] == [0, 0, 12 - solved]
    for trial in first:
        assert trial["dev"]["correct"] == 10 > trial["base"]["correct"]
        assert trial["better"] == 10 - trial["base"]["correct"] and trial["worse"] == 0
        assert "train.rank=4" in trial["settings"]
    failed = 12 - solved
    second = 16 + (16 - trials[2, "both"]["solved"] if (2, "both") in trials else 0)
    measured = 10 + 3 * 10 + 2 * 10  # the base once
    assert len(searched.engine.asked) == 12 + failed + second + measured


def test_a_search_started_again_makes_nothing_anew(searched):
    trials = searched.go()
    asked = len(searched.engine.asked)
    before = (searched.out / "trials.jsonl").read_bytes()
    assert searched.go() == trials and len(searched.engine.asked) == asked
    assert (searched.out / "trials.jsonl").read_bytes() == before
    page = (searched.out / "table.md").read_text("utf-8")
    assert page.count("| direct |") == page.count("Rung ") == 2 and "  star.rationalize=" in page


def test_an_interrupted_search_goes_on_inside_its_trial(searched):
    reply, calls = searched.engine._reply, []

    def failing(asked):
        calls.append(asked)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return reply(asked)

    searched.engine._reply = failing
    with pytest.raises(KeyboardInterrupt):
        searched.go()
    assert len(searched.go()) == 5
    assert len(calls) < 200


def test_the_best_by_dev_and_then_by_steps_go_on(bench):
    trials = [
        {"name": name, "dev": {"correct": right, "n": 10}, "steps": steps}
        for name, right, steps in (("a", 5, 9), ("b", 7, 9), ("c", 7, 3))
    ]
    assert [t["name"] for t in bench.gsm8k_search.order(trials)] == ["c", "b", "a"]


@pytest.mark.parametrize("task", ["gsm8k", "commonsenseqa"])
def test_every_candidate_of_the_shipped_spaces_is_a_recipe(bench, task):
    names = bench.gsm8k_search.space(BENCHMARKS / "spaces" / f"{task}.yaml")
    [rung, *_] = bench.gsm8k_search.rungs(bench.gsm8k_search.RUNGS)
    for own in names.values():
        loading.load(task, overrides=bench.gsm8k_search.overrides(own, [], rung))


def test_a_space_of_another_form_is_refused(bench, tmp_path):
    for text in ("common: []", "candidates: {a: star.seed=1}", "candidates: {a: [b], c: 1}"):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(ValueError, match="give lists of KEY=VALUE"):
            bench.gsm8k_search.space(tmp_path / "s.yaml")
