"""The page: everything in one file of HTML, with a policy that lets nothing else in.

Whatever comes from a model, from data or from a file's name is made harmless and escaped here, or
stands in JSON that the page's script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from star_mlx.formatting import describe, harmless
from star_mlx.report import browser, words
from star_mlx.report.browser import Group
from star_mlx.report.parts import MARK, Chart, Table, label

_NUMBER = re.compile(r"[-+<]?[\d,.]*\d%?( \[.*\].*)?")


def page(groups: Sequence[Group], charts: Sequence[tuple[Chart, str]], made: str) -> str:
    """The whole page.

    Args:
        groups: the runs with their samples.
        charts: each with its picture as an element of HTML.
        made: when the report was made, in words.
    """
    css, script = _beside("page.css"), _beside("page.js")
    runs = [group.run for group in groups]
    title = "star-mlx report: " + ", ".join(label(run.label) for run in runs)
    sections = [
        ("findings", "Findings", _findings(groups)),
        ("iterations", "Iterations", "".join(_table(words.summary(run)) for run in runs)),
        ("charts", "Charts", "".join(_figure(chart, picture) for chart, picture in charts)),
        ("samples", "Samples", _samples(groups)),
        ("recipe", "Recipe and versions", _recipes(groups)),
    ]
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    samples = browser.script_json(browser.data(groups))
    links = "".join(f'<li><a href="#{id}">{text}</a></li>' for id, text, _ in sections)
    body = "".join(_section(*section) for section in sections)
    return f"""<!doctype html>
{MARK.decode()}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{css}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>{_text(title)}</h1>
{_subtitle(groups, made)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main id="main">
{body}
</main>
<script type="application/json" id="samples-data">{samples}</script>
<script>{script}</script>
</body>
</html>
"""


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _text(text: str) -> str:
    """Foreign text in HTML, outside of scripts."""
    return escape(harmless(text))


def _section(id: str, title: str, content: str) -> str:
    return (
        f'<section id="{id}" aria-labelledby="{id}-heading">'
        f'<h2 id="{id}-heading">{title}</h2>\n{content}</section>\n'
    )


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line.strip())}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _table(table: Table) -> str:
    """A table that can be scrolled by keyboard where it is wider than the page."""
    numbers = [
        all(_NUMBER.fullmatch(row[i]) or not row[i] for row in table.rows)
        for i in range(len(table.heads))
    ]
    heads = "".join(
        f'<th scope="col"{_class(is_number)}>{_text(head)}</th>'
        for head, is_number in zip(table.heads, numbers, strict=True)
    )
    rows = "".join(f"<tr>{_cells(row, numbers)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.caption)}">'
        f"<table><caption>{_text(table.caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )


def _cells(row: Sequence[str], numbers: Sequence[bool]) -> str:
    first, *rest = (
        f"{_class(is_number)}>{_text(cell)}" for cell, is_number in zip(row, numbers, strict=True)
    )
    return f'<th scope="row"{first}</th>' + "".join(f"<td{cell}</td>" for cell in rest)


def _class(is_number: bool) -> str:
    return ' class="n"' if is_number else ""


def _subtitle(groups: Sequence[Group], made: str) -> str:
    recipe = groups[0].run.record.recipe
    task = recipe.get("task", {}).get("name")
    base = recipe.get("provenance", {}).get("base") or {"name": recipe.get("model", {}).get("path")}
    said = [f"task {task}", *describe(base), f"seed {recipe.get('seed')}"]
    return f'<p class="quiet">{_text(", ".join(said))}. Made {_text(made)}.</p>'


def _findings(groups: Sequence[Group]) -> str:
    runs = [group.run for group in groups]
    parts = []
    if between := words.between(runs, [group.known for group in groups]):
        parts.append(f"<h3>The runs beside each other</h3>{_list(between)}")
    for group in groups:
        heading = f"<h3>{_text(label(group.run.label, 200))}</h3>" if len(groups) > 1 else ""
        parts.append(heading + _list(words.sentences(group.run)))
        for name, lines in words.results(group.run):
            parts.append(f"<h3>{_text(name)}</h3>{_list(lines)}")
        if lacking := words.lacking(group.run, group.known):
            parts.append(f"<p>What is missing here:</p>{_list(lacking)}")
    if tests := words.tests(runs):
        parts.append(_fold("All paired tests", _table(tests)))
    return "".join(parts)


def _fold(summary: str, content: str) -> str:
    return f"<details><summary>{_text(summary)}</summary>{content}</details>"


def _figure(chart: Chart, picture: str) -> str:
    return (
        f'<h3>{_text(chart.title)}</h3><figure><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{_text(chart.title)}, picture">{picture}</div>'
        f"<figcaption>{_text(chart.caption)}</figcaption>"
        f"{_fold('The numbers', _table(chart.table))}</figure>\n"
    )


def _samples(groups: Sequence[Group]) -> str:
    shown = sum(len(group.selection.shown) for group in groups)
    if not shown:
        return "<p>No attempts are shown.</p>"
    total = sum(group.selection.attempts for group in groups)
    drawn = sum(group.selection.drawn for group in groups)
    problems = sum(group.selection.problems for group in groups)
    extra = sum(group.selection.extra for group in groups)
    named = (group.known.task.classes for group in groups if group.known.task)
    classes = next((text for text in named if text), "class")
    more = f" {extra:,} more are there so that no kind is missed." if extra else ""
    return (
        f"<p>{shown:,} of {total:,} attempts are shown: all those at {drawn:,} of {problems:,} "
        f"problems, which were drawn by a hash of their ids.{more} The test split is not among "
        "them. Characters that are not seen, such as control characters, are shown by their "
        "number or picture.</p>"
        f'<noscript><p>Without scripts the samples cannot be shown.</p></noscript>'
        '<p class="print-only">The samples are not printed.</p>'
        f'<form id="filters" role="search" aria-label="Filter the attempts" '
        f'data-classes="{_text(label(classes))}" hidden></form>'
        '<p id="count" role="status" aria-live="polite"></p>'
        '<ol id="list"></ol><button type="button" id="more" hidden>Show 25 more</button>'
    )  # fmt: skip


def _recipes(groups: Sequence[Group]) -> str:
    runs = [group.run for group in groups]
    parts = []
    if len(runs) > 1:
        found = words.recipe_differences(runs)
        parts.append(_table(found) if found else "<p>The recipes of the runs are the same.</p>")
    if found := words.provenance(runs):
        parts.append(_table(found))
    for run in runs:
        values = {k: v for k, v in run.record.recipe.items() if k != "provenance"}
        title = f"The recipe of {label(run.label, 200)}, every value"
        parts.append(_fold(title, f"<pre>{_text(_yaml(values))}</pre>"))
    return "".join(parts)


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
