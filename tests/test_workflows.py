"""The hosted machines run what a developer runs, on all that the package says it supports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github/workflows"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_two_commands_of_the_readme_run_everywhere():
    job = read("ci.yml")["jobs"]["test"]
    asked = set(re.findall(r"(?:^|`)(?:\w+=\w+ )?(make \w+)", README, re.M))
    assert asked == {"make demo", "make test"}
    assert [line for line in commands(job) if line.startswith("make ")] == sorted(asked)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{line.split()[1]}: " in makefile for line in asked)


def test_the_tests_that_fetch_files_are_run_too():
    assert "make test-downloads" in commands(read("ci.yml")["jobs"]["downloads"])
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "\nmake test\nmake test-downloads\n" in script
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert '-m "not download"\n' in makefile and "-m download\n" in makefile


def test_every_supported_python_is_tried():
    job = read("ci.yml")["jobs"]["test"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r"Python :: (3\.\d+)", project)
    assert job["strategy"]["matrix"]["python"] == supported and len(supported) == 4
    assert len(job["strategy"]["matrix"]["os"]) == 3


def test_the_wheel_is_tried_without_the_sources_and_then_published():
    ci, release = read("ci.yml")["jobs"], read("release.yml")["jobs"]
    assert ci["wheel"]["needs"] == "build"
    assert not any("checkout" in step.get("uses", "") for step in ci["wheel"]["steps"])
    assert release["ci"]["uses"] == "./.github/workflows/ci.yml"
    publish = release["publish"]
    assert publish["needs"] == "ci" and publish["permissions"] == {"id-token": "write"}
    assert "build" not in " ".join(commands(publish))
    [made] = [s["with"]["name"] for s in ci["build"]["steps"] if "upload" in s.get("uses", "")]
    for job in (ci["wheel"], publish):
        [taken] = [s["with"]["name"] for s in job["steps"] if "download" in s.get("uses", "")]
        assert taken == made


def test_the_commands_on_the_wheel_are_understood():
    """Those of star-mlx exist, with the options they are given."""
    from star_mlx.cli import cli

    for line in commands(read("ci.yml")["jobs"]["wheel"]):
        name, *arguments = line.split()
        if name != "star-mlx":
            continue
        command = cli.get_command(None, arguments[0])
        assert command is not None, line
        known = {option for p in command.params for option in p.opts}
        assert {word for word in arguments if word.startswith("--")} <= known, line


def test_the_workflows_are_linted_there():
    assert "actionlint" in commands(read("ci.yml")["jobs"]["workflows"])


# the first versions of GitHub's own actions that run on Node 24: its machines have no Node 20
NODE_24 = {"checkout": 5, "setup-python": 6, "upload-artifact": 6, "download-artifact": 7}


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_the_actions_run_on_a_node_that_is_there(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    used = re.findall(r"actions/([\w-]+)@v(\d+)$", text, re.M)
    assert used and all(int(version) >= NODE_24[action] for action, version in used)


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_a_workflow_may_only_read_and_ends(name):
    workflow = read(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 60
