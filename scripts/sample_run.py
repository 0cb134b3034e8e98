"""Make a sample run again: run the real loop from a seed, and pack the run folders.

python scripts/sample_run.py arithmetic

The sums, small enough that two runs with all their adapters are a few hundred kB: four iterations
of 500 problems, and LoRA matrices of a low rank with a higher learning rate instead. The figures
belong to the processor and the versions that made them; `star-mlx show` says which these were.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
from pathlib import Path

from star_mlx.recipe import loading
from star_mlx.run import loop
from star_mlx.samples import SUFFIX
from star_mlx.store import check, names

SETTINGS = (
    "star.iterations=4",
    "star.problems=500",
    "evaluate.dev=250",
    "train.rank=1",
    "train.learning_rate=4e-3",
)
RUNS = {"with": (), "without": ("star.rationalize=false",)}
LEFT_OUT = {names.LIVE, names.LOG, names.LOCK}  # of a process, not of the run
SAMPLES = Path(__file__).parent.parent / "star_mlx/samples"


def main() -> None:
    """Make a sample."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=["arithmetic"])
    parser.add_argument("--keep", type=Path, help="keep the run folders here; resumed if there")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        for kind, overrides in RUNS.items():
            recipe = loading.load(
                None, task=given.name, seed=given.seed, overrides=(*SETTINGS, *overrides)
            )
            loop.run(recipe, folder / kind, lambda event: None)
            assert check.check(folder / kind).whole
        file = SAMPLES / f"{given.name}{SUFFIX}"
        pack([folder / kind for kind in RUNS], file)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def pack(runs: list[Path], file: Path, preset: int = 9) -> None:
    """Pack run folders; the same folders make the same file. ``preset`` is that of xz."""
    with tarfile.open(file, "w:xz", preset=preset) as archive:
        for path in sorted((path for run in runs for path in run.rglob("*")), key=_kind):
            if path.is_file() and path.name not in LEFT_OUT:
                run = next(run for run in runs if run in path.parents)
                data = path.read_bytes()
                entry = tarfile.TarInfo(f"{run.name}/{path.relative_to(run).as_posix()}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


def _kind(path: Path) -> tuple[str, str]:
    """Files of one kind follow each other, which makes the archive smaller."""
    return path.name, path.as_posix()


if __name__ == "__main__":
    main()
