"""Two runs beside each other, pair by pair."""

from __future__ import annotations

import json
import shutil

import pytest

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.measure import compare
from star_mlx.recipe import opening
from star_mlx.run import loop
from star_mlx.store import reading
from tests.scripts import hopeless, learner
from tests.test_loop import recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """``all`` learns every length; ``none`` has no right answer but those given by a hint."""
    folder = tmp_path_factory.mktemp("runs")

    def answers(asked):
        return learner(asked) if asked.prompt.rstrip("\n")[-1].isdigit() else hopeless(asked)

    for name, reply in (("all", learner), ("none", answers)):
        engine = ScriptedEngine(reply)
        loop.run(recipe("star.iterations=2"), folder / name, lambda event: None, engine=engine)
    other = recipe("star.iterations=1", "task.options.train=300", "evaluate.dev=15")
    loop.run(other, folder / "other", lambda event: None, engine=ScriptedEngine(learner))
    return folder


@pytest.fixture
def star(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_pairs_are_counted_by_problem_and_by_class(runs):
    found = compare.compare(f"{runs}/none", f"{runs}/all")
    assert (found.pair.n, found.pair.better, found.pair.worse) == (20, 20, 0)
    assert found.first.number == 0 and found.second.number == 1, "the best of each"
    assert found.classes == "number of digits" and list(found.by_class) == ["1", "2", "3", "4", "5"]
    assert sum(pair.n for pair in found.by_class.values()) == 20
    assert {n: pair.better for n, pair in found.by_iteration.items()} == {0: 4, 1: 20, 2: 20}
    assert "iteration 1 is better than" in found.words() and "20 more right" in found.words()
    assert found.warnings == () and found.changed == found.only_first == found.only_second == 0
    back = compare.compare(f"{runs}/all", f"{runs}/none")
    assert (back.pair.better, back.pair.worse) == (0, 20) and back.pair.verdict == "worse"


@pytest.mark.parametrize(
    ("which", "number"), [("", 1), (":0", 0), (":2", 2), (":best", 1), (":last", 2)]
)
def test_an_iteration_is_named_behind_a_colon(runs, which, number):
    assert compare.compare(f"{runs}/all{which}", f"{runs}/none:0").first.number == number


def test_the_base_without_examples_is_a_side_too(runs):
    found = compare.compare(f"{runs}/all:zero-shot", f"{runs}/all")
    assert found.first.name.endswith("all, zero-shot") and found.pair.better == 16


def test_a_folder_with_a_colon_in_its_name_is_a_folder(runs, tmp_path):
    shutil.copytree(runs / "all", tmp_path / "a:2")
    assert compare.find(f"{tmp_path}/a:2") == (tmp_path / "a:2", "best")
    assert compare.find(f"{tmp_path}/a:2:2") == (tmp_path / "a:2", "2")
    assert compare.compare(f"{tmp_path}/a:2:last", f"{runs}/none").first.number == 2


def test_an_iteration_needs_its_verdicts_but_not_its_adapter(runs, tmp_path):
    shutil.copytree(runs / "all", tmp_path / "run")
    shutil.rmtree(tmp_path / "run/iterations/001/adapter")
    assert compare.compare(f"{tmp_path}/run:1", f"{runs}/none").pair.worse == 20
    (tmp_path / "run/iterations/001/eval.jsonl").unlink()
    with pytest.raises(RunError, match=r"eval\.jsonl is missing, but the journal"):
        compare.compare(f"{tmp_path}/run:1", f"{runs}/none")
    (tmp_path / "run/journal.jsonl").unlink()
    with pytest.raises(RunError, match=r"no dev verdicts of iteration 1: star-mlx evaluate"):
        compare.compare(f"{tmp_path}/run:1", f"{runs}/none")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("{}/all:9", "has no iteration 9: its last is 2"),
        (
            "{}/all:bset",
            "all: no iteration 'bset': give a number, best, last, few-shot or zero-shot",
        ),
        ("{}/nowhere", "nowhere is not a run folder"),
        ("{}/nowhere:2", "nowhere is not a run folder"),
    ],
)
def test_what_is_no_run_or_iteration_is_said_in_one_line(runs, star, given, wrong):
    code, out, err = star("compare", given.format(runs), runs / "none")
    assert (code, out) == (2, "") and err.count("\n") == 1
    with pytest.raises(RunError, match=wrong):
        compare.compare(given.format(runs), f"{runs}/none")


