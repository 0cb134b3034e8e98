"""``star-mlx init-task``: what it guesses, what it writes, and when it writes nothing."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from star_mlx import prompts
from star_mlx.cli import cli
from star_mlx.errors import PromptError, TaskError
from star_mlx.init_task import init_task
from star_mlx.init_task.guess import guess
from star_mlx.recipe import loading
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from tests.data_files import data_file


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def many(row, n=20):
    return [{k: v.format(i) if isinstance(v, str) else v for k, v in row.items()} for i in range(n)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sums(n):
    return [{"question": f"{i}+1?", "answer": i + 1} for i in range(n)]


# --------------------------------------------------------------------------- guesses


@pytest.mark.parametrize(
    ("row", "fields", "kind"),
    [
        ({"Question": "q{}", "Answer": "{}"}, {"question": "Question", "answer": "Answer"},
         "last-number"),
        ({"problem": "q{}", "solution": "so\n#### {}"},
         {"question": "problem", "answer": "solution", "rationale": "solution"}, "last-number"),
        ({"problem": "q{}", "solution": "so \\boxed{{x^{}}}"},
         {"question": "problem", "answer": "solution", "rationale": "solution"}, "math"),
        ({"prompt": "q{}", "target": "x^{{{}}}"},
         {"question": "prompt", "answer": "target"}, "math"),
        ({"input": "q{}", "output": "a city {}"}, {"question": "input", "answer": "output"},
         "marker"),
        ({"question": "q{}", "answer": True}, {"question": "question", "answer": "answer"},
         "yes-no"),
        ({"question": "q{}", "options": ["x", "y"], "answer_idx": "B", "answer": "y"},
         {"question": "question", "choices": "options", "answer": "answer"}, "choice"),
        ({"question": "q{}", "A": "x", "B": "y", "C": "z", "answer": "C"},
         {"question": "question", "choices": ["A", "B", "C"], "answer": "answer"}, "choice"),
        ({"question": "q{}", "opa": "x", "opb": "y", "label": "x"},
         {"question": "question", "choices": ["opa", "opb"], "answer": "label"}, "choice"),
        ({"query": "q{}", "gold": "{}", "uid": "u{}", "explanation": "because of {} " + "x" * 20},
         {"question": "query", "answer": "gold", "id": "uid", "rationale": "explanation"},
         "last-number"),
    ],
)  # fmt: skip
def test_guesses(row, fields, kind):
    found = guess(many(row))
    assert (dict(found.fields), found.read["kind"]) == (fields, kind)
    assert set(found.why) == set(fields)


def test_answers_that_are_positions():
    rows = [{"question": f"q{i}", "choices": ["x", "y", "z"], "answer": i % 3} for i in range(9)]
    assert guess(rows).read == {"kind": "choice", "count_from": 0}
    rows = [{**row, "answer": row["answer"] + 1} for row in rows]
    assert guess(rows).read == {"kind": "choice", "count_from": 1}


def test_nested_fields_and_a_class():
    rows = [{"item": {"question": f"q{i}", "answer": i}, "topic": "xy"[i % 2]} for i in range(9)]
    found = guess(rows)
    assert found.fields == {
        "question": "item.question", "answer": "item.answer", "class": "topic",
    }  # fmt: skip
    assert found.why["answer"] == "all 9: it looks like a number"


@pytest.mark.parametrize(
    ("row", "options", "wrong"),
    [
        ({"a": "q{}", "b": "1"}, {}, "no field looks like a question: the fields are 'a', 'b'"),
        ({"question": "q{}", "b": "1"}, {}, "no field looks like an answer"),
        ({"question": "q{}", "answer": "long " * 40}, {}, "no field looks like an answer"),
        ({"question": "q{}", "x": "long " * 40}, {"answer": "x"}, "cannot be graded"),
        ({"question": "q{}", "x": "1"}, {"answer": "y"}, "no row has a field 'y'"),
    ],
)
def test_an_impossible_guess_names_the_fields_and_the_options(row, options, wrong):
    with pytest.raises(TaskError) as error:
        guess(many(row), **options)
    assert wrong in str(error.value)
    if "graded:" not in wrong and "cannot" not in wrong:
        assert "--question FIELD, --answer FIELD" in str(error.value)


def test_columns_that_only_look_like_choices_are_none():
    found = guess(many({"question": "q{}", "a": "x{}", "b": "y{}", "answer": "{}"}))
    assert found.fields == {"question": "question", "answer": "answer"}


def test_fields_that_are_given_are_taken():
    found = guess(many({"a": "q{}", "b": "1"}), question="a", answer="b")
    assert found.fields == {"question": "a", "answer": "b"} and found.why["question"] == "as given"


# --------------------------------------------------------------------------- what is written


def loaded(path):
    made = loading.load(str(path))
    return made, Jsonl(JsonlOptions(**made.task.options))


def test_with_rationales_the_recipe_runs_as_it_is(tmp_path):
    rows = [
        {"question": f"{i}+1?", "answer": i + 1, "rationale": f"{i} and 1 more make {i + 1}."}
        for i in range(30)
    ]
    made = init_task(write(tmp_path / "d.jsonl", rows), tmp_path / "task.yaml", model="tiny")
    assert made.prompts is None and made.problems == 30
    settings, task = loaded("task.yaml")
    assert (settings.model.path, settings.prompts.k) == ("tiny", 3)
    assert [len(task.problems(s)) for s in ("train", "dev", "test")] == [20, 4, 6]
    assert len(prompts.drawn(task, 3, 0).examples) == 3


def test_without_rationales_there_is_a_file_to_fill_in_first(tmp_path):
    rows = [
        {"q": f"line\n{i}: 'a' #b\u2028?", "options": ["x: y", "- z"], "label": "A"}
        for i in range(9)
    ]
    out = tmp_path / "sub" / "task.yaml"
    made = init_task(write(tmp_path / "d.jsonl", rows), out, question="q")
    settings, task = loaded(out)
    assert settings.task.options["path"].endswith("sub/../d.jsonl")
    with pytest.raises(PromptError, match="example 1 lacks its rationale"):
        prompts.load(made.prompts, task)
    text = made.prompts.read_text(encoding="utf-8")
    made.prompts.write_text(text.replace("rationale:\n", "rationale: I see.\n"), encoding="utf-8")
    examples = prompts.load(made.prompts, task).examples
    train = {p.question for p in task.problems("train")}
    assert len(examples) == 3 and {e.question for e in examples} <= train


def test_rows_that_cannot_be_used_are_said_and_skipped(tmp_path):
    rows = [
        *({"question": f"q{i}", "answer": i} for i in range(30)),
        {"question": "x", "answer": "?"},
    ]
    made = init_task(write(tmp_path / "d.jsonl", rows), tmp_path / "task.yaml")
    assert made.skipped == (f"{tmp_path}/d.jsonl, line 31: the answer '?' is no number",)
    assert "# 1 row cannot be used" in made.recipe.read_text()
    assert loaded(made.recipe)[1].options.on_bad_row == "skip"


def test_hostile_names_stay_inside_their_comments_and_strings(tmp_path):
    evil = "answer\nseed: 7\u2028seed: 8 # \x1b[2J"
    rows = [{"question": f"q{i}", evil: i, "topic": ["a\nmodel: x", "b"][i % 2]} for i in range(20)]
    data = write(tmp_path / "d\nseed: 9\n.jsonl", rows)
    made = init_task(data, tmp_path / "task.yaml", answer=evil)
    values = yaml.safe_load(made.recipe.read_text(encoding="utf-8"))
    assert set(values) == {"task", "model", "prompts", "star", "generate", "train"}
    assert values["task"]["options"]["fields"]["answer"] == evil
    assert "\x1b" not in made.recipe.read_text()


def test_nothing_is_written_over_without_force_nor_where_the_guess_fails(tmp_path):
    good = write(tmp_path / "d.jsonl", many({"question": "q{}", "answer": "{}"}))
    bad = write(tmp_path / "bad.jsonl", many({"x": "y{}"}))
    out = tmp_path / "task.yaml"
    with pytest.raises(TaskError, match="no field looks like a question"):
        init_task(bad, out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(TaskError, match=r"task\.yaml exists: .* --force"):
        init_task(good, out)
    assert out.read_text() == "mine"
    init_task(good, out, force=True)
    assert "name: jsonl" in out.read_text()
    with pytest.raises(TaskError, match=r"ends in \.yaml"):
        init_task(good, tmp_path / "task.txt")


@pytest.mark.parametrize("content", ["", "nonsense\n", '{"question": "q", "answer": 1}\n'])
def test_data_too_small_or_unreadable_is_an_error(tmp_path, content):
    path = tmp_path / "d.jsonl"
    path.write_text(content)
    with pytest.raises(TaskError):
        init_task(path, tmp_path / "task.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["d.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("d.jsonl", json.dumps(sums(9), indent=1), "a list of objects over several lines is .json"),
        ("d.csv", "question,answer\n" + "What, or so?,1\n" * 9, "holds the delimiter needs quotes"),
    ],
)
def test_rows_none_of_which_can_be_read_say_how_to_mend_them(tmp_path, name, content, how):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=how):
        init_task(tmp_path / name, tmp_path / "task.yaml")


@pytest.mark.parametrize(
    ("n", "splits"),
    [(2, {"train": 1, "dev": 1}), (4, {"train": 3, "dev": 1}),
     (5, {"train": 3, "dev": 1, "test": 1}), (10, {"train": 7, "dev": 1, "test": 2})],
)  # fmt: skip
def test_a_test_split_is_cut_unless_there_are_too_few(tmp_path, n, splits):
    made = init_task(write(tmp_path / "d.jsonl", sums(n)), tmp_path / "task.yaml", model="tiny")
    assert made.splits == splits
    options = yaml.safe_load(made.recipe.read_text(encoding="utf-8"))["task"]["options"]
    assert options.get("test") == splits.get("test")
    said = "# held out of path" if "test" in splits else "here are too few to hold some out"
    assert said.lstrip("# ") in made.recipe.read_text(encoding="utf-8")


def test_the_examples_to_fill_in_have_different_answers(tmp_path):
    rows = [{"question": f"Is {i} even?", "answer": "yes" if i < 20 else "no"} for i in range(25)]
    made = init_task(write(tmp_path / "d.jsonl", rows), tmp_path / "task.yaml", model="tiny")
    shots = yaml.safe_load(made.prompts.read_text(encoding="utf-8"))
    assert len(shots) == 3 and {shot["answer"] for shot in shots} == {"yes", "no"}
    assert len({shot["question"] for shot in shots}) == 3


def test_repeated_questions_are_counted_once(tmp_path):
    rows = [*sums(20), *sums(20)]
    made = init_task(write(tmp_path / "d.jsonl", rows), tmp_path / "task.yaml", model="tiny")
    assert (made.problems, made.distinct) == (40, 20)
    done = CliRunner().invoke(cli, ["init-task", "d.jsonl", "--out", "b.yaml", "--model", "tiny"])
    assert "40 problems (20 questions are distinct)" in done.output
    assert (
        "questions repeat: if a part of them is in another field, give it with --que" in done.output
    )


def test_a_test_file_of_a_folder_is_used_if_it_has_answers(tmp_path):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d/train.jsonl", sums(20))
    write(tmp_path / "d/test.jsonl", [{"question": "99+1?", "answer": None}])
    write(tmp_path / "d/validation.jsonl", [{"question": "98+1?", "answer": 99}])
    done = CliRunner().invoke(cli, ["init-task", "d", "--model", "tiny"], catch_exceptions=False)
    assert "read: d/train.jsonl\ntest split: d/validation.jsonl\n" in done.output
    assert "note: d/test.jsonl is not used: d/test.jsonl, line 1: its answer is" in done.output
    assert len(loaded("task.yaml")[1].problems("test")) == 1


def test_a_test_file_beside_the_data_is_named(tmp_path):
    write(tmp_path / "train.jsonl", sums(20))
    write(tmp_path / "test.jsonl", sums(3))
    made = init_task(tmp_path / "train.jsonl", tmp_path / "task.yaml", model="tiny")
    assert made.notes == (
        f"{tmp_path}/test.jsonl lies beside it: to measure on it, give it as task.options.test",
    )


def test_a_system_turn_that_is_always_the_same_is_said_not_to_be_asked(tmp_path):
    def turns(i):
        said = {"system": "Be kind.", "user": f"{i}+1?", "assistant": f"{i + 1}"}
        return [{"role": role, "content": text} for role, text in said.items()]

    data = write(tmp_path / "d.jsonl", [{"messages": turns(i)} for i in range(20)])
    made = init_task(data, tmp_path / "task.yaml", model="tiny")
    assert made.unused == ("messages.system",)
    [note] = made.notes
    assert "the system turn ('Be kind.')" in note and "prompts.system with prompts.chat" in note


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["x", "y"], "the choices in 'options' are not shown to the model, since the answers are"),
        ("a ) x , b ) y", "the choices in 'options' are one text and not shown to the model: make "
         'them a part of the question with --question "{question} {options}"'),
    ],
)  # fmt: skip
def test_choices_that_cannot_be_used_are_said(tmp_path, options, said):
    rows = [{"question": f"Is {i} x or y?", "options": options, "answer": "A) x"}
            for i in range(20)]  # fmt: skip
    made = init_task(write(tmp_path / "d.jsonl", rows), tmp_path / "task.yaml", model="tiny")
    assert made.unused == ("options",) and made.notes[0].startswith(said)


def test_conversations_of_several_turns_are_refused_by_their_line(tmp_path):
    turns = [{"role": role, "content": "7"} for role in ("user", "assistant") * 2]
    data = write(tmp_path / "d.jsonl", [{"messages": turns}] * 9)
    with pytest.raises(TaskError, match=r"line 1: its messages have 2 turns of user"):
        init_task(data, tmp_path / "task.yaml")
    assert not (tmp_path / "task.yaml").exists()


def test_tokens_are_counted_only_if_the_model_is_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = write(tmp_path / "d.jsonl", sums(20))
    tiny = init_task(data, tmp_path / "a.yaml", model="tiny")
    away = init_task(data, tmp_path / "b.yaml", model="nobody/no-such-model")
    assert [one.which for one in tiny.shown] == ["shortest", "median", "longest"]
    assert all(one.tokens for one in tiny.shown) and not any(one.tokens for one in away.shown)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--delimiter", "||"], "give one sign, or tab"),
        (["--encoding", "nope"], "--encoding 'nope' is no encoding of text"),
    ],
)
def test_a_wrong_form_is_refused(tmp_path, options, wrong):
    write(tmp_path / "d.jsonl", sums(20))
    done = CliRunner().invoke(cli, ["init-task", "d.jsonl", *options])
    assert done.exit_code != 0 and wrong in done.output + str(done.exception)
    assert not (tmp_path / "task.yaml").exists()


def test_a_given_delimiter_is_in_the_recipe(tmp_path):
    text = "".join(f"{i} plus 1?~{i + 1}\n" for i in range(20))
    (tmp_path / "d.csv").write_text("question~answer\n" + text, encoding="utf-8")
    done = CliRunner().invoke(cli, ["init-task", "d.csv", "--delimiter", "~", "--model", "tiny"])
    assert done.exit_code == 0, done.output
    assert loaded("task.yaml")[1].options.delimiter == "~"


# --------------------------------------------------------------------------- the command


def test_the_command_shows_the_first_problem_harmlessly_and_the_next_command(tmp_path):
    path = tmp_path / "mine.csv"
    lines = [f'"\x1b[2J{i}+1?",{i + 1}' for i in range(9)]
    path.write_text("question,answer\n" + "\n".join(lines) + "\n", encoding="utf-8")
    done = CliRunner().invoke(cli, ["init-task", "mine.csv", "--out", "my task.yaml"])
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output and "Q: ␛[2J" in done.output
    assert "wrote my task.yaml: 9 problems" in done.output
    assert "write the rationales in it first" in done.output
    assert done.output.endswith("next: star-mlx loop --recipe 'my task.yaml' --smoke\n")


def test_choices_may_be_given_as_columns(tmp_path):
    rows = many({"ask": "q{}", "left": "x", "right": "y", "is": "y"})
    write(tmp_path / "d.jsonl", rows)
    given = ["--question", "ask", "--answer", "is", "--choices", "left,right"]
    done = CliRunner().invoke(cli, ["init-task", "d.jsonl", *given])
    assert done.exit_code == 0, done.output
    assert loaded("task.yaml")[0].task.options["fields"]["choices"] == ["left", "right"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "k"),
    [
        ("gsm8k/train.jsonl", "last-number", 3),
        ("commonsenseqa/train_rand_split.jsonl", "choice", None),
    ],
)
def test_the_official_files(tmp_path, name, kind, k):
    made = init_task(data_file(name), tmp_path / "task.yaml")
    settings, task = loaded(made.recipe)
    assert (settings.prompts.k, task.options.kind, made.skipped) == (k, kind, ())
