"""Runs and the pages of their reports, made once for the tests of the files and of the browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.run import loop
from tests import hostile
from tests.scripts import learner
from tests.test_loop import recipe

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)


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


def reports(folder: Path) -> Reports:
    """Make all of them in a folder."""
    from star_mlx.report import write_report

    (folder / "evil").mkdir()
    runs, pages = folder / "runs", folder / "reports"
    make(runs / "with")
    make(runs / "without", "star.rationalize=false")
    evil = hostile.make(folder / "evil", "<script>alert(2)<script> $a$ _b")
    given = {"one": [runs / "with"], "two": [runs / "with", runs / "without"], "evil": [evil]}
    for name, of in given.items():
        write_report.write(of, pages / name, MADE)
    return Reports(runs, evil, pages)
