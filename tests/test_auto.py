"""``auto`` in a recipe: as the device does best, chosen once, when a run is created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RecipeError, RunError
from star_mlx.events import Notice
from star_mlx.recipe.loading import load
from star_mlx.run import loop
from star_mlx.settings import Generate, Recipe
from tests import gpu_branch, tiny_random

AUTO = ("generate.batch_size=auto", "generate.chunk=auto")
SMALL = ("task.options.train=60", "star.iterations=1", "star.problems=6", "evaluate.dev=2")


def recipe(*overrides: str) -> Recipe:
    return load("arithmetic", overrides=[*SMALL, *overrides])


class Sized(ScriptedEngine):
    """An engine whose device has sizes of its own, as ``MlxEngine`` has."""

    def __init__(self, rows: int, chunk: int) -> None:
        super().__init__(lambda asked: asked.prompt.split("Target: ")[-1])
        self.best = rows, chunk

    def sized(self, recipe: Recipe, *, prefix: str, prompt: str) -> Recipe:
        assert prefix.startswith("Input:") and prompt.endswith("Target:\n")
        return recipe.model_copy(update={"generate": recipe.generate.sized(*self.best)})


def recorded(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return made


def run(folder: Path, *overrides: str, engine: Any) -> tuple[dict[str, Any], list[str]]:
    """The recipe that the run recorded, and what it said."""
    events: list[Any] = []
    loop.run(recipe(*overrides), folder, events.append, engine=engine)
    made = recorded(folder)["generate"]
    return made, [e.text for e in events if isinstance(e, Notice) and "auto" in e.text]


def test_it_is_chosen_once_and_goes_on_so_on_another_machine(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    made, said = run(folder, *AUTO, engine=Sized(7, 3))
    assert (made["batch_size"], made["chunk"]) == (7, 3)
    assert said == ["auto is generate.batch_size=7 and generate.chunk=3 on this device"]
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line).get("kind") for line in lines]
    assert kinds.count("direct") == 2  # chunks, of 6 problems
    again, said = run(folder, *AUTO, "star.iterations=1", engine=Sized(100, 100))
    assert again == made and said == []
    loop.run(recipe(AUTO[0], "generate.chunk=3"), folder, lambda event: None, engine=Sized(1, 1))
    with pytest.raises(RunError, match=r"generate\.chunk 3 -> 4"):
        run(folder, AUTO[0], "generate.chunk=4", engine=Sized(7, 3))


def test_a_run_records_that_it_was_left_to_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            main([*command])
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return [line for line in out.splitlines() if "auto" in line]

    runs = {"both": AUTO, "one": AUTO[1:], "none": ()}
    for name, options in runs.items():
        run(tmp_path / name, *options, engine=Sized(7, 3))
        keys = [option.partition("=")[0] for option in options]
        assert recorded(tmp_path / name)["provenance"].get("auto", []) == keys
    both = "auto was generate.batch_size=7 and generate.chunk=3 when the run was created"
    assert said("show", str(tmp_path / "both")) == [both]
    assert said("show", str(tmp_path / "one")) == [
        "auto was generate.chunk=3 when the run was created"
    ]
    assert said("show", str(tmp_path / "none")) == []
    shown = json.dumps({"auto": list(map(lambda o: o.partition("=")[0], AUTO))})[1:-1]
    assert shown in said("show", "--json", str(tmp_path / "both"))[0]


def test_long_rows_and_little_memory_make_both_smaller() -> None:
    from star_mlx.engine import auto
    from star_mlx.engine.needs import Needs

    def sizes(fit: int, row: int, *given: str) -> tuple[int, int]:
        needs = Needs(0, 0, 0, None, (64, fit), (1, 1), 1, False, row=row)
        made = auto.sized(recipe(*(given or AUTO)), 896, needs).generate
        return made.at_once, made.per_chunk

    with gpu_branch.taken():
        assert sizes(64, 300) == sizes(64, 512) == (64, 256)
        assert sizes(64, 1024) == (64, 128)  # a chunk takes as long as one of usual rows
        assert sizes(64, 9999) == (64, 64)  # but has as many completions as there are slots
        assert sizes(63, 300) == sizes(32, 300) == (32, 128)
        assert sizes(1, 9999) == (1, 1)
        assert sizes(0, 300) == (64, 256)  # nothing fits: the run says so, and why
        assert sizes(32, 1024, "generate.batch_size=64", AUTO[1]) == (64, 128)
        samples = ("generate.samples=4", "generate.temperature=0.7")
        assert sizes(64, 1024, *AUTO, *samples) == (64, 32)
    assert sizes(64, 300) == (32, 64) and sizes(64, 2048) == (32, 32)  # on a CPU


@pytest.mark.slow
def test_an_engine_and_its_files_choose_by_the_prompts_and_the_memory(tmp_path: Path) -> None:
    from star_mlx.engine import auto, open_engine, resolve

    folder = tiny_random.write(tmp_path / "base")
    long = recipe(*AUTO, "generate.max_tokens=2000")
    with gpu_branch.taken():
        for limit, best in (("none", (64, 64)), (0.06, (32, 32))):
            engine = open_engine(str(folder), max_memory=limit)
            engine._held = lambda of=engine._weights: of  # else what other tests left counts too
            bounded = long.model_copy(update={"max_memory": limit})
            for made in (
                engine.sized(bounded, prefix="a" * 20, prompt="b" * 20),
                auto.sized_for(bounded, resolve.find(str(folder)), (20, 20)),
            ):
                assert (made.generate.at_once, made.generate.per_chunk) == best


def test_an_engine_that_does_not_say_gets_the_defaults(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda asked: asked.prompt.split("Target: ")[-1])
    made, _ = run(tmp_path / "run", *AUTO, engine=engine)
    assert (made["batch_size"], made["chunk"]) == (32, 256)
    assert (Generate().batch_size, Generate().chunk) == (32, 256)


def test_the_sizes_are_those_of_the_device_and_the_model() -> None:
    from star_mlx.engine import auto

    def sizes(hidden: int, *more: str) -> tuple[int, int]:
        made = auto.sized(recipe(*AUTO, *more), hidden).generate
        return made.at_once, made.per_chunk

    assert sizes(896) == (32, 64) and sizes(128) == (256, 256)  # on a CPU
    with gpu_branch.taken():
        assert sizes(896) == sizes(128) == (64, 256)
        eight = ("generate.samples=8", "generate.temperature=0.7")
        assert sizes(896, *eight) == (64, 32)  # a chunk of problems has all their samples
        assert auto.sized_for(recipe(*AUTO), None).generate.per_chunk == 256
    plain = recipe("generate.batch_size=9")
    assert auto.sized(plain, 896) is plain


@pytest.mark.parametrize("value", ["0", "lots", "2.5", "true", "null"])
def test_other_sizes_are_refused_in_one_line(value: str) -> None:
    with pytest.raises(RecipeError, match=r"generate\.chunk should be .* or '?auto") as caught:
        recipe(f"generate.chunk={value}")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_dry_run_says_what_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for one in (*SMALL, *AUTO) for word in ("--set", one)]
    with pytest.raises(SystemExit) as ended:
        main(["loop", "--task", "arithmetic", "--dry-run", *options])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    assert "# auto is generate.batch_size=256 and generate.chunk=256 on this device\n" in out
    assert yaml.safe_load(out)["generate"]["chunk"] == 256


@pytest.mark.slow
def test_a_dry_run_of_a_run_says_what_was_chosen_when_it_was_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("model.path=nobody/absent", "model.revision=none")
    run(tmp_path / "run", *AUTO, *given, engine=Sized(7, 3))
    options = [word for one in (*SMALL, *AUTO, *given) for word in ("--set", one)]
    where = ["--recipe", "arithmetic", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main(["loop", *where, "--dry-run", *options])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    assert "# auto was generate.batch_size=7 and generate.chunk=3 when the run was" in out
