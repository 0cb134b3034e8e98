"""Mutation tests: how many small changes of a module make its tests fail.

python scripts/mutants.py star_mlx/answers/choices.py --tests tests/test_answers.py

mutmut changes one operator, constant, argument or branch at a time and runs the tests that reach
it. It works on a copy of the project in build/mutants, so the working tree stays as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPY = ROOT / "build" / "mutants"
# A test that fails need not find the smallest example, which takes Hypothesis up to 5 minutes.
CONFTEST = """
from hypothesis.internal.conjecture import engine
engine.MAX_SHRINKING_SECONDS = 1
"""
LEFT_OUT = {"build", "dist", "runs", "__pycache__"}  # and everything hidden
SURVIVED = ("survived", "no tests")


def copy(files: list[str], tests: list[str]) -> None:
    """Copy the project and write the settings of mutmut into the copy's pyproject.toml."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name.startswith(".") or path.name in LEFT_OUT:
            continue
        if path.is_dir():
            shutil.copytree(path, COPY / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, COPY)
    with (COPY / "conftest.py").open("a", encoding="utf-8") as file:
        file.write(CONFTEST)
    settings = {
        "source_paths": ["star_mlx"],
        "only_mutate": files,
        "also_copy": [path.name for path in COPY.iterdir() if path.name != "star_mlx"],
        "pytest_add_cli_args_test_selection": tests,
        # Workers are forked from a process that has run no test: mlx's threads survive no fork.
        "process_isolation": "forkserver",
        "use_git_change_detection": False,
        "timeout_constant": 4.0,  # for a busy machine: 15 times this and the tests' own time
    }
    with (COPY / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.mutmut]\n")
        # Lists and strings are written alike in JSON and TOML, and so are true and false.
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def mutmut(*arguments: str) -> str:
    """What a command of mutmut prints; ``run`` prints its progress as it goes."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    shown = None if arguments[0] == "run" else subprocess.PIPE
    return subprocess.run(command, cwd=COPY, check=True, stdout=shown, text=True).stdout or ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation tests of the given modules.")
    parser.add_argument("files", nargs="+", help="modules, such as star_mlx/answers/choices.py")
    parser.add_argument("--tests", nargs="*", default=["tests"], help="test files; default: all")
    parser.add_argument("--processes", default="2", help="processes at a time; default: 2")
    options = parser.parse_args()
    copy(options.files, options.tests or ["tests"])
    mutmut("run", "--max-children", options.processes)
    rows = [line.strip().rsplit(": ", 1) for line in mutmut("results", "--all", "1").splitlines()]
    for name, status in rows:
        if status in SURVIVED:
            print(mutmut("show", name).rstrip(), end="\n\n")
    for file in options.files:
        module = file.removesuffix(".py").replace("/", ".") + "."
        counts = Counter(status for name, status in rows if name.startswith(module))
        noticed = counts.total() - sum(counts[status] for status in SURVIVED)
        print(f"{file}: {noticed} of {counts.total()} mutants noticed ({dict(counts)})")


if __name__ == "__main__":
    main()
