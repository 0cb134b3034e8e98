"""What the documentation says is so."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.errors import StarError
from star_mlx.recipe.loading import load, shipped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_page_of_commands_is_what_they_print():
    page = runpy.run_path(str(ROOT / "scripts/cli_docs.py"))["page"]()
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == page


def readme_commands():
    for block in re.findall(r"^```\n(.*?)^```", README, re.S | re.M):
        for line in block.splitlines():
            if line.startswith("star-mlx "):
                yield line.split(" #")[0].strip()


@pytest.mark.parametrize("line", sorted(set(readme_commands())))
def test_every_command_of_the_readme_is_understood(line, tmp_path, monkeypatch):
    """Loops are run dry; what needs a run or a file must fail for the lack of it alone."""
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)[1:]
    if arguments[0] == "loop" and "--run" not in arguments:
        arguments += [] if "--dry-run" in arguments else ["--dry-run"]
    if arguments[0] == "loop" and "--help" in arguments:
        arguments = ["loop", "--help"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = CliRunner().invoke(cli, arguments)
    if arguments[0] == "pull":
        assert isinstance(result.exception, StarError) and arguments[1] in str(result.exception)
    elif "runs/" in line or "pulled/" in line:
        text = str(result.exception)
        assert type(result.exception).__name__ in ("RunError", "RecipeError"), text
    elif files := [a for a in arguments if re.search(r"\.(csv|jsonl|yaml)$", a)]:
        assert isinstance(result.exception, StarError), result.output
        assert files[0] in str(result.exception)
    else:
        assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []


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
