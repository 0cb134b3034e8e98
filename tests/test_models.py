"""Every family of models goes through a run, and docs/models.md says what holds for it."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests import families

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/models.py"))


def lines(script: dict[str, Any]) -> list[str]:
    """The lines of the page's tables."""
    page = script["PAGE"].read_text(encoding="utf-8")
    made = page.partition(script["BEGIN"])[2].partition(script["END"])[0]
    return [line for line in made.splitlines() if line]


@pytest.mark.slow
@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_goes_through_a_run_and_the_page_says_what_holds(
    name: str, tmp_path: Path, script: dict[str, Any]
) -> None:
    found = families.tried(name, tmp_path)
    for row in script["rows"](name, found):
        assert row in lines(script), "run python scripts/models.py"


def test_the_page_has_every_family_in_both_tables(script: dict[str, Any]) -> None:
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines(script)]
    assert names == ["family", "---", *families.FAMILIES] * 2
    assert list(script["CHECKPOINTS"]) == list(families.FAMILIES)


def test_the_memory_of_a_checkpoint_is_its_weights_and_more(script: dict[str, Any]) -> None:
    for name, (_, billions, _) in script["CHECKPOINTS"].items():
        small, large = (script["memory"](name, tokens) for tokens in (512, 8192))
        assert 0.56e9 * billions < small < large


@pytest.mark.slow
def test_the_thinking_of_a_model_is_bounded(tmp_path: Path) -> None:
    from star_mlx import engine as engines
    from star_mlx.recipe import asking, loading, opening
    from star_mlx.run import passes
    from star_mlx.tasks import own

    base = families.write(tmp_path / "base", families.FAMILIES["Qwen3.5"])
    more = ["generate.thinking_tokens=4", "generate.max_tokens=12", "generate.temperature=0.0"]
    with own.offered(families.Always()):
        recipe = loading.load(
            task="tests.families:Always", model=str(base), overrides=[*families.SETTINGS, *more]
        )
        engine = engines.open_base(recipe)
        _, plain = opening.open_task(recipe)
    how = asking.generating(recipe, opening.in_template(recipe, plain, engine), few_shot=True)
    how = dataclasses.replace(how, decoding=dataclasses.replace(how.decoding, stop=()))
    end = tuple(engine.encode("\n</think>\n\n"))
    made = passes.attempts(
        engine, None, how, plain.task.problems("dev"), seeds=range(6), progress=lambda *_: None
    )
    assert any(a.token_ids[4 : 4 + len(end)] == end for a in made)
    for a in made:
        assert len(a.token_ids) <= 12 + len(end)
        assert a.token_ids[4 : 4 + len(end)] == end or len(a.token_ids) < 4
