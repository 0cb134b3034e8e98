"""``import star_mlx``: what it offers, on a scripted model."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import star_mlx as sx
from star_mlx import engine as engines
from star_mlx.api import new_folder
from star_mlx.api.run import folder_of
from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe import loading
from star_mlx.report import write_report
from star_mlx.report.parts import MARK
from star_mlx.run import loop, unlike
from star_mlx.star import star
from star_mlx.store import reading
from star_mlx.tasks import own
from star_mlx.tasks.arithmetic import Arithmetic, ArithmeticOptions
from star_mlx.tui import NotebookScreen, in_notebook
from star_mlx.types import Evaluation
from tests.scripts import hopeless, learner, parts
from tests.test_loop import SMALL, contents, lines, recipe
from tests.test_star import D, Scripted

SETTINGS = {key: json.loads(value) if value[0].isdigit() else value for key, _, value in (
    setting.partition("=") for setting in SMALL
)}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(out="run", what="arithmetic", *, reply=learner, progress=False, **more):
    settings = {**SETTINGS, "star.iterations": 2, **more.pop("settings", {})}
    if not isinstance(what, str):
        settings = {k: v for k, v in settings.items() if not k.startswith("task.")}
    engine = ScriptedEngine(reply)
    return sx.train(what, out=out, settings=settings, engine=engine, progress=progress, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs that are trained once: ``whole`` and ``late``."""
    place = tmp_path_factory.mktemp("made")
    train(place / "whole")
    train(place / "late", reply=late)
    return place


@pytest.fixture
def run(made):
    """A finished run, in ``run``."""
    shutil.copytree(made / "whole", "run")
    return sx.open_run("run", engine=ScriptedEngine(learner))


@pytest.fixture
def other(made):
    """Another one, in ``other``, whose base knows nothing."""
    shutil.copytree(made / "late", "other")
    return sx.open_run("other", engine=ScriptedEngine(late))


def late(asked):
    """Knows nothing but what a hint says, until it is trained."""
    return learner(asked) if asked.trained_on or parts(asked.prompt)[2] else "?"


# --------------------------------------------------------------------------- the door


