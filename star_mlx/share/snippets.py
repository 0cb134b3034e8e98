"""The code in a card that loads the model of a repository; it is run by tests.

The code is in ``templates/``, and ``usage.md.j2`` is the section of the card with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_mlx.engine.text import clock
from star_mlx.export.facts import BaseFacts, Facts
from star_mlx.gguf import names as gguf_names
from star_mlx.report.templating import Safe
from star_mlx.share.markdown import document


def section(facts: Facts, repo_id: str, formats: Sequence[str], notes: Sequence[str]) -> str:
    """The section of the card on loading the model; ``notes`` say which formats are missing."""
    return document("usage.md.j2", **values(facts, repo_id, formats, notes))


def mlx(facts: Facts, repo_id: str) -> str:
    """Python code that loads the model with mlx-lm and asks it."""
    return document("mlx.py.j2", **values(facts, repo_id))


def peft(facts: Facts, repo_id: str) -> str:
    """Python code that loads the model with PEFT and asks it."""
    return document("peft.py.j2", **values(facts, repo_id))


def values(
    facts: Facts, repo_id: str, formats: Sequence[str] = (), notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The values of the templates, by name."""
    how = facts.asking
    places = {f"{{choice {label}}}": text for label, text in how.posed.choices}
    places["{question}"] = (
        how.posed.text
    )  # last, as it may contain text that looks like a placeholder
    return {
        "base": facts.base,
        "how": how,
        "clock": how.date and clock(how.date),
        "repo": repo_id,
        "pulled": "pulled/" + repo_id.replace("/", "--"),
        "formats": formats,
        "notes": notes,
        "question": Safe("'" + how.question.replace("'", "'\\''").replace("\n", " ") + "'"),
        "base_loads": _loads(facts.base),
        "llama_cpp": _llama_cpp(facts.base, formats),
        "placeholders": places,
    }


def _loads(base: BaseFacts) -> bool:
    """Whether transformers can load the base from the Hub."""
    return base.id is not None and (base.bits or 16) >= 16


def _llama_cpp(base: BaseFacts, formats: Sequence[str]) -> str | None:
    """How to use the model with llama.cpp, if possible: from the repository's ``gguf``, or from an
    ``export``, with or without the repository's ``gguf-lora``."""
    if "gguf" in formats:
        return "gguf"
    if base.architecture not in gguf_names.MODELS or "mlx" not in formats:
        return None
    return "gguf-lora" if "gguf-lora" in formats else "export"
