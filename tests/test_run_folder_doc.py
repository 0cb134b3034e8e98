"""docs/run-folder.md says what the types of the record have: every key, and no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

from star_mlx.store import journal, metrics, rows
from star_mlx.types import Attempt, Example, Step

TEXT = (Path(__file__).parent.parent / "docs/run-folder.md").read_text(encoding="utf-8")
ENTRIES = {
    "created": [journal.Created],
    "chunk": [journal.Chunk],
    "trained": [journal.TrainedEntry],
    "iteration": [journal.Finished, journal.Verdicts],
    "result": [journal.ResultEntry],
    "dropped": [journal.Dropped],
}


def table(heading):
    """The first two cells of each row of a section's table."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|", 1) for line in section.splitlines() if line[:3] == "| `"]
    return {first.strip().strip("`"): second for first, second in rows}


def keys(type):
    return set(type.__struct_encode_fields__)


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [
        ("attempts.jsonl, eval.jsonl", {f.name for f in fields(Attempt)} | {"tokens"}),
        ("questions.jsonl", keys(rows.AddedQuestion)),
        ("examples.jsonl", {f.name for f in fields(Example)}),
        ("train.jsonl", {f.name for f in fields(Step)} - {"seconds"}),
        ("metrics.jsonl", keys(metrics.Metrics)),
    ],
)
def test_every_key_of_a_row_is_explained_and_no_other(heading, wanted):
    assert set(table(heading)) == wanted


@pytest.mark.parametrize(
    ("key", "types"),
    [
        ("train", [metrics.Training]),
        ("augmented", [metrics.AddedKind]),
        ("eval", [metrics.Measured]),
        ("generate", [metrics.Generated]),
        ("served", [metrics.Served]),
        ("valid_steps", [metrics.ValidSteps]),
        ("compared", [metrics.Compared]),
    ],
)
def test_every_key_inside_a_metrics_line_is_named(key, types):
    words = set(re.findall(r"`(\w+)`", table("metrics.jsonl")[key]))
    assert words >= set().union(*map(keys, types))


@pytest.mark.parametrize("event", ENTRIES)
def test_every_key_of_a_journal_entry_is_named_and_no_other(event):
    told = table("journal.jsonl")[event].split(":")[0] if event == "dropped" else None
    words = set(re.findall(r"`(\w+)`", told or table("journal.jsonl")[event]))
    values = {"direct", "hinted", "dev", "test", "chunks"} | ({"trained"} if told else set())
    wanted = set().union(*map(keys, ENTRIES[event]))
    assert words - values - ({"iteration", "result"} - wanted) == wanted


def test_the_types_are_decoded_strictly():
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"iteration":"1"}', type=metrics.Metrics)
