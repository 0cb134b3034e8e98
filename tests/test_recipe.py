"""Recipes: what is read, what is refused and in which words, and that all shipped ones load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from star_mlx import settings, tasks
from star_mlx.cli import main
from star_mlx.data import yaml_text
from star_mlx.errors import RecipeError, TaskError
from star_mlx.recipe import layers
from star_mlx.recipe.loading import differences, from_resolved, load, resolved, shipped
from star_mlx.recipe.shipped import prompts_dir, recipes_dir
from star_mlx.star import amount


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


# --------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_loads_with_a_task_that_takes_its_options(name):
    recipe = load(name)
    tasks.make(recipe.task.name, recipe.task.options)
    assert from_resolved(resolved(recipe)) == recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_can_be_dry_run(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["loop", "--recipe", name, "--dry-run", "--json"])
    assert not ended.value.code
    shown = json.loads(capsys.readouterr().out)
    recipe = load(name)
    assert len(shown["schedule"]) == recipe.star.iterations
    assert shown["recipe"]["task"]["options"].keys() >= recipe.task.options.keys()


def test_the_recipes_that_there_should_be():
    papers = {f"paper-{task}" for task in ("arithmetic", "gsm8k", "commonsenseqa")}
    tasks_alone = {"arithmetic", "arithmetic-lm", "gsm8k", "math", "commonsenseqa"}
    others = {"gsm8k-rejection-sampling", "laptop-16gb", "metamath-sft", "paper-metamath"}
    assert set(shipped()) >= papers | tasks_alone | others
    for name in papers:
        paper, train = load(name).star, load(name).train
        assert (paper.schedule.kind, paper.schedule.factor) == ("exponential", 1.2)
        assert paper.problems == 10_000
        assert paper.schedule.start == (300 if name == "paper-arithmetic" else 40)
        assert (train.batch_size, train.warmup, train.grad_clip) == (80, 100, 1.0)


def test_prompts_and_recipes_are_found():
    assert "arithmetic" in shipped() and prompts_dir().is_dir() and recipes_dir().is_dir()


def test_a_task_brings_the_shipped_recipe_of_its_name():
    assert load(task="arithmetic") == load("arithmetic")


def test_a_task_without_a_recipe_of_its_name_has_the_defaults():
    recipe = load(task="mine")
    assert recipe == settings.Recipe(task=settings.TaskSpec(name="mine"))


def test_the_defaults_are_the_references():
    options = load(task="mine").star
    assert (options.iterations, options.problems) == (64, 10_000)
    assert [amount(options.schedule, n).steps for n in (1, 2, 3)] == [40, 48, 58]


def test_every_setting_says_what_it_is_for():
    from star_mlx.recipe.layers import keys

    assert all(info.description for _, info in keys(settings.Recipe))


# --------------------------------------------------------------------------- layers


def test_short_forms(write):
    recipe = load(write("task: arithmetic\nmodel: org/name@main\n"))
    assert recipe.task == settings.TaskSpec(name="arithmetic")
    assert recipe.model == settings.ModelSpec(path="org/name", revision="main")
    assert load(task="arithmetic", model="./a/b").model.path == "./a/b"


def test_options_go_over_the_file_and_overrides_over_both(write):
    path = write("task: arithmetic\nseed: 1\nstar: {rationalize: true, iterations: 9}\n")
    recipe = load(path, seed=2, rationalize=False, overrides=["seed=3", "star.iterations=4"])
    assert (recipe.seed, recipe.star.rationalize, recipe.star.iterations) == (3, False, 4)


def test_another_task_or_model_drops_the_options_of_the_first(write):
    path = write("task: {name: a, options: {x: 1}}\nmodel: {path: m, revision: r}\n")
    assert load(path, task="b").task.options == {}
    assert load(path, task="a").task.options == {"x": 1}
    assert load(path, model="other").model == settings.ModelSpec(path="other")


def test_a_recipe_extends_another(write):
    write("extends: arithmetic\nseed: 5\nstar: {iterations: 7}\n", "base.yaml")
    recipe = load(write("extends: base.yaml\nstar: {problems: 11}\n"))
    plain = load("arithmetic")
    assert (recipe.seed, recipe.star.iterations, recipe.star.problems) == (5, 7, 11)
    assert recipe.train == plain.train and recipe.task == plain.task


def test_extending_in_a_circle_is_refused(write):
    write("extends: mine.yaml\n", "other.yaml")
    mine = write("extends: other.yaml\n")
    other = Path(mine).with_name("other.yaml")
    assert said_of(mine) == (
        f"{mine} extends itself ({mine} -> {other} -> {mine}): remove one of the extends"
    )


def test_a_prompt_file_is_found_beside_its_recipe(write, tmp_path):
    recipe = load(write("task: arithmetic\nprompts: {file: shots.yaml}\n"))
    assert recipe.prompts.file == str(tmp_path / "shots.yaml")


def test_the_paths_of_a_tasks_options_are_beside_their_recipe_and_no_other_option_is(
    write, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    options = "{data: rows, path: ../a.jsonl, test: ~/t.jsonl, name: rows, dev: 5}"
    recipe = load(write(f"task: {{name: mine, options: {options}}}\nprompts: {{k: 3}}\n"))
    assert recipe.task.options == {
        "data": str(tmp_path / "rows"),
        "path": str(tmp_path / "../a.jsonl"),
        "test": str(tmp_path / "home/t.jsonl"),
        "name": "rows",
        "dev": 5,
    }
    assert recipe.prompts.file is None and recipe.prompts.k == 3


def test_a_group_of_settings_in_python_gives_what_was_set_in_it_as_plain_data():
    train = settings.Train(rank=8, keys=("q", "k"))
    layer = layers.assigned("train", train, settings.Recipe)
    assert layer.values == {"train": {"rank": 8, "keys": ["q", "k"]}}
    assert layers.assigned("rank", 8, settings.Recipe).values == {"train": {"rank": 8}}
    assert layers.assigned("star.schedule.start", 3, settings.Recipe) == layers.Layer(
        "star.schedule.start=3", {"star": {"schedule": {"start": 3}}}
    )
    assert layers.assigned("seed", 3, settings.Recipe).values == {"seed": 3}


def test_a_value_is_shown_as_yaml_has_it_in_one_line():
    words = [f"word {n} \u00fc" for n in range(60)]
    assert layers.shown(words) == f"[{', '.join(words)}]"
    assert layers.shown({"a": [1, None], "b": {}}) == "{a: [1, null], b: {}}"
    assert [layers.shown(v) for v in (3, "x", "3", None, True, 0.5)] == [
        "3", "x", "'3'", "null", "true", "0.5",
    ]  # fmt: skip


def test_the_place_of_a_key_is_its_line_or_that_of_the_group_around_it():
    layer = layers.Layer("file", {}, {("a",): 2, ("a", "b"): 3})
    places = [layer.place(key) for key in (("a", "b", "c"), ("a", "c"), ("c",), ())]
    assert places == ["file, line 3", "file, line 2", "file", "file"]


def test_5e_4_is_a_number_as_people_write_it(write):
    assert load(write("task: a\ntrain: {learning_rate: 5e-4}")).train.learning_rate == 0.0005
    assert load(task="a", overrides=["train.learning_rate=1E-5"]).train.learning_rate == 1e-5
    options = load(task="a", overrides=["task.options={a: 1_0.5e+1, b: -2e3, c: e5, d: 5e}"])
    assert options.task.options == {"a": 105.0, "b": -2000.0, "c": "e5", "d": "5e"}


def test_keys_that_yaml_has_for_booleans_are_text(write):
    read = "{kind: yes-no, yes: [ja], no: [nein]}"
    options = f"{{path: d, read: {read}}}"
    path = write(f"task: {{name: jsonl, options: {options}}}\nstar: {{rationalize: no}}")
    made = load(path)
    assert made.task.options["read"] == {"kind": "yes-no", "yes": ["ja"], "no": ["nein"]}
    assert made.star.rationalize is False


def test_resolved_has_every_value_and_survives_yaml():
    recipe = load("arithmetic", overrides=["train.keys=[q]"])
    again = yaml.safe_load(yaml.safe_dump(resolved(recipe)))
    assert again == resolved(recipe) and from_resolved(again) == recipe
    assert again["star"]["schedule"]["add"] == 20 and again["train"]["keys"] == ["q"]


def test_differences_name_key_and_both_values():
    a = resolved(load("arithmetic"))
    b = resolved(
        load("arithmetic", overrides=["star.iterations=9", "train.keys=[q]", "task.options.x=1"])
    )
    assert differences(a, a) == []
    assert differences(a, b) == [
        f"star.iterations {a['star']['iterations']} -> 9",
        "train.keys null -> [q]",
        "task.options.x (not set) -> 1",
    ]


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("star.iteration=3", "unknown key star.iteration: did you mean star.iterations?"),
        ("iterations=3", "unknown key iterations: did you mean star.iterations?"),
        ("trian.rank=3", "unknown key trian: did you mean train?"),
        ("zzz=3", "unknown key zzz: there are: task, model,"),
        ("star.iterations=0", "star.iterations should be at least 1, but is 0"),
        ("star.iterations=many", "star.iterations should be a whole number, but is many"),
        ("star.iterations=2.5", "star.iterations should be a whole number, but is 2.5"),
        ("star.iterations=true", "star.iterations should be a whole number, but is true"),
        ("star.iterations=", "star.iterations should be a whole number, but is null"),
        ("star.rationalize=1", "star.rationalize should be true or false, but is 1"),
        ("star.p_rationalization=1.5", "should be at most 1, but is 1.5"),
        ("star=3", "star should be a group of keys: iterations, problems,"),
        ("seed=-1", "seed should be at least 0, but is -1"),
        ("train.decay=square", "should be none, linear or cosine, but is square"),
        ("train.learning_rate=.inf", "train.learning_rate should be a finite number"),
        ("train.learning_rate=.nan", "train.learning_rate should be a finite number"),
        ("train.layers=0", "train: layers 0 adapts nothing"),
        ("train.keys=q", "train.keys should be a list, such as [a, b], but is q"),
        ("train.keys=[]", "train: keys [] adapts nothing"),
        ("train.keys=[1]", "train.keys.0 should be text, but is 1"),
        ("train.keys=[q, [k]]", "train.keys.1 should be text, but is [k]"),
        ("star.start_iteration=100", "star: start_iteration 100 is after the last one"),
        ("star.start_from=runs/x", "star: start_from takes over iterations before"),
        ("star={patience: 2, evaluate: false}", "star: patience needs dev accuracies"),
        ("seed", "--set seed: write KEY=VALUE"),
        ("star..x=1", "write KEY=VALUE"),
        ("seed=[", "this is no valid YAML"),
        ("seed=2024-13-45", "seed should be a whole number, but is '2024-13-45'"),
        ("extends=x", "unknown key extends"),
    ],
)
def test_an_override_that_cannot_be_is_one_line_naming_it(override, message):
    with pytest.raises(RecipeError) as caught:
        load("arithmetic", overrides=[override])
    text = str(caught.value)
    assert text.startswith(f"--set {override}") and message in text and "\n" not in text


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("task: a\nstar:\n  iterashuns: 3\n", 3, "unknown key star.iterashuns: did you mean"),
        ("task: a\nstar:\n  schedule: {factor: -1}\n", 3, "star.schedule.factor should be more"),
        ("task: a\n\nseed: x\n", 3, "seed should be a whole number, but is x"),
        ("task: a\nseed: 1\nseed: 2\n", 3, "seed is given twice, first in line 2"),
        ("task: a\nstar: [\n", 3, "this is no valid YAML"),
        ("task: a\n\tseed: 1\n", 2, "this is no valid YAML"),
        ("task: a\nextends: 3\n", 2, "extends should be a recipe's name or file"),
        ("task: 3\n", 1, "task should be a group of keys: name, options"),
        ("task: {options: {}}\n", 1, "task.name is missing"),
    ],
)
def test_a_wrong_file_is_one_line_with_file_and_line(write, text, line, message):
    path = write(text)
    with pytest.raises(RecipeError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}, line {line}: ") and message in said and "\n" not in said


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(write, text):
    path = write(text)
    assert said_of(path) == (f"{path}: a recipe is a mapping of keys to values, such as `seed: 1`")


def said_of(name=None, **more):
    """What is said of a recipe that cannot be."""
    with pytest.raises(RecipeError) as caught:
        load(name, **more)
    return str(caught.value)


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"task: \xe9\n")
    latin = str(tmp_path / "latin.yaml")
    assert said_of(latin) == f"{latin} cannot be read: it is not UTF-8 text"
    assert said_of("arithmetik") == (
        "no recipe 'arithmetik': there is no file arithmetik, and of the shipped recipes did you "
        "mean arithmetic?"
    )
    there_are = f"of the shipped recipes there are: {', '.join(shipped())}"
    assert said_of(str(tmp_path)) == (
        f"no recipe {str(tmp_path)!r}: {tmp_path} is a folder, and {there_are}"
    )
    with pytest.raises(RecipeError) as caught:
        layers.read("zzz", tmp_path / "none")
    assert str(caught.value) == (
        "no recipe 'zzz': there is no file zzz, and of the shipped recipes there are: none"
    )
    assert said_of("./arithmetic").startswith("no recipe './arithmetic': there is no file arith")
    assert said_of() == (
        "no task: give --task NAME or --recipe FILE (star-mlx tasks lists the tasks)"
    )


def test_a_file_goes_before_a_shipped_recipe_of_its_name(write, tmp_path, monkeypatch):
    write("task: mine\n", "arithmetic")
    assert load(write("extends: arithmetic\nseed: 3\n")).task.name == "mine"
    monkeypatch.chdir(tmp_path)
    assert load("arithmetic").task.name == "mine"
    monkeypatch.setattr(yaml_text, "text_of", lambda path: (tmp_path / "none").read_text())
    here = Path("arithmetic")
    assert said_of("arithmetic") == f"{here} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("override", "words", "about"),
    [
        ("seed", "write KEY=VALUE as one word, such as --set star.iterations=3", None),
        ("=3", "write KEY=VALUE as one word, such as --set star.iterations=3", None),
        ("star.iterations=many", "star.iterations should be a whole number, but is many",
         settings.Star.model_fields["iterations"]),
        ("train.keys=[1]", "train.keys.0 should be text, but is 1",
         settings.Train.model_fields["keys"]),
        ("star.rationalize=[ü]", "star.rationalize should be true or false, but is [ü]",
         settings.Star.model_fields["rationalize"]),
        ("train.learning_rate=.inf", "train.learning_rate should be a finite number, but is .inf",
         settings.Train.model_fields["learning_rate"]),
        ("star=3", f"star should be a group of keys: {', '.join(settings.Star.model_fields)}",
         None),
        ("zzz=3", f"unknown key zzz: there are: {', '.join(settings.Recipe.model_fields)}", None),
        ("star.zzz=3", f"unknown key star.zzz: there are: {', '.join(settings.Star.model_fields)}",
         None),
        ("star.schedule.zzz=3", "unknown key star.schedule.zzz: there are: "
         + ", ".join(settings.Schedule.model_fields), None),
        ("star.rank=3", "unknown key star.rank: did you mean train.rank?", None),
        ("train.rnk=3", "unknown key train.rnk: did you mean train.rank?", None),
        ("star.rnk=3", "unknown key star.rnk: did you mean train.rank?", None),
        ("seed=!!timestamp 2024-13-45", "this is no valid YAML: month must be in 1..12", None),
        ("train.keys=q", "train.keys should be a list, such as [a, b], but is q",
         settings.Train.model_fields["keys"]),
        ("star.problems=all", "star.problems should be a whole number, but is all",
         settings.Star.model_fields["problems"]),
        ("train.dropout=1", "train.dropout should be less than 1, but is 1",
         settings.Train.model_fields["dropout"]),
        ("train.scale=0", "train.scale should be more than 0, but is 0",
         settings.Train.model_fields["scale"]),
        ("task.name=''", "task.name should not be empty, but is ''",
         settings.TaskSpec.model_fields["name"]),
        ("task.options=3", "task.options should be a group of keys, but is 3",
         settings.TaskSpec.model_fields["options"]),
        ("seed=9999999999999999999", "seed should be less than 9223372036854775808, but is "
         "9999999999999999999", settings.Recipe.model_fields["seed"]),
        ("star.digits=[1, 2]", "unknown key star.digits: did you mean task.options.digits?", None),
        ("digit=[1, 2]", "unknown key digit: did you mean task.options.digits?", None),
        ("seed={a: 1, a: 2}", "this is no valid YAML: a is given twice, first in line 1", None),
        ("seed=a: b: c", "this is no valid YAML: mapping values are not allowed here", None),
    ],
)  # fmt: skip
def test_all_that_is_said_of_an_override_that_cannot_be(override, words, about):
    more = f" ({about.description})" if about else ""
    assert said_of("arithmetic", overrides=[override]) == f"--set {override}: {words}{more}"


def test_a_mistake_is_laid_to_the_last_layer_that_gives_the_value(write):
    path = write("task: a\nseed: -1\nstar: {iterations: 2}\n")
    line = f"{path}, line 2: seed should be"
    assert said_of(path, overrides=["star.iterations=3"]).startswith(line)
    assert said_of(path, overrides=["seed=-2"]).startswith("--set seed=-2: seed should be")
    both = ["star.iterations=3", "star.iterations=0", "star.problems=5"]
    said = said_of("arithmetic", overrides=both)
    assert said.startswith("--set star.iterations=0: star.iterations should be at least 1")


def test_an_inherited_mistake_names_the_file_it_is_in(write, tmp_path):
    write("task: a\nseed: -1\n", "base.yaml")
    with pytest.raises(RecipeError, match=r"base\.yaml, line 2: seed should be"):
        load(write("extends: base.yaml\nstar: {iterations: 2}\n"))


FILE = {"path": "x.jsonl", "fields": {"question": "q", "answer": "a"}}


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("arithmetic", {"digits": 5}, "digits should be a list, such as [1, 5], but is 5"),
        ("arithmetic", {"digits": "15"}, 'digits should be a list, such as [1, 5], but is "15"'),
        ("arithmetic", {"digits": None}, "digits should be a list, such as [1, 5], but is null"),
        ("arithmetic", {"digits": [5]}, "digits should have at least 2 entries, but is [5]"),
        ("arithmetic", {"digits": [1, 2, 3]}, "digits should have at most 2 entries, but is [1, "),
        ("arithmetic", {"digits": ["a", 2]}, 'digits.0 should be a whole number, but is "a"'),
        ("arithmetic", {"train": 1.5}, "train should be a whole number, but is 1.5"),
        ("arithmetic", {"mastered": 2}, "mastered should be at most 1, but is 2"),
        ("arithmetic", {"mastered": 0}, "mastered should be more than 0, but is 0"),
        ("arithmetic", {"digit": 2}, "digit is not an option: did you mean digits? the options of"),
        ("gsm8k", {"on_bad_row": "ask"}, 'on_bad_row should be fail or skip, but is "ask"'),
        ("jsonl", {**FILE, "test": 1.5}, "test should be a whole number or text, but is 1.5"),
        ("jsonl", {**FILE, "stop": "x"}, r'stop should be a list, such as ["\nQ:"], but is "x"'),
        ("jsonl", {**FILE, "read": "x"}, 'read should be a group of keys, but is "x"'),
        ("jsonl", {"path": "x", "fields": {"question": "q"}}, "fields.answer is missing"),
        (
            "jsonl",
            {"path": "x", "fields": {"question": "q", "answer": "a", "choices": 3}},
            "fields.choices should be text or a list, such as [a, b], but is 3",
        ),
        (
            "jsonl",
            {"path": "x", "fields": {"question": "q", "answer": "a", "choices": ["b"]}},
            'fields.choices should be text or have at least 2 entries, but is ["b"]',
        ),
        (
            "jsonl",
            {"path": "x", "fields": {"question": "q", "answer": "a", "clas": "c"}},
            "fields.clas is not an option: did you mean class? there are question, answer,",
        ),
    ],
)
def test_an_option_of_a_task_that_cannot_be_is_said_plainly(task, options, words):
    with pytest.raises(TaskError) as caught:
        tasks.make(task, options)
    text = str(caught.value)
    assert text.startswith(f"task.options.{words}") and "\n" not in text