def test_the_public_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(sx.__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {n.name: node.module for node in nodes for n in node.names if "star_mlx" in node.module}
    assert sx.__all__ == sorted(seen) == dir(sx)
    for name, module in seen.items():
        assert getattr(sx, name) is getattr(importlib.import_module(module), name), name


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'star_mlx' has no attribute 'trian'"):
        sx.trian  # noqa: B018


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_that_takes_time():
    heavy = ("mlx", "mlx_lm", "numpy", "pydantic", "yaml", "rich", "IPython", "star_mlx.api")
    loaded = f"print([m for m in {heavy!r} if m in sys.modules])"
    code = f"import sys, star_mlx as sx; sx.Problem, sx.star, sx.RunError, sx.Event; {loaded}"
    assert in_a_process(code) == "[]"


@pytest.mark.slow
def test_training_and_asking_with_an_engine_of_ones_own_loads_no_mlx():
    code = (
        "import sys, star_mlx as sx\n"
        "engine = sx.ScriptedEngine(lambda asked: asked.prompt.split('Target: ')[-1])\n"
        "options = {'train': 50, 'held_out': 4}\n"
        "run = sx.train('arithmetic', iterations=1, problems=4, engine=engine, out='r',\n"
        "               options=options, max_length=1000, progress=False)\n"
        "run.ask('1+1'), run._repr_html_(), sx.compare(run, run)\n"
        "print([m for m in ('mlx', 'mlx_lm', 'numpy') if m in sys.modules])"
    )
    assert in_a_process(code) == "[]"


@pytest.mark.slow
def test_star_is_the_function_whatever_was_imported():
    code = "import star_mlx.run.loop, star_mlx.star, star_mlx as sx; print(sx.star.__name__)"
    assert in_a_process(code) == "star" and sx.star is star


def documented(name):
    value = getattr(sx, name)
    ours = value.__mro__ if inspect.isclass(value) else [value]
    return [one.__doc__ or "" for one in ours if one.__module__.startswith("star_mlx")]


@pytest.mark.parametrize("name", sx.__all__)
def test_every_public_name_is_documented_with_an_example(name):
    texts = documented(name)
    if name in ("Metrics", "Measured"):
        texts.append(sx.Run.metrics.__doc__)
    assert texts[0].strip() and any(">>> " in text for text in texts)


def test_every_public_method_of_a_run_is_documented():
    public = {n: m for n, m in vars(sx.Run).items() if not n.startswith("_")}
    assert len(public) == 13 and all(inspect.getdoc(member) for member in public.values())


@pytest.mark.slow
def test_the_examples_of_the_docstrings_run():
    modules = {importlib.import_module(getattr(sx, name).__module__) for name in sx.__all__}
    finder = doctest.DocTestFinder()
    found = [test for m in (*modules, sx) for test in finder.find(m) if test.examples]
    found.sort(key=lambda test: test.name != "star_mlx.api.train")  # it makes the others' run
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    problems = [sx.Problem(str(n), sx.Question(f"q{n}"), f"a{n}") for n in range(20)]
    for test in found:
        test.globs.update(model=ByHeart(), problems=problems)
        runner.run(test)
    tried = runner.summarize(verbose=False)
    assert tried.failed == 0 and len(found) > 30


class ByHeart(Scripted):
    """Solves with a hint, and what it was trained on."""

    def attempt(self, problems, adapter, *, iteration, hinted, few_shot):
        knows = hinted or adapter is not None
        return [sx.Attempt(p.id, hinted, p.answer, p.answer, knows, "stop", (1,)) for p in problems]


# --------------------------------------------------------------------------- train


def test_train_does_what_the_loop_does(tmp_path):
    made = train("made", settings={"star.iterations": 3})
    loop.run(recipe(), tmp_path / "looped", lambda event: None, engine=ScriptedEngine(learner))
    assert made.path == Path("made") and contents(made.path) == contents(tmp_path / "looped")


def given(*names, **settings):
    return loading.load(*names, settings=settings)


def test_a_setting_is_given_by_its_last_name_a_group_or_its_path():
    made = given("arithmetic", iterations=3, rank=8, max_tokens=9, seed=5)
    assert (made.star.iterations, made.train.rank, made.generate.max_tokens) == (3, 8, 9)
    assert made.seed == 5 and made.prompts.seed == 0
    shipped = loading.load("arithmetic").train
    for group in ({"rank": 8}, sx.Train(rank=8)):
        assert given("arithmetic", train=group).train == shipped.model_copy(update={"rank": 8})
    made = given("arithmetic", **{"task.options.digits": (1, 3), "star.schedule.start": 7})
    assert made.task.options["digits"] == (1, 3) and made.star.schedule.start == 7
    assert given("arithmetic", model="owner/name@v1").model.revision == "v1"
    assert given("arithmetic", options={"digits": [1, 2]}).task.options["digits"] == [1, 2]
    assert given("arithmetic", file=Path("mine.yaml")).prompts.file == "mine.yaml"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rnak": 8}, "there is no setting rnak: did you mean rank?"),
        ({"xyzzy": 8}, "there is no setting xyzzy: star-mlx settings lists them"),
        ({"batch_size": 8}, "batch_size may be generate.batch_size or train.batch_size: write "),
        ({"temperature": 1.0}, "temperature may be generate.temperature or evaluate.temperature"),
        ({"rank": "8"}, "rank='8': train.rank should be a whole number, but is '8'"),
        ({"train.rnak": 8}, "train.rnak=8: unknown key train.rnak: did you mean train.rank?"),
        ({"train": {"rnak": 8}}, "unknown key train.rnak: did you mean train.rank?"),
        ({"rank": object}, "rank=<class 'object'>: a setting is a number, a text, a list..."),
        ({"rank": 0}, "rank=0: train.rank should be at least 1, but is 0"),
        ({"train": 3}, "train=3: train should be a group of keys: rank, scale"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_was_meant(settings, message):
    with pytest.raises(sx.RecipeError) as refused:
        sx.train("arithmetic", settings=settings)
    assert message in str(refused.value) and not list(Path().iterdir())


def test_what_is_trained_may_be_a_recipe_by_name_file_or_object(monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "run", lambda recipe, *rest, **more: seen.append(recipe))
    Path("mine.yaml").write_text("extends: arithmetic\ntrain: {rank: 3}\n", encoding="utf-8")
    for what in ("arithmetic-lm", "mine.yaml", Path("mine.yaml"), loading.load("mine.yaml")):
        sx.train(what, iterations=7)
    assert [made.star.iterations for made in seen] == [7] * 4
    assert seen[0] == loading.load("arithmetic-lm", settings={"iterations": 7})
    assert seen[1] == seen[2] == seen[3] and seen[1].train.rank == 3
    with pytest.raises(sx.RecipeError, match="did you mean arithmetic"):
        sx.train("arithmatic")


def test_without_out_a_run_is_a_new_folder():
    Path("runs/arithmetic-001").mkdir(parents=True)
    made = train(None, settings={"star.iterations": 1, "star.problems": 4})
    assert made.path == Path("runs/arithmetic-002")
    Odd = type("Odd", (Plain,), {"name": "../my task: odd"})
    assert new_folder(Odd()) == Path("runs/..-my-task-odd-001")


def test_the_same_call_again_leaves_a_finished_run_as_it_is_and_another_recipe_is_refused(run):
    before = contents(run.path)
    events = []
    assert contents(train(on_event=events.append).path) == before
    assert not [e for e in events if isinstance(e, sx.Progress)]
    with pytest.raises(sx.RunError, match=r"what differs: star\.iterations 2 -> 3"):
        train(settings={"star.iterations": 3})


def test_a_function_gets_every_event_and_nothing_is_shown(capsys):
    events, looped = [], []
    train(on_event=events.append, progress=None, settings={"star.iterations": 3})
    loop.run(recipe(), Path("looped"), looped.append, engine=ScriptedEngine(learner))
    assert [type(e) for e in events] == [type(e) for e in looped]
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_unless_there_is_a_function_or_it_is_turned_off(capsys):
    once = {"star.iterations": 1, "star.problems": 4}
    train(progress=None, settings=once)
    assert "iteration 1: training" in capsys.readouterr().out
    train("silent", progress=False, settings=once)
    assert capsys.readouterr() == ("", "")
    events = []
    train("both", progress=True, on_event=events.append, settings=once)
    assert events and "iteration 1: training" in capsys.readouterr().out


def test_trackers_are_told_by_name():
    with pytest.raises(sx.StarError, match="did you mean wandb"):
        train(track=["wandbb"])


# --------------------------------------------------------------------------- interrupted


def interrupting(kind, number):
    """A consumer of events that interrupts at the ``number``-th one of a kind."""
    count = iter(range(1, number + 1))

    def on_event(event):
        if isinstance(event, kind) and next(count) == number:
            raise KeyboardInterrupt

    return on_event


@pytest.mark.parametrize(
    ("kind", "number"),
    [(sx.RunStarted, 1), (sx.Sampled, 4), (sx.Progress, 20), (sx.IterationFinished, 2),
     (sx.PhaseStarted, 8)],
)  # fmt: skip
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(kind, number, made, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train("cut", on_event=interrupting(kind, number))
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    run = sx.open_run("cut")
    assert run.last < 2
    assert run.resume(progress=False) is run and run.last == 2
    assert contents(run.path) == contents(made / "whole")


def test_the_screen_says_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt):
        train("cut", progress=True, on_event=interrupting(sx.IterationFinished, 2))
    assert "stopped; resume with: star_mlx.open_run('cut').resume()" in capsys.readouterr().out


# --------------------------------------------------------------------------- a run


def test_the_metrics_of_a_run(run):
    base, first, _ = run.metrics
    assert (base.iteration, base.problems, base.train, base.examples) == (0, None, None, None)
    assert (first.problems, first.solved, first.rationalized, first.examples) == (20, 4, 16, 20)
    assert first.train.steps == 1 and first.zero_shot is None and base.zero_shot.n == 20
    assert (first.dev.n, first.dev.correct, first.dev.accuracy) == (20, 20, 1.0)
    assert first.dev.by_class["5"].correct == 4 and first.dev.ci95[1] == 1.0
    assert (run.best, run.last, run.number("best")) == (1, 2, 1)
    assert run.recipe == loading.from_resolved(reading.read(run.path).recipe)


def test_a_run_is_read_again_only_when_it_has_changed(run, monkeypatch):
    reads = []
    read = reading.read
    monkeypatch.setattr(reading, "read", lambda path: reads.append(path) or read(path))
    opened = sx.open_run(run.path)
    reads.clear()
    assert opened.metrics and opened.best == 1 and opened.last == 2
    assert len(reads) == 1
    rows = (run.path / "metrics.jsonl").read_bytes().splitlines(True)
    (run.path / "metrics.jsonl").write_bytes(b"".join(rows[:-1]))
    assert opened.last == 1 and len(opened.metrics) == 2 and len(reads) == 2


def test_attempts_and_examples_are_those_of_the_files(run):
    rows = lines(run.path / "iterations/001/attempts.jsonl")
    made = list(run.attempts(1))
    assert [(a.id, a.hinted, a.completion) for a in made] == [
        (row["id"], row["hinted"], row["completion"]) for row in rows
    ]
    assert len(list(run.attempts(1, hinted=True))) == 16
    assert [a for a in made if not a.hinted] == list(run.attempts("best", hinted=False))
    assert isinstance(made[0], sx.Attempt) and isinstance(made[0].token_ids, tuple)
    kept = run.examples(1)
    rows = lines(run.path / "iterations/001/examples.jsonl")
    assert [e.id for e in kept] == [row["id"] for row in rows]
    assert isinstance(kept[0], sx.Example) and run.ledger().totals()["never"] == 0


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda run: run.attempts(0), "iteration 0 has no attempts"),
        (lambda run: run.examples(3), "run has no iteration 3: its last is 2"),
        (lambda run: run.ask("1+1", iteration="first"), "no iteration 'first'"),
        (lambda run: run.evaluate(5), "run has no iteration 5"),
        (lambda run: run.evaluate(samples=2), "2 samples at temperature 0 are all the same"),
        (lambda run: run.ask("one and one"), "'one and one' is not a sum"),
        (lambda run: sx.compare("run:7", run), "run has no iteration 7"),
    ],
)
def test_what_a_run_does_not_have_is_said(run, read, message):
    with pytest.raises(sx.StarError, match=message.replace("'", ".")):
        read(run)


