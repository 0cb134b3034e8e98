"""What is sent: MLX files at the root of a folder, other formats beside them, the record in run/.

It is a function of the run: the same run gives the same bytes, so that what is sent twice differs
in nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import yaml

from star_mlx.files import json_line
from star_mlx.report.templating import Safe
from star_mlx.share.card import card
from star_mlx.share.facts import Facts, gather, sha256
from star_mlx.share.markdown import code, inline
from star_mlx.share.metadata import License
from star_mlx.types import Emit, Notice, Problem, StarError

CARD, PICTURE, MANIFEST = "README.md", "accuracy.png", "run/manifest.json"
RECIPE, PROMPTS = "run/recipe.yaml", "run/prompts.yaml"
DEFAULT = ("mlx", "peft")


class Export(Protocol):
    """Writes an iteration's model to a new folder, as ``star_mlx.export.export`` does."""

    def __call__(
        self, run: Path, iteration: str, format: Any, out: Path, *, emit: Emit
    ) -> object: ...


def build(
    run: Path,
    repo_id: str,
    folder: Path,
    license: License,
    *,
    iteration: str,
    formats: Sequence[str] = DEFAULT,
    samples: bool = True,
    dataset: str | None = None,
    export: Export | None = None,
    emit: Emit = lambda event: None,
) -> Facts:
    """Fill the empty ``folder`` with what is sent of an iteration.

    A format of ``DEFAULT`` beside ``mlx`` that has no place for this adapter is left out, with a
    note in the card, as long as exactly these were asked for.

    Raises:
        StarError: no such run or iteration, or a format that cannot be written.
    """
    facts = gather(run, iteration, samples=samples)
    write = export or _exporter()
    notes, made = [], []
    for format in formats:
        optional = tuple(formats) == DEFAULT and format != "mlx"
        try:
            _export(write, run, facts, format, folder, emit)
        except StarError as error:
            if not optional:
                raise
            words = f"There is no {code(format)} form of this adapter: {inline(error)}."
            notes.append(Safe(words))
            emit(Notice("warning", f"left out {format}: {error}"))
            continue
        made.append(format)
    write_record(facts, folder)
    picture = draw(run, folder / PICTURE)
    if not picture:
        emit(Notice("info", f"no {PICTURE}: that needs matplotlib"))
    text = card(
        facts, repo_id, license, formats=made, notes=notes, picture=picture, dataset=dataset
    )
    (folder / CARD).write_bytes(text.encode("utf-8", "backslashreplace"))
    write_manifest(folder, about(facts, made))
    return facts


def _exporter() -> Export:
    from star_mlx.export import export

    return export


def _export(write: Export, run: Path, facts: Facts, format: str, folder: Path, emit: Emit) -> None:
    """Write a format to its place: MLX at the root, each other in a folder of its name."""
    apart = folder / (".mlx" if format == "mlx" else format)
    write(run, str(facts.iteration), format, apart, emit=emit)
    if format == "mlx":
        for path in sorted(apart.iterdir()):
            os.replace(path, folder / path.name)
        apart.rmdir()


def write_record(facts: Facts, folder: Path) -> None:
    """Write run/: the recipe, the metrics, the few-shot examples and the prompt they make."""
    (folder / "run").mkdir(exist_ok=True)
    asked = facts.asking
    texts = {
        RECIPE: yaml.safe_dump(dict(facts.recipe), sort_keys=False, allow_unicode=True),
        PROMPTS: yaml.safe_dump(
            [_example(shot) for shot in asked.examples], sort_keys=False, allow_unicode=True
        ),
    }
    if asked.turns is not None:
        texts["run/turns.json"] = json.dumps(asked.turns, ensure_ascii=False, indent=1) + "\n"
    elif asked.few_shot:
        texts["run/prompt.txt"] = asked.few_shot
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
    (folder / "run/metrics.jsonl").write_bytes(b"".join(map(json_line, facts.metrics)))


def _example(shot: Problem) -> dict[str, Any]:
    """A few-shot example as a prompt file has it."""
    found: dict[str, Any] = {"question": shot.question.text}
    if shot.question.choices:
        found["choices"] = dict(shot.question.choices)
    if shot.rationale is not None:
        found["rationale"] = shot.rationale
    return {**found, "answer": shot.answer}


def draw(run: Path, file: Path) -> bool:
    """Draw the accuracy of the run's iterations, where matplotlib is there."""
    if find_spec("matplotlib") is None:
        return False
    from star_mlx.report import charts, drawing, gather

    with drawing.style():
        chart = charts.accuracy(gather.runs([run]))
        if chart is None:
            return False
        file.write_bytes(drawing.png(chart.figure))
    return True


def files(folder: Path) -> dict[str, Path]:
    """What is in a folder, by its name in the repository, in order."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return dict(sorted(found.items()))


def carry(run: Path, iteration: str, folder: Path) -> None:
    """Add to an exported MLX folder what `star-mlx try` needs to ask it: the record in run/.

    Raises:
        StarError: no such run or iteration, or its prompt cannot be had.
    """
    facts = gather(run, iteration, samples=False)
    write_record(facts, folder)
    write_manifest(folder, about(facts, ["mlx"]))


def about(facts: Facts, formats: Sequence[str]) -> dict[str, Any]:
    """What a manifest says beside the files."""
    base = facts.base
    return {
        "iteration": facts.iteration,
        "base": {"name": base.name, "revision": base.revision, "hash": base.hash},
        "formats": list(formats),
    }


def write_manifest(folder: Path, said: Mapping[str, Any]) -> None:
    """Write the list of all files but the card, with their SHA-256, and what they are.

    A later push deletes what an earlier one listed and it does not; a pull compares the hashes.
    """
    (folder / "run").mkdir(exist_ok=True)
    hashes = {
        name: sha256(path) for name, path in files(folder).items() if name not in (CARD, MANIFEST)
    }
    text = json.dumps({"format": 1, **said, "files": hashes}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def listed(read: Callable[[], bytes]) -> set[str]:
    """The files that a manifest lists; none where it is not one."""
    try:
        found = json.loads(read())["files"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {str(name) for name in found} if isinstance(found, dict) else set()
