"""The model card of a run's iteration, made from the record of the run.

Its text is ``templates/card.md.j2``; its figures are collected here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from star_mlx.export.facts import Facts
from star_mlx.formatting import class_order, count, interval, percent
from star_mlx.measure.accuracy import ends, wilson
from star_mlx.measure.paired import Paired
from star_mlx.report.templating import Safe
from star_mlx.share import snippets
from star_mlx.share.markdown import document
from star_mlx.share.metadata import License, measured, metadata
from star_mlx.store.metrics import Metrics, ValidSteps, as_json

LONGEST = 2000  # maximum characters of an answer


def card(
    facts: Facts,
    repo_id: str,
    license: License,
    *,
    formats: Sequence[str],
    notes: Sequence[str] = (),
    picture: bool = False,
    dataset: str | None = None,
) -> str:
    """The text of README.md.

    Args:
        facts: the facts of the iteration.
        repo_id: its repository, ``user/name``.
        license: the license of the base, which also applies to the adapter.
        formats: the formats in the repository.
        notes: the formats that are missing, and why; plain text, or ``Safe`` Markdown.
        picture: whether accuracy.png is beside it.
        dataset: the repository of the kept rationales, if they are shared too.
    """
    recipe = {key: value for key, value in facts.recipe.items() if key != "provenance"}
    made = facts.recipe.get("provenance", {})
    up_to_here = [line for line in facts.metrics if line.iteration <= facts.iteration]
    return document(
        "card.md.j2",
        metadata=metadata(facts, repo_id, license, formats=formats, dataset=dataset),
        facts=facts,
        line=facts.line,
        made=made,
        name=repo_id.rsplit("/", 1)[-1],
        task=recipe["task"]["name"],
        base_size=_size(facts),
        results=_results(facts),
        comparisons=_comparisons(facts),
        test_reads=max((result.test_reads or 0 for result in facts.results), default=0),
        iterations=[_iteration(line, facts.iteration) for line in facts.metrics],
        picture=picture,
        steps=_steps(facts),
        classes=_classes(facts),
        longest=LONGEST,
        shortened=_shortened,
        attempted=sum(line.problems or 0 for line in up_to_here),
        overlap=_overlap(facts),
        dataset=dataset,
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        versions=made.get("versions", {}).items(),
        **snippets.values(facts, repo_id, formats, notes),
    )


def _size(facts: Facts) -> str:
    base = facts.base
    size = [f"{base.bits}-bit"] if base.bits else []
    size += [f"{count(base.parameters)} parameters"] if base.parameters else []
    return ", ".join(size)


def _results(facts: Facts) -> list[tuple[object, ...]]:
    """The rows of the measurements: name, split, accuracy, interval, n."""
    found = [(name, split, value, entry) for split, name, value, entry in measured(facts)]
    found += [
        (name, entry.split, entry.accuracy, as_json(entry))
        for name, entry in facts.baselines.items()
    ]
    return [
        (name, split, f"{percent(value, 1)}%", _ends(entry), entry["n"])
        for name, split, value, entry in found
    ]


def _ends(entry: Mapping[str, Any]) -> str:
    """The 95% interval of a measurement, as in ``accuracy.ends``; empty if there is none."""
    counted = entry.get("correct") is not None
    found = wilson(entry["correct"], entry["n"]) if counted else entry.get("ci95")
    return interval(found, 1, " to ") if found else ""


def _comparisons(facts: Facts) -> list[str]:
    """The paired tests in words."""
    name = f"iteration {facts.iteration}"
    found: list[str] = []
    for entry in (facts.line.compared or {}).values():
        other = f"iteration {entry.iteration}" if entry.iteration else "the base"
        keys = ("n", "both", "better", "worse", "neither", "p")
        found.append(
            f"dev: {Paired(**{key: getattr(entry, key) for key in keys}).words(name, other)}"
        )
    for result in facts.results:
        found += [f"{result.split}: {pair.words}" for pair in result.against]
    return list(dict.fromkeys(found))


def _iteration(line: Metrics, shared: int) -> list[object]:
    number = line.iteration
    entry = line.dev
    tail: list[object] = ["", "", ""]
    if entry:
        tail = [f"{percent(entry.accuracy, 1)}%", interval(ends(entry), 1, " to "), entry.n]
    if number == 0:
        return ["0 (the base)", *[""] * 6, *tail]
    teacher = f"iteration {line.teacher}" if line.teacher else "the base"
    name = Safe(f"**{number}** (this)") if number == shared else number
    made = [getattr(line, key) for key in ("problems", "solved", "rationalized", "examples")]
    return [name, teacher, *made, line.steps, *tail]


def _steps(facts: Facts) -> list[tuple[str, ValidSteps]]:
    """How many training rationales are right in every step: (which rationales, counts)."""
    counts = facts.line.valid_steps or {}
    named = (
        ("kept without hint", counts.get("direct")),
        ("kept with hint", counts.get("rationalized")),
    )
    return [(words, found) for words, found in named if found and found.n]


def _classes(facts: Facts) -> list[tuple[object, ...]]:
    """The rows of accuracy by the problems' class, if there are classes."""
    counts = facts.line.by_class
    return [
        (name, f"{percent(c.accuracy, 1)}%", interval(wilson(c.correct, c.n), 1, " to "), c.n)
        for name in sorted(counts, key=class_order)
        if name and (c := counts[name]).n
    ]


def _shortened(text: str) -> str:
    return text[:LONGEST] + (" [...]" if len(text) > LONGEST else "")


def _overlap(facts: Facts) -> bool:
    """Whether the splits are known to share problems: sums of one digit."""
    task = facts.recipe["task"]
    digits = task.get("options", {}).get("digits")
    return task["name"] == "arithmetic" and isinstance(digits, list) and digits[:1] == [1]
