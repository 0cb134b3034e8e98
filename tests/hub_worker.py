"""A process that runs commands against a loopback Hub, one a line of its standard input.

The client reads its settings at import, so it needs a process of its own; one for many commands,
since importing it takes longer than any of them. It does not sleep: it notes for how long it would
have. With ``fast`` an export is a copy of the adapter, which needs no model.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass
class Ran:
    """What a command left: its exit code, its output, and the seconds it wanted to sleep."""

    code: int
    out: str
    err: str
    slept: list[float]

    @property
    def line(self) -> str:
        """The one line of an error."""
        assert self.code == 2, self
        last = self.err.splitlines()[-1]
        assert last.startswith("star-mlx: error: ") and "Traceback" not in self.err, self.err
        return last.removeprefix("star-mlx: error: ")


class Worker:
    """The process; ``run`` gives it a command of ``star-mlx``."""

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        self._log = open(cwd / "worker.log", "w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hub_worker", str(cwd)],
            env=dict(environment), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip

    def run(self, *arguments: object, fast: bool = True) -> Ran:
        call = {"arguments": [str(argument) for argument in arguments], "fast": fast}
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.said()
        return Ran(**json.loads(answer))

    def said(self) -> str:
        """What came to its standard error beside the commands' own."""
        self._log.flush()
        return Path(self._log.name).read_text(encoding="utf-8")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._log.close()


def copied(run: Path, iteration: str, format: str, out: Path, **_: Any) -> None:
    """An export without a model."""
    adapter = Path(run) / f"iterations/{int(iteration):03d}/adapter"
    out.mkdir(parents=True)
    data = (adapter / "adapters.safetensors").read_bytes()
    if format == "peft":
        (out / "adapter_model.safetensors").write_bytes(data[::-1])
    else:
        (out / "adapters.safetensors").write_bytes(data)
    config = (adapter / "adapter_config.json").read_bytes()
    (out / "adapter_config.json").write_bytes(config)


def painted(run: Path, file: Path) -> bool:
    """A picture without matplotlib."""
    file.write_bytes(b"picture of " + run.name.encode())
    return True


def main(cwd: str) -> None:
    slept: list[float] = []
    time.sleep = slept.append
    import os

    os.chdir(cwd)
    answers = sys.stdout
    from star_mlx import export
    from star_mlx.cli import main as star
    from star_mlx.share import folder

    real, drawn = export.export, folder.draw
    for line in sys.stdin:
        call = json.loads(line)
        slept.clear()
        export.export = copied if call["fast"] else real
        folder.draw = painted if call["fast"] else drawn
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                star(call["arguments"])
            except SystemExit as ended:
                code = ended.code
        values = {"code": code, "out": out.getvalue(), "err": err.getvalue(), "slept": slept}
        print(json.dumps(values), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
