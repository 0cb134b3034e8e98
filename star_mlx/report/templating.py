"""Documents from jinja2 templates, in which every value is escaped unless it is ``Safe``.

The suffix of a template's name gives the format: ``page.html.j2`` is HTML. jinja2 is imported when
the first document is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.runtime import Context


class Safe(str):
    """A text that is inserted in a document unchanged: markup, or code that is already quoted."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tells jinja2 not to escape it."""
        return self


def environment(folder: Path, escapes: Mapping[str, Callable[[Any], str]]) -> Environment:
    """The templates of a folder.

    A line with only a block leaves no empty line in the document; ``+%}`` keeps the newline.

    Args:
        folder: the files, named ``NAME.KIND.j2``.
        escapes: for each kind, the function that escapes a value.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined, pass_context

    @pass_context
    def escaped(context: Context, value: Any) -> Any:
        if hasattr(value, "__html__") or isinstance(value, Undefined):
            return value  # it is safe, or jinja2 refuses it
        kind = str(context.name).split(".")[-2]
        return Safe(escapes[kind](value))

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
