"""Settings and fixtures of the whole suite: threads, processes, what costs time and proves nothing.

``make test`` runs the tests in as many processes as there are processors. A file's tests go to one
process, so that a module's fixtures are made once; see ``pytest_collection_modifyitems``.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import small_run as small_runs

# One thread a process: every processor has a process of its own, and the models are so small that
# threads wait for each other longer than they work. It is read when OpenBLAS and torch are loaded,
# also by the processes that tests start.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

# The files that take longest come first, so that no process is left with one of them at the end.
LONGEST: tuple[str, ...] = ()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together in one process, and begin with the longest files."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(scope="session", autouse=True)
def frozen() -> Iterator[None]:
    """Keep what a run has frozen frozen when it ends.

    A run collects garbage when it begins. In a process that has torch and mlflow loaded, looking
    through all of their objects takes longer than the run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)
        yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Do not wait for the disk: a run does so a hundred times, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: os.fstat(file) and None)  # fails on a closed one
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the suite have in common.

    What is made in it is made under a file lock; whoever writes to it copies it first.
    """
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def small_run(shared_folder: Path) -> Path:
    """The folder of a finished run of two iterations on the embedded base."""
    return small_runs.made(shared_folder)


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Scripted runs and the pages of their reports; whoever writes to them copies them first."""
    from tests import report_pages

    return report_pages.reports(tmp_path_factory.mktemp("reports"))