def test_a_folder_that_is_no_run_is_refused():
    Path("empty").mkdir()
    with pytest.raises(sx.RunError, match=r"empty is not a run folder: it has no recipe\.yaml"):
        sx.open_run("empty")


def test_an_answer_is_what_try_shows(run, monkeypatch, capsys):
    answer = run.ask("7 8 + 4 5")
    assert (answer.answer, answer.gold, answer.correct) == ("1 2 3", "1 2 3", True)
    assert answer.iteration == 2 and answer.rationale.endswith("</scratch>\n1 2 3")
    wrong = run.ask("78+45", iteration=0)
    assert not wrong.correct and repr(wrong).endswith("the base answers 7 8, wrong: it is 1 2 3")
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    with pytest.raises(SystemExit):
        main(["try", "run", "7 8 + 4 5"])
    assert capsys.readouterr().out == f"{answer}\n"


def test_an_answer_says_that_the_run_trained_on_no_such_sum(run):
    assert run.ask("78+45").remark == ""
    assert run.ask("123456+654321", iteration=0).remark == "", "the base was not trained by the run"
    longer = run.ask("123456+654321", iteration=1)
    assert longer.remark == (
        "outside what it was trained on: the number of digits is 6, and was 1 to 5 in training"
    )
    assert repr(longer).endswith(f"({longer.remark})")
    unequal = run.ask("12 + 345")
    assert unequal.gold == "3 5 7" and "the number of digits is 2 and 3, and" in unequal.remark


