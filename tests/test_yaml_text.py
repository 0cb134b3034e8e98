"""YAML that people write, and YAML that is out to harm who reads it."""

from __future__ import annotations

import time

import pytest
import yaml

from star_mlx import cli, prompts
from star_mlx.data import yaml_text
from star_mlx.errors import PromptError, RecipeError, StarError
from star_mlx.recipe.loading import load

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes: 1", {"yes": 1}),
        ("null: 1", {"null": 1}),
        ("12: 1\n1.5: 2", {"12": 1, "1.5": 2}),
        ("2024-01-01: 2024-01-02", {"2024-01-01": "2024-01-02"}),
        ("12:30: 7:45", {"12:30": "7:45"}),
        ("a: [1, -2, 0x1f, 1_000, 5e-4, 1.5e3, .5]", {"a": [1, -2, 31, 1000, 5e-4, 1500, 0.5]}),
        ("a: [true, null, ~, -, 1.2.3, 1-2]", {"a": [True, None, None, "-", "1.2.3", "1-2"]}),
        ("base: &b {x: 1}\na: {<<: *b, y: 2}", {"base": {"x": 1}, "a": {"x": 1, "y": 2}}),
        ("", None),
    ],
)  # fmt: skip
def test_keys_dates_and_times_are_the_words_they_are_written_as(text, value):
    assert yaml_text.load(text)[0] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "larger than 1,000,000 characters with its aliases written out"),
        ("a: &a {b: *a}", "an alias names something that it is itself a part of"),
        ("&a [*a]", "an alias names something that it is itself a part of"),
        ("[1, 2]: 3", "a key is a word, not a list or a group"),
        ("? {a: 1}\n: 2", "a key is a word, not a list or a group"),
        ("a: 1\na: 2", "a is given twice, first in line 1"),
        ("a: !!int x", "invalid literal for int"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: !!timestamp 2024-13-45", "month must be in 1..12"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_what_is_refused(text, words):
    start = time.process_time()
    with pytest.raises(yaml.YAMLError, match=words):
        yaml_text.load(text)
    assert time.process_time() - start < 5


def test_a_file_that_nobody_wrote_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_text("a: 1\n" * 200_000)
    with pytest.raises(RecipeError, match=r"large\.yaml cannot be read: it is larger than 512 kB"):
        load(str(path))
    with pytest.raises(PromptError, match=r"large\.yaml is not YAML: it is larger than 512 kB"):
        prompts.load(path, None)


@pytest.mark.parametrize("text", [BOMB, "&a [*a]", "- {question: &q [*q]}", "- [[1]: 2]"])
def test_a_recipe_and_a_prompt_file_are_refused_in_one_line(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for read in (lambda: load(str(path)), lambda: prompts.load(path, None)):
        with pytest.raises(StarError) as caught:
            read()
        assert "bad.yaml" in str(caught.value) and len(str(caught.value)) < 300


def test_a_value_is_quoted_in_part(tmp_path):
    path = tmp_path / "long.yaml"
    for text in (f"seed: {'x' * 5000}", f"{'k' * 900}: 1", f"star: {{{'k' * 900}: 1}}"):
        path.write_text(f"task: arithmetic\n{text}\n")
        with pytest.raises(RecipeError, match="characters") as caught:
            load(str(path))
        assert len(str(caught.value)) < 700


def test_an_error_cannot_control_the_terminal(tmp_path, capsys):
    path = tmp_path / "red.yaml"
    path.write_text('task: arithmetic\n"\\e[31mred\\a\\u202e": 1\n')
    with pytest.raises(SystemExit) as caught:
        cli.main(["loop", "--recipe", str(path), "--dry-run"])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "\u241b[31mred" in said
    assert not set("\x1b\a\u202e") & set(said)


@pytest.mark.parametrize("libyaml", [True, False])
def test_own_yaml_is_read_as_pyyaml_reads_it(libyaml, monkeypatch):
    monkeypatch.setattr(yaml, "__with_libyaml__", libyaml)
    value = {"a": ["é 世 😀", "x: 1", "- y", " z ", "1.0", 1.0, None, True], "b": {"c": {}}}
    for wide in (True, False):
        text = yaml.safe_dump(value, allow_unicode=wide, sort_keys=False)
        assert yaml_text.load_own(text) == yaml.safe_load(text) == value
    for broken in ("[1", "a: b: c", "a: !!python/object/apply:os.system [id]", "\0"):
        with pytest.raises(yaml.YAMLError) as wanted:
            yaml.safe_load(broken)
        with pytest.raises(yaml.YAMLError) as found:
            yaml_text.load_own(broken)
        assert str(found.value) == str(wanted.value)
    for deep in ("- " * 100_000, "{a: " * 5000):
        with pytest.raises(RecursionError):
            yaml_text.load_own(deep)
