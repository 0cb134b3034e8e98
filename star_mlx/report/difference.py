"""The differences of two texts, word by word, in a compact form for the page."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

WORK = 400_000  # pairs of words: texts with more are not compared

_WORDS = re.compile(r"\s+|\S+")


def operations(old: str, new: str) -> str | None:
    """The edits from the old text to the new one, as ``"=12-3+5"``: keep 12 UTF-16 code units,
    delete 3, insert 5. None if the texts are too long to be compared.

    JavaScript counts strings in these units.
    """
    if old == new:
        return f"={_units(old)}" if old else ""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    if len(before) * len(after) > WORK:
        return None
    parts = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            parts.append(f"={_units(''.join(before[i:j]))}")
            continue
        if i < j:
            parts.append(f"-{_units(''.join(before[i:j]))}")
        if k < m:
            parts.append(f"+{_units(''.join(after[k:m]))}")
    return "".join(parts)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
