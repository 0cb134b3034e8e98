"""The rationales that a run kept, as a data set with its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from star_mlx.errors import RunError
from star_mlx.export.facts import Facts
from star_mlx.export.run_record import CARD, write_manifest
from star_mlx.report.templating import Safe
from star_mlx.share.markdown import code, document
from star_mlx.store import reading
from star_mlx.store.files import json_line

FileFormat = Literal["jsonl", "parquet"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
COLUMNS = {  # name -> what it is
    "id": "the problem",
    "iteration": "the iteration that kept it",
    "source": "`direct`, or `rationalized` with the answer as a hint",
    "prompt": "what it was trained on after: the question without any hint, unless `hint_shown`",
    "completion": "the rationale and the answer, as the model wrote them",
    "hint_shown": "whether the prompt shows the hint",
}


def build(
    run: Path, repo_id: str, folder: Path, facts: Facts, *, form: FileFormat, license_id: str | None
) -> int:
    """Fill the empty ``folder`` with the kept rationales of every iteration, and a card; how many.

    Raises:
        RunError: the run kept none, or ``form`` needs a package that is not there.
    """
    rows = kept(run)
    if not rows:
        raise RunError(f"{run} kept no rationale, so there is no data set to share")
    (folder / "data").mkdir()
    write(rows, folder / f"data/train.{form}", form)
    text = card(facts, repo_id, rows, form=form, license_id=license_id)
    (folder / CARD).write_bytes(text.encode("utf-8", "backslashreplace"))
    write_manifest(folder, {"rows": len(rows)})
    return len(rows)


def kept(run: Path) -> list[dict[str, Any]]:
    """What each iteration kept itself, in order; what was carried over stands once."""
    record = reading.read(run)
    return [
        {name: getattr(example, name) for name in COLUMNS}
        for line in record.metrics
        for example in record.examples(line.iteration)
        if example.iteration == line.iteration
    ]


def write(rows: Sequence[Mapping[str, Any]], file: Path, form: FileFormat) -> None:
    """Write rows as JSON lines or Parquet; the same rows give the same bytes."""
    if form == "jsonl":
        file.write_bytes(b"".join(map(json_line, rows)))
        return
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RunError(
            "Parquet needs a package: pip install 'star-mlx[data]', or give --dataset-format jsonl"
        ) from None
    columns = {name: [_valid(row[name]) for row in rows] for name in COLUMNS}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def _valid(value: Any) -> Any:
    """Text that UTF-8 has a form for."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def card(
    facts: Facts,
    repo_id: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    form: FileFormat,
    license_id: str | None,
) -> str:
    """The text of the data set's README.md."""
    from huggingface_hub import DatasetCardData

    task = facts.recipe["task"]["name"]
    own = "apache-2.0" if task == "arithmetic" else "unknown"  # sums are made by star-mlx itself
    data = DatasetCardData(
        license=license_id or own,
        annotations_creators=["machine-generated"],
        task_categories=["text-generation"],
        size_categories=[_size(len(rows))],
        source_datasets=[f"extended|{facts.dataset}"] if facts.dataset else None,
        pretty_name=repo_id.rsplit("/", 1)[-1],
        tags=["star-mlx", "STaR", "rationales", "reasoning", "synthetic", task],
        configs=[{"config_name": "default", "data_files": f"data/train.{form}"}],
    )
    by = Counter((row["iteration"], row["source"]) for row in rows)
    return document(
        "dataset.md.j2",
        metadata=data.to_yaml(),
        base=facts.base,
        source=facts.dataset,
        name=repo_id.rsplit("/", 1)[-1],
        task=task,
        counts=[(number, source, n) for (number, source), n in sorted(by.items())],
        columns=[(code(name), Safe(text)) for name, text in COLUMNS.items()],
        row=json_line(rows[0]).decode(),
        own_questions=own != "unknown",
    )


def _size(n: int) -> str:
    """The Hub's name for so many rows."""
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
    return next((name for i, name in enumerate(names) if n < 10 ** (3 + i)), "n>10M")
