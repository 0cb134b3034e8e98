"""The folder to push: MLX files at its root, other formats in subfolders, the record in run/.

The same run always gives the same bytes, so that pushing it twice changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from star_mlx import export as exports
from star_mlx.errors import StarError
from star_mlx.events import Emit, Notice
from star_mlx.export import Format
from star_mlx.export.facts import Facts, gather
from star_mlx.export.run_record import CARD, about, write_manifest, write_record
from star_mlx.report.templating import Safe
from star_mlx.share.card import card
from star_mlx.share.markdown import code, inline
from star_mlx.share.metadata import License

PICTURE = "accuracy.png"
DEFAULT: tuple[Format, ...] = ("mlx", "peft")


def build(
    run: Path,
    repo_id: str,
    folder: Path,
    license: License,
    *,
    iteration: str,
    formats: Sequence[Format] = DEFAULT,
    samples: bool = True,
    dataset: str | None = None,
    emit: Emit = lambda event: None,
) -> Facts:
    """Fill the empty ``folder`` with the files of an iteration to push.

    If exactly the formats of ``DEFAULT`` are requested, one besides ``mlx`` that does not support
    this adapter is left out, with a note in the card.

    Raises:
        StarError: no such run or iteration, or a format that cannot be written.
    """
    facts = gather(run, iteration, samples=samples)
    notes, made = [], []
    for format in formats:
        optional = tuple(formats) == DEFAULT and format != "mlx"
        try:
            _export(run, facts, format, folder, emit)
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


def _export(run: Path, facts: Facts, format: Format, folder: Path, emit: Emit) -> None:
    """Write a format to its place: MLX at the root, any other in a folder with its name."""
    apart = folder / (".mlx" if format == "mlx" else format)
    exports.export(run, str(facts.iteration), format, apart, emit=emit)
    if format == "mlx":
        for path in sorted(apart.iterdir()):
            os.replace(path, folder / path.name)
        apart.rmdir()


def draw(run: Path, file: Path) -> bool:
    """Draw the accuracy of the run's iterations, if matplotlib is installed."""
    if find_spec("matplotlib") is None:
        return False
    from star_mlx.report import charts, drawing, gather

    with drawing.style():
        chart = charts.accuracy(gather.runs([run]))
        if chart is None:
            return False
        file.write_bytes(drawing.png(chart.figure))
    return True


def listed(read: Callable[[], bytes]) -> set[str]:
    """The files listed in a manifest; none if it is not a manifest."""
    try:
        found = json.loads(read())["files"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {str(name) for name in found} if isinstance(found, dict) else set()