def test_runs_without_a_problem_in_common_are_refused_in_one_line(runs, tmp_path, star):
    shutil.copytree(runs / "all", tmp_path / "run")
    (tmp_path / "run/journal.jsonl").unlink()
    file = tmp_path / "run/iterations/001/eval.jsonl"
    file.write_bytes(file.read_bytes().replace(b'{"id":"', b'{"id":"x'))
    code, out, err = star("compare", tmp_path / "run", runs / "none")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "no dev problem in common (tasks: arithmetic and arithmetic)" in err


def test_other_data_is_warned_of_and_only_equal_problems_are_compared(runs, star):
    found = compare.compare(f"{runs}/all", f"{runs}/other")
    assert found.warnings and "data_sha256" in found.warnings[0]
    assert (found.pair.n, found.only_first, found.only_second) == (15, 5, 0)
    assert found.changed == 0, "the ids of sums are the sums"
    code, out, err = star("compare", runs / "all", runs / "other")
    assert code == 0 and err.startswith("warning: the data of the two runs differs")
    assert "left out: 5 problems in the first alone" in out


def test_equal_ids_that_ask_something_else_are_left_out(tmp_path):
    """Rows are numbered, so that the third row of two files has the same id."""

    def make(name, step):
        data = tmp_path / f"{name}.jsonl"
        rows = [{"q": f"{i} + {1 if i % 2 else step}?", "a": "7"} for i in range(20)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = ["task.options.fields={question: q, answer: a}", "task.options.dev=8"]
        settings += ["star.iterations=1", "prompts.k=0", "star.problems=8"]
        made = load_jsonl(data, settings)
        engine = ScriptedEngine(lambda asked: " The answer is 7.")
        loop.run(made, tmp_path / name, lambda event: None, engine=engine)
        return tmp_path / name

    def load_jsonl(data, settings):
        from star_mlx.recipe.loading import load

        return load(None, task="jsonl", data=str(data), overrides=settings)

    one, other = make("one", 1), make("two", 2)
    found = compare.compare(str(one), str(other))
    common = found.first.verdicts.keys() & found.second.verdicts.keys()
    assert 0 < found.changed < len(common) and found.pair.n == len(common) - found.changed
    assert "ask something else and are left out" in found.warnings[0]
    (tmp_path / "two.jsonl").unlink()
    [warning] = compare.compare(str(one), str(other)).warnings
    assert "cannot be seen" in warning and "two.jsonl" in warning


def test_without_the_data_there_are_no_classes_but_pairs(runs, monkeypatch):
    def gone(recipe):
        raise RunError("the data is gone")

    monkeypatch.setattr(opening, "open_task", gone)
    found = compare.compare(f"{runs}/none", f"{runs}/all")
    assert found.pair.n == 20 and found.by_class == {} and found.warnings == ()


def test_the_command_prints_counts_intervals_and_a_sentence(runs, star, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = star("compare", runs / "none", runs / "all")
    assert (code, err) == (0, "")
    assert "0.0 [0-16] of n = 20" in out and "100 [84-100] of n = 20" in out
    assert "is better than" in out and "p < 0.0001" in out and "number of" in out


@pytest.mark.parametrize(("width", "worded"), [(80, 0), (120, 3)])
def test_the_tables_fit_a_terminal_without_losing_a_number(runs, star, monkeypatch, width, worded):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = star("compare", runs / "none", runs / "all")
    rows = [line for line in out.splitlines() if str(runs) not in line]
    assert len(rows) > 20 and max(map(len, rows)) <= width and "…" not in out
    assert "\n".join(rows).count("the second is") == worded
    assert [line.split()[0] for line in rows if "0.0 [0-16] 100 [84-100]" in " ".join(line.split())]


def test_json_has_all_of_it(runs, star):
    _, out, _ = star("compare", runs / "none:0", runs / "all:1", "--json")
    found = json.loads(out)
    assert found["first"]["accuracy"] == 0.0 and found["second"]["accuracy"] == 1.0
    assert found["better"] == 20 and found["verdict"] == "better" and found["p"] < 1e-4
    assert set(found["by_iteration"]) == {"0", "1", "2"} and len(found["by_class"]) == 5
    assert found["words"].endswith("(n = 20)")


def test_a_name_steers_no_terminal(runs, tmp_path, star):
    name = tmp_path / "a\x1b[31m\u202e\nb"
    shutil.copytree(runs / "all", name)
    code, out, err = star("compare", name, runs / "none")
    assert code == 0 and not set("\x1b\u202e") & set(out + err)


def test_a_model_compared_with_itself_is_not_different(runs):
    pair = compare.compare(f"{runs}/all", f"{runs}/all").pair
    assert (pair.better, pair.worse, pair.p, pair.verdict) == (0, 0, 1.0, "not different")


def test_the_best_of_a_run_may_be_its_base(runs):
    run = reading.read(runs / "none")
    assert compare.side(run, "best").number == 0