def test_a_length_is_in_training_once_it_was_added():
    task = Arithmetic(ArithmeticOptions(digits=(1, 2), grow_to=4, train=40, mastered=0.9))
    problem = task.pose("123+456")
    for last, remark in ((1, "outside"), (9, "")):
        seen = [Evaluation("dev", 10, last, {"2": (10, last)})]
        assert unlike.remark(task, problem, task.training(seen)).startswith(remark)
    assert unlike.remark(task, replace(problem, group=""), task.training(())) == ""


def test_an_answer_that_is_not_found_or_not_known():
    unread = sx.Answer(1, "Q:", " so", None, "4", False)
    assert repr(unread) == "Q: so\n\niteration 1 gave no answer; right is 4"
    assert repr(sx.Answer(1, "Q:", " 4", "4", None, None)) == "Q: 4\n\niteration 1 answers 4"
    assert "\x1b" not in repr(sx.Answer(1, "\x1b[2J", "\x1b", "\x1b", "\x1b", False))


def test_the_base_is_opened_once(run, monkeypatch):
    opened = []
    monkeypatch.setattr(
        engines, "open_base", lambda recipe: opened.append(recipe) or ScriptedEngine(learner)
    )
    again = sx.open_run("run")
    assert not opened
    again.ask("1+1")
    again.ask("1+1", iteration=0)
    again.evaluate("last", split="test", limit=2, progress=False)
    again.resume(progress=False)
    assert len(opened) == 1


def test_an_engine_with_another_base_is_refused(run):
    class Other(ScriptedEngine):
        def describe(self):
            return {"name": "another", "hash": "another"}

    with pytest.raises(sx.ModelError, match="with the base scripted, but the given engine"):
        sx.open_run("run", engine=Other(learner)).ask("1+1")


