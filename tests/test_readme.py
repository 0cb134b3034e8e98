"""Every line of the README is run, in order, in one folder, against a Hub on this machine.

Loops are made short, and the model that would be fetched is the embedded one; nothing else differs
from what is printed there.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Hub, client_environment
from tests.hub_worker import Worker

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORT = (
    "task.options.digits=[1,2]", "task.options.train=40", "task.options.held_out=5",
    "star.iterations=3", "star.schedule.start=2", "star.schedule.factor=1", "evaluate.dev=5",
    "evaluate.zero_shot=false", "train.batch_size=4", "generate.max_tokens=80",
)  # fmt: skip
FEW = ("star.problems=6", *SHORT)
OWN = ("star.iterations=1", "star.problems=10", "generate.max_tokens=80", "star.schedule.base=1")
SUMS = runpy.run_path(str(ROOT / "benchmarks/own_sums.py"))  # and the form that the base reads
TOKEN = "hf_" + "SecretOfTheTest"


def lines() -> Iterator[str]:
    """The commands in the README's blocks; ``make demo`` is the one that the Makefile has."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", README, re.S | re.M):
        for line in block.splitlines() if not language else ():
            command = line.split(" #")[0].strip()
            if command == "make demo":
                [command] = re.findall(
                    r"^demo:.*\n\t\$\(BIN\)/(star-mlx .*)$", (ROOT / "Makefile").read_text(), re.M
                )
            if command:
                yield command.removeprefix(".venv/bin/")


def shortened(words: list[str]) -> list[str]:
    """A command that is over in seconds."""
    words = ["tiny" if word == "mlx-community/Qwen2.5-0.5B-4bit" else word for word in words]
    sets: tuple[str, ...] = ()
    if words[0] == "loop" and not {"--smoke", "--dry-run"} & {*words} and "--recipe" in words:
        sets = (*SUMS["FORM"], *OWN) if "task.yaml" in words else (*FEW, "star.iterations=1")
    elif words[0] == "loop" and "--task" in words:
        sets = SHORT if "--problems" in words else FEW
    return [*words, *(word for one in sets for word in ("--set", one))]


def prepared(place: Path) -> None:
    """The two files that the README's reader brings."""
    SUMS["write"](place / "questions.csv", 60)
    graded = {"completion": "#### 7", "gold": "7"}
    (place / "completions.jsonl").write_text(json.dumps(graded) + "\n", encoding="utf-8")


def test_the_lines_run_as_they_stand(tmp_path: Path) -> None:
    prepared(tmp_path)
    ran = []
    with Hub() as hub:
        hub.token = TOKEN
        environment = client_environment(hub.url, tmp_path / "home", HF_TOKEN=TOKEN)
        worker = Worker({**environment, "STAR_MLX_CONFIG": ""}, tmp_path)
        try:
            for line in lines():
                if not line.startswith("star-mlx "):
                    assert line == "make test", f"{line}: no test runs this line of the README"
                    continue
                words = shlex.split(line)[1:]
                done = worker.run(*shortened(words), fast=words[0] == "push")
                assert done.code == 0, f"{line}\n{done.out[-2000:]}\n{done.err}"
                ran.append(words[0])
        finally:
            worker.close()
    assert {"loop", "trace", "report", "init-task", "evaluate", "push", "pull", "try"} <= {*ran}
