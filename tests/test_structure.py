"""What may import what: the floors of the package, without circles."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "star_mlx"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOT = {"api", "errors", "events", "formatting", "prompts", "settings", "star", "types"}

# From the bottom up. A part may import parts of lower floors, and itself; never one beside it.
FLOORS = (
    ("errors", "settings"),
    ("types", "formatting"),
    ("star", "answers", "data", "models"),
    ("tasks", "prompts", "store"),
    ("events", "augment", "samples"),
    ("recipe",),
    ("engine",),
    ("gguf", "init_task", "endpoints", "distributed"),
    ("measure", "progress"),
    ("run", "slides"),
    ("steps", "tui", "trackers", "scaling"),
    ("report", "export"),
    ("share",),
    ("api",),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR = {part: number for number, floor in enumerate(FLOORS) for part in floor}


def module(file: Path) -> str:
    """``star_mlx.store.files`` of star_mlx/store/files.py; a package is named as its folder."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part(name: str) -> str:
    """The part of the package a module belongs to: a folder, or a file at the root."""
    return name.split(".")[1] if "." in name else "__init__"


MODULES = {module(file): file for file in FILES}


@functools.cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def imported(file: Path) -> frozenset[str]:
    """Every module and name that a file imports, wherever in it, for type checking too."""
    found = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(found)


def arrows() -> dict[str, set[str]]:
    """Module -> the modules of star_mlx that it imports; a package if a name in it is meant."""
    found = {}
    for name, file in MODULES.items():
        ours = {m for m in imported(file) if m in MODULES} - {name}
        packages = {m for m in ours if any(o.startswith(m + ".") for o in ours)}
        found[name] = (ours - packages) | {m for m in packages if _means(file, m)}
    return found


def _means(file: Path, package: str) -> bool:
    """Whether a file imports a name of a package that is no module of it."""
    return any(
        f"{package}.{name.name}" not in MODULES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and node.module == package
        for name in node.names
    )


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """A circle of modules, the first again at its end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, above: list[str]) -> list[str]:
        if name in above:
            return [*above[above.index(name) :], name]
        if name not in done:
            for other in sorted(arrows.get(name, ())):
                if found := walk(other, [*above, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def longest(arrows: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports."""
    best: dict[str, list[str]] = {}

    def walk(name: str) -> list[str]:
        if name not in best:
            below = [walk(other) for other in sorted(arrows[name])]
            best[name] = [name, *max(below, key=len, default=[])]
        return best[name]

    return max((walk(name) for name in sorted(arrows)), key=len)


def test_imports_point_downwards_only():
    wrong = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in sorted(others)
        if part(name) != part(other) and FLOOR[part(other)] >= FLOOR[part(name)]
    ]
    assert not wrong


def test_there_is_no_circle():
    assert circle(arrows()) == []


def test_a_circle_of_two_files_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_the_root_holds_no_other_module():
    there = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert there <= ROOT and len(ROOT) <= 8


def test_a_public_name_stands_for_one_class():
    """Also one that is another name for a type, such as a Literal; arrays are numpy's or mlx's."""
    places: dict[str, list[str]] = {}
    for name, file in MODULES.items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            found = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                found = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for one in found:
                if one[0].isupper() and not one.isupper() and one != "Array":
                    places.setdefault(one, []).append(name)
    assert {one: of for one, of in places.items() if len(of) > 1} == {}


def test_every_package_says_what_it_holds_and_may_import():
    for file in PACKAGE.rglob("__init__.py"):
        words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert len(words) > 40, file
        assert file.parent == PACKAGE or "May import" in words, file


def at_home(file: Path, *homes: str) -> bool:
    place = file.relative_to(PACKAGE).as_posix()
    return any(place == home or place.startswith(home) for home in homes)


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("mlx", ("engine/", "gguf/", "export/")),
        ("mlx_lm", ("engine/", "gguf/", "export/")),
        ("rich", ("tui", "cli/")),
        ("click", ("cli/",)),
        ("matplotlib", ("report/",)),
        ("httpx2", ("endpoints/",)),
        ("jinja2", ("report/templating.py", "share/markdown.py", "engine/text.py")),
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


def test_star_stays_one_short_file():
    assert len((PACKAGE / "star.py").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize(
    "module", ["star_mlx", "star_mlx.cli", "star_mlx.types", "star_mlx.engine"]
)
def test_importing_loads_nothing_heavy(module, monkeypatch):
    monkeypatch.setenv("TESTS_WITHOUT", "")  # torch is there, and not loaded
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