def test_a_measurement_is_kept_and_compared(run, other, capsys):
    measured = run.evaluate(1, split="test", against=["few-shot", 2, other], progress=False)
    assert (measured.n, measured.accuracy) == (20, 1.0) and 0.8 < measured.ci95[0] < 0.85
    assert [pair.other for pair in measured.against] == [
        "few-shot", "iteration 2", "other, iteration 1",
    ]  # fmt: skip
    [file] = Path("run/results").iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    entry = json.loads(json.dumps(measured.as_json()))
    assert Path(entry.pop("file")).samefile(file) and entry == kept
    assert repr(measured).startswith("iteration 1, test: 100.0% [")
    assert capsys.readouterr() == ("", "")
    run.evaluate("last", limit=3)
    assert capsys.readouterr().err == "measuring: 3\n"


def test_runs_are_compared_as_the_command_does(run, other, capsys):
    found = sx.compare("run:few-shot", other)
    with pytest.raises(SystemExit):
        main(["compare", "run:few-shot", "other", "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.as_json()))
    assert found.pair.better == 16 and found.pair.verdict == "better"
    assert repr(found) == (
        "first   run, iteration 0: 20.0% of n = 20\n"
        "second  other, iteration 1: 100.0% of n = 20\n"
        "other, iteration 1 is better than run, iteration 0: 16 more right, 0 fewer, "
        "p < 0.0001 (n = 20)"
    )
    assert sx.compare(run, Path("other")).pair == sx.compare("run", "other").pair
    assert [folder_of(run), folder_of("run:3"), folder_of(3)] == ["run", "run:3", "3"]


def test_a_report_is_a_page_or_a_folder(run, other, monkeypatch):
    reported = []

    def write(runs, out, made, samples_bytes=0):
        reported.append([str(run) for run in runs])
        out.mkdir(parents=True)
        (out / "index.html").write_bytes(MARK + b"page")
        return write_report.Report([out / "index.html"])

    monkeypatch.setattr(write_report, "write", write)
    Path("page.html").write_bytes(MARK + b"earlier")
    assert run.report("page.html", beside=[other]) == Path("page.html")
    assert Path("page.html").read_bytes() == MARK + b"page"
    assert run.report() == Path("run/report/index.html")
    assert run.report("there/page", beside=["other"]) == Path("there/page/index.html")
    assert reported == [["run", "other"], ["run"], ["run", "other"]]
    Path("notes.html").write_text("mine", encoding="utf-8")
    with pytest.raises(sx.RunError, match=r"notes\.html exists and is not a report"):
        run.report("notes.html")
    assert Path("notes.html").read_text(encoding="utf-8") == "mine"


def test_a_run_as_text_and_as_html(run):
    text = repr(run)
    assert text.startswith("run: arithmetic, tiny, seed 0\n\n") and "\x1b" not in text
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "20", "4", "16", "20"] in [row[:5] for row in rows]
    html = run._repr_html_()
    assert html.count("<table>") == 2 and html.count("<tr>") == 8 and ">16</td>" in html
    assert "dev accuracy by number of digits, % [95% interval]" in html
    (run.path / "metrics.jsonl").unlink()
    assert "no iteration is finished yet" in repr(run)


def test_html_shows_foreign_text_as_text():
    dev = [sx.Problem("x", sx.Question("Twice 500?"), "1000", group="<b>")]
    run = train("<i>&", with_problems(dev=dev), reply=told, settings={"star.iterations": 1})
    html = run._repr_html_()
    assert "&lt;b&gt;" in html and "&lt;i&gt;&amp;: " in html
    assert "<b>" not in html and "<i>" not in html


def test_in_a_notebook_progress_is_one_display_updated_now_and_then(monkeypatch):
    updates = []

    class Handle:
        def update(self, data, raw):
            updates.append(data)

    class Module:
        @staticmethod
        def display(data, raw, display_id):
            assert raw and display_id
            updates.append(data)
            return Handle()

    monkeypatch.setitem(sys.modules, "IPython.display", Module)
    events = []
    with NotebookScreen(clock=lambda: 0.0) as screen:
        train(on_event=lambda event: (events.append(event), screen(event)))
    assert not in_notebook()
    rest = [e for e in events if not isinstance(e, sx.Progress | sx.Sampled)]
    assert len(updates) == len(rest) + 1 < len(events) / 2  # and once at the end
    assert "finished in" in updates[-1]["text/html"] and "20" in updates[-1]["text/plain"]
    assert "Training " in updates[-1]["text/plain"], "the verdict"


# --------------------------------------------------------------------------- tasks of one's own

HALVES = '''
from dataclasses import dataclass, replace

import star_mlx as sx


@dataclass
class Halves(sx.SimpleTask):
    """Half of an even number."""

    first: int = 10
    few_shot = (sx.Problem("e", sx.Question("What is half of 6?"), "3", rationale="3 + 3 = 6."),)

    def problems(self, split):
        first = self.first + {"train": 0, "dev": 100, "test": 200}[split]
        numbers = range(first, first + 60, 2)
        return [
            sx.Problem(f"{n}", sx.Question(f"What is half of {n}?"), f"{n // 2}") for n in numbers
        ]
'''


class Plain(sx.SimpleTask):
    few_shot = (sx.Problem("e", sx.Question("Twice 3?"), "6", rationale="3 + 3 = 6."),)

    def problems(self, split):
        first = {"train": 0, "dev": 100, "test": 200}[split]
        return [
            sx.Problem(str(n), sx.Question(f"Twice {n}?"), str(2 * n))
            for n in range(first, first + 30)
        ]


def told(asked):
    """Knows what a hint says, and after training everything."""
    question = asked.prompt.split("\n")[0]
    number = int("".join(c for c in question.split("(")[0] if c.isdigit()))
    answer = 2 * number if "Twice" in question else number // 2
    return f" It follows. The answer is {answer if '(' in question or asked.trained_on else 7}."


@pytest.fixture
def halves(monkeypatch):
    """A module of the user's with a task, in the current folder."""
    Path("halves_task.py").write_text(HALVES, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "halves_task:Halves"
    sys.modules.pop("halves_task", None)


def imported(name):
    sys.path.append(os.getcwd())
    module, cls = name.split(":")
    return getattr(importlib.import_module(module), cls)


def commands(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, *capsys.readouterr()


def local():
    class Local(Plain):
        """Defined in a function: nobody can import it."""

        def settings(self):
            return {"n": 1}

    return Local()


def test_a_task_of_ones_own_is_learned_and_recorded_by_its_import_path(halves):
    task = imported(halves)(first=20)
    run = train(what=task, reply=told)
    assert run.recipe.task == sx.TaskSpec(name=halves, options={"first": 20})
    first = run.metrics[1]
    assert (first.solved, first.rationalized, first.dev.accuracy) == (0, 20, 1.0)
    assert not (run.path / own.SOURCE).exists()
    assert run.ask("What is half of 50?").correct and run.ask("What is half of 999?").gold is None
    assert run.evaluate(split="test", progress=False).accuracy == 1.0
    assert sx.compare(run, "run:0").pair.worse == 20


def test_a_task_without_a_module_is_recorded_by_its_source():
    run = train(what=local(), reply=told)
    assert run.recipe.task.name == "task.py:Local"
    source = (run.path / own.SOURCE).read_text(encoding="utf-8")
    assert source == textwrap.dedent(inspect.getsource(type(local())))
    events = []
    (run.path / own.SOURCE).write_text("class Local: pass", encoding="utf-8")
    run.resume(on_event=events.append)
    [warning] = [e.text for e in events if isinstance(e, sx.Notice)]
    assert warning == "the class of the task has changed since run/task.py was written"
    assert (run.path / own.SOURCE).read_text(encoding="utf-8") == "class Local: pass"


@pytest.mark.slow
def test_a_later_process_is_told_how_to_give_the_task(capsys):
    before = train(what=local(), reply=told)
    engine = ScriptedEngine(told)
    later = sx.open_run("run", engine=engine)
    for call in (lambda: later.ask("Twice 2?"), later.resume, later.evaluate):
        with pytest.raises(sx.TaskError, match="Local was defined in a notebook or script"):
            call()
    for arguments in (["loop", "--run", "run"], ["evaluate", "--run", "run"], ["try", "run", "q"]):
        code, out, err = commands(capsys, *arguments)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert "STAR_MLX_TASKS=my_tasks:Local" in err and "open_run(RUN, task=Local())" in err
    for arguments in (["show", "run"], ["ledger", "run"]):
        assert commands(capsys, *arguments)[0] == 0
    assert later.metrics == before.metrics and later.ledger().totals()["problems"] == 29
    again = sx.open_run("run", task=local(), engine=engine)
    assert again.ask("Twice 2?").correct and again.resume(progress=False).last == 2


@pytest.mark.slow
def test_a_run_folder_or_recipe_alone_imports_nothing(halves, capsys, monkeypatch):
    train(what=imported(halves)(), reply=told)
    del sys.modules["halves_task"]
    Path("halves_task.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    Path("mine.yaml").write_text("task: halves_task:Halves\n", encoding="utf-8")
    refused = (
        ["loop", "--run", "run"], ["evaluate", "--run", "run"], ["try", "run", "q"],
        ["loop", "--recipe", "mine.yaml"], ["baseline", "run", "--kind", "sft"],
    )  # fmt: skip
    for arguments in refused:
        code, _, err = commands(capsys, *arguments)
        assert code == 2 and "code is imported only if you allow it" in err, arguments
    exported = ["export-data", "--run", "run", "--out", "rows.jsonl"]
    for arguments in (["report", "run"], ["compare", "run", "run:0"], ["show", "run"], exported):
        assert commands(capsys, *arguments)[0] == 0, arguments
    for call in (sx.open_run("run").resume, lambda: sx.train("mine.yaml"), sx.open_run("run").ask):
        with pytest.raises((sx.TaskError, TypeError)):
            call()
    assert "halves_task" not in sys.modules


def test_the_command_line_refuses_a_task_on_which_a_run_would_go_wrong(halves, capsys):
    text = HALVES.replace('"dev": 100', '"dev": 0')
    Path("halves_task.py").write_text(text, encoding="utf-8")
    code, _, err = commands(capsys, "loop", "--task", halves)
    assert code == 2 and "two of its train and dev problems have the id '10'" in err


def test_the_command_line_imports_a_task_that_the_user_names(halves, capsys, monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(told))
    few = ("star.iterations=1", "star.problems=9", "task.options.first=40")
    sets = [part for setting in few for part in ("--set", setting)]
    code, _, err = commands(capsys, "loop", "--task", halves, *sets)
    assert code == 0, err
    run = "runs/halves-001"
    assert sx.open_run(run).recipe.task.options == {"first": 40}
    assert commands(capsys, "loop", "--run", run, "--task", halves)[0] == 0
    assert commands(capsys, "evaluate", "--run", run)[0] == 2
    monkeypatch.setenv("STAR_MLX_TASKS", f"other:Task, {halves}")
    assert commands(capsys, "evaluate", "--run", run, "--max-samples", "3")[0] == 0
    code, out, _ = commands(capsys, "try", run, "What is half of 42?")
    assert code == 0 and out.endswith("iteration 1 answers 21, right\n")
    monkeypatch.delenv("STAR_MLX_TASKS")
    assert sx.open_run(run, task=halves).ask("What is half of 42?").correct


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Task", "there is no module no_such_module in this folder"),
        ("halves_task:Doubles", "cannot be imported: halves_task has no class Doubles"),
        ("halves_task:sx", "cannot be imported: halves_task has no class sx"),
        (":Halves", "names no module: write MODULE:CLASS"),
        ("halves_task:dataclass", "halves_task has no class dataclass"),
    ],
)
def test_a_name_that_cannot_be_imported_is_one_line(halves, name, message):
    with pytest.raises(sx.TaskError) as refused:
        sx.load_task(name)
    assert message in str(refused.value)


def test_the_options_of_a_task_must_fit_it(halves):
    with pytest.raises(sx.TaskError, match=r"task\.options do not fit the class halves_task:"):
        sx.load_task(halves, last=3)
    task = imported(halves)
    train(what=task(first=20), reply=told)
    with pytest.raises(sx.TaskError, match=r"has the options \{'first': 10\}, but the recipe has"):
        sx.open_run("run", task=task())
    with pytest.raises(sx.TaskError, match=r"has the options \{'first': 10\}, but the recipe has"):
        sx.train(task(), settings={"task.options.first": 2})
    assert sx.open_run("run", task=task(first=20)).last == 2


def test_a_task_is_given_only_to_a_run_of_such_a_task(run):
    with pytest.raises(sx.TaskError, match="is a run of the task arithmetic: leave task out"):
        sx.open_run("run", task=Plain())


def with_problems(**splits):
    class Given(Plain):
        def problems(self, split):
            return splits.get(split, super().problems(split))

    return Given()


TWICE = sx.Problem("a", sx.Question("Twice 1?"), "2")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Plain, "Plain is a class: give an object of it, Plain()"),
        (object(), "object is not a task, it has no name: subclass star_mlx.SimpleTask"),
        (with_problems(train=[]), "the task given has no train problems"),
        (with_problems(train=[TWICE, TWICE]), "two of its train and dev problems have the id 'a'"),
        (
            with_problems(train=[TWICE], dev=[sx.Problem("b", TWICE.question, "2")]),
            "the question 'Twice 1?' is in train and in dev",
        ),
        (with_problems(train=[sx.Problem("a", TWICE.question, "")]), "problem 'a' has no answer"),
    ],
)
def test_a_task_on_which_a_run_would_go_wrong_is_refused(task, message):
    with pytest.raises(sx.TaskError) as refused:
        train(what=task, reply=told)
    assert message in str(refused.value) and not Path("run").exists()


