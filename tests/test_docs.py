"""What the documentation says is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from star_mlx.recipe.loading import load, shipped

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_page_of_commands_is_what_they_print():
    page = runpy.run_path(str(ROOT / "scripts/cli_docs.py"))["page"]()
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == page


def test_links_inside_the_repository_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_loads(name):
    assert load(name).task.name


def test_the_pages_name_no_machine():
    for page in PAGES:
        assert not re.search(r"/(home|root|work|Users)/", page.read_text(encoding="utf-8")), page
