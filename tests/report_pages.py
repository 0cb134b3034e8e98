"""Runs and the pages of their reports, made once for the tests of the files and of the browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.run import loop
from tests import hostile
from tests.scripts import learner
from tests.test_loop import recipe

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
HOSTILE = "<script>alert(2)<script> $a$ _b"  # the name of a run


@dataclass(frozen=True)
class Reports:
    """``runs`` has the runs ``with`` and ``without``; ``pages`` the reports ``one``, ``two`` (of
    both runs) and ``evil`` (of a run whose data is out to harm)."""

    runs: Path
    evil: Path
    pages: Path


def make(path, *overrides, reply=learner):
    loop.run(recipe(*overrides), path, lambda event: None, engine=ScriptedEngine(reply))
    return path


def made(shared: Path) -> Reports:
    """All of them, made in a folder that the processes share."""
    from star_mlx.report import write_report

    folder = shared / "reports"
    runs, evil, pages = folder / "runs", folder / "evil", folder / "pages"
    with FileLock(shared / "reports.lock"):
        if not (folder / "done").exists():
            evil.mkdir(parents=True)
            make(runs / "with")
            make(runs / "without", "star.rationalize=false")
            run = hostile.make(evil, HOSTILE)
            given = {
                "one": [runs / "with"],
                "two": [runs / "with", runs / "without"],
                "evil": [run],
            }
            for name, of in given.items():
                write_report.write(of, pages / name, MADE)
            (folder / "done").touch()
    return Reports(runs, evil / HOSTILE, pages)