def test_few_shot_examples_must_have_a_rationale_and_read_back_as_their_answer():
    class Silent(Plain):
        few_shot = (sx.Problem("e", sx.Question("Twice 3?"), "6"),)

    class Unread(Plain):
        def worked(self, rationale, answer):
            return f" {rationale} So {answer}."

    for task, message in (
        (Silent(), "few-shot example 1 of the task silent lacks its rationale"),
        (Unread(), "few-shot example 1 of the task unread: its text reads as None, not as its '6'"),
    ):
        with pytest.raises(sx.PromptError) as refused:
            train(what=task, reply=told)
        assert message in str(refused.value)


def test_a_simple_task_asks_and_reads():
    task = Plain()
    question = sx.Question("Which is a fruit?", (("A", "stone"), ("B", "apple")))
    assert task.name == "plain" and local().name == "local"
    assert task.ask_hinted(sx.Question("Twice 2?"), "4") == "Q: Twice 2? (4)\nA:"
    assert task.read(task.worked("2 + 2 = 4.", "4"), sx.Question("Twice 2?")) == "4"
    assert task.read(task.worked(None, "B"), question) == "B"
    assert task.read("I do not know", question) is None
    assert task.equal("4.0", "4") and task.equal("Apple", "apple") and not task.equal("40", "4")
    assert task.pose_row({"question": "Twice 2?", "answer": "4", "id": 3}).answer == "4"
    assert task.pose("Twice 3?").answer == "6" and task.pose("Twice 999?").answer == ""


