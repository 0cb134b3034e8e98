"""Several right answers of one problem, in the one text that ``Problem.answer`` is.

They are shown as "Paris ¦ Lutetia". The sign is followed by a hair space, which no data has there,
so a text of the data is never taken for two answers.
"""

from __future__ import annotations

from collections.abc import Iterable

_BETWEEN = " ¦\u200a"


def joined(golds: Iterable[str]) -> str:
    """One text of all accepted answers, each once, in their order."""
    return _BETWEEN.join(dict.fromkeys(golds))


def accepted(gold: str) -> tuple[str, ...]:
    """Every accepted answer; the first is the one that hints and examples show.

    >>> accepted(joined(["Paris", "Lutetia"])), accepted("Paris | Lutetia")
    (('Paris', 'Lutetia'), ('Paris | Lutetia',))
    """
    return tuple(gold.split(_BETWEEN))
