"""Settings and fixtures of the whole suite.

``make test`` runs the tests in as many processes as there are processors. The tests of a file run
in one process, so that a module's fixtures are made once.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import small_run as small_runs

# One thread a process: every processor has a process of its own, and the models are so small that
# threads wait for each other longer than they work. It is read when OpenBLAS and torch are loaded,
# also by the processes that tests start.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["STAR_MLX_CONFIG"] = ""  # no defaults of whoever runs the tests

# On a busy machine any example may take longer than the 200 ms that it has by default.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# The files that take longest come first, so that no process is left with one of them at the end.
LONGEST = (
    *("gguf_real", "push", "export_gguf", "report", "kill", "readme", "gguf_tokens", "export"),
    *("benchmarks", "answers", "gguf_families", "metal"),
    *("export_peft", "push_xet", "dry_run", "models", "engine_form", "engine_shared"),
    *(
        "launch",
        "ranks_mlx",
        "endpoints_mlx",
        "hub",
        "engine_generate",
        "gguf_smollm2",
        "report_page",
    ),
    *(
        "by_hand",
        "trackers",
        "old_runs",
        "tiny",
        "growth",
        "engine_training_state",
        "engine_train",
        "loop",
        "damage",
    ),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files. With ``--dist loadgroup`` a file without groups is one."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


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


@pytest.fixture(scope="session", autouse=True)
def lean() -> Iterator[None]:
    """Processes that tests start find this project, and neither torch nor wandb.

    See lean/sitecustomize.py. It is a fixture because the processes that run the tests themselves
    must keep both: they are started before any fixture is made.
    """
    here = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{here / 'lean'}{os.pathsep}{here.parent}")
        patch.setenv("TESTS_WITHOUT", "torch wandb")
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
def reports(shared_folder: Path) -> Any:
    """Scripted runs and the pages of their reports; whoever writes to them copies them first."""
    from tests import report_pages

    return report_pages.made(shared_folder)


@pytest.fixture
def star(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command line, checks its exit code, and returns what it printed: standard output,
    or standard error if the code is not 0."""
    from star_mlx.cli import main

    def run(*arguments: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out if code == 0 else err

    return run