@dataclass
class Sized(Plain):
    sizes: tuple = (1, 2)


def test_the_fields_of_a_dataclass_are_its_options():
    assert Sized((3, 4)).settings() == {"sizes": [3, 4]} and Plain().settings() == {}


# --------------------------------------------------------------------------- the others


def test_load_task_takes_options_data_and_recipes():
    assert sx.load_task("arithmetic", digits=(1, 2)).settings()["digits"] == [1, 2]
    Path("data").mkdir()
    assert sx.load_task("gsm8k", data=Path("data")).settings()["data"] == "data"
    with pytest.raises(sx.TaskError, match="the options of arithmetic are digits"):
        sx.load_task("arithmetic", digit=1)


def test_load_model_opens_what_it_is_told(monkeypatch):
    seen = []
    monkeypatch.setattr(engines, "open_engine", lambda path, **more: seen.append((path, more)))
    sx.load_model(Path("folder"), revision="v1", max_memory=2.0)
    more = {"revision": "v1", "trust_remote_code": False, "max_memory": 2.0}
    sx.load_model("owner/name@v2", max_memory=2.0)
    assert seen == [("folder", more), ("owner/name", {**more, "revision": "v2"})]


def test_grading_counts_and_keeps_the_rows():
    rows = [
        {"completion": "3 + 3 = 6\n#### 6", "gold": "6", "correct": True},
        {"completion": "#### 7", "gold": "6", "correct": True},
        {"completion": "I do not know", "gold": "6"},
    ]
    grades = sx.grade("gsm8k", rows)
    assert [g.verdict for g in grades.rows] == ["correct", "wrong", "not_found"]
    assert grades.counts["rows"] == 3 and grades.counts["disagree"] == 1
    assert grades.accuracy == pytest.approx(1 / 3, abs=1e-6) and grades.rows[1].disagrees
    assert sx.grade(sx.load_task("gsm8k"), rows) == grades
    with pytest.raises(sx.TaskError, match="row 2: it has no completion"):
        sx.grade("gsm8k", [rows[0], {"gold": "6"}])


def test_star_takes_problems_or_a_function_that_returns_them():
    settings = sx.Star(iterations=2, problems=4)
    listed = list(sx.star(Scripted(), D, settings, seed=0))
    assert listed == list(sx.star(Scripted(), lambda evaluations: D, settings, seed=0))
    assert [i.number for i in listed] == [1, 2] and len(listed[0].problems) == 4


def test_nothing_kept_is_an_error_that_says_what_to_do():
    with pytest.raises(sx.NothingKept, match="Try easier problems"):
        train(reply=hopeless)
