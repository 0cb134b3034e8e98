"""What may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "star_mlx"
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def at_home(file: Path, *homes: str) -> bool:
    place = file.relative_to(PACKAGE).as_posix()
    return any(place == home or place.startswith(home) for home in homes)


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("mlx", ("engine/", "export/")),
        ("mlx_lm", ("engine/", "export/")),
        ("rich", ("tui", "cli/")),
        ("click", ("cli/",)),
        ("matplotlib", ("report/",)),
        ("wandb", ("trackers/",)),
        ("trackio", ("trackers/",)),
        ("tensorboard", ("trackers/",)),
        ("mlflow", ("trackers/",)),
    ],
)
def test_each_package_is_imported_only_where_it_belongs(package, homes):
    for file in FILES:
        if not at_home(file, *homes):
            roots = {name.split(".")[0] for name in imported(file)}
            assert package not in roots, file


def test_types_imports_nothing_of_star_mlx_and_star_only_types():
    def ours(name):
        return {m.split(".")[1] for m in imported(PACKAGE / name) if m.startswith("star_mlx.")}

    assert ours("types.py") == set()
    assert ours("star.py") == {"types"}


def test_nothing_below_the_cli_imports_it():
    for file in FILES:
        if not at_home(file, "cli/", "__main__.py"):
            assert not any(name.startswith("star_mlx.cli") for name in imported(file)), file


def test_star_stays_one_short_file():
    assert len((PACKAGE / "star.py").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize(
    "module", ["star_mlx", "star_mlx.cli", "star_mlx.types", "star_mlx.engine"]
)
def test_importing_loads_nothing_heavy(module):
    heavy = ("mlx", "mlx_lm", "transformers", "numpy", "torch", "huggingface_hub")
    if module == "star_mlx.cli":
        heavy += ("rich", "pydantic", "yaml")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_global_randomness():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert "random.seed(" not in text.replace("mx.random.seed(", ""), file
