"""Every family of models goes through a run, and docs/models.md says what holds for it."""

from __future__ import annotations

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
