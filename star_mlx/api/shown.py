"""Send the events of a call to the caller's function, the screen, or both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from star_mlx.events import Emit, Event, Notice


@contextmanager
def shown(
    on_event: Emit | None, progress: bool | None, *, brief: bool = False, stopped: str = ""
) -> Iterator[Emit]:
    """The function to which a call emits its events.

    Args:
        on_event: the caller's function.
        progress: whether to show progress; by default only if there is no ``on_event``.
        brief: on a terminal, show only a progress bar, for a single measurement.
        stopped: the text on the screen if the call is interrupted.
    """
    told: list[Emit] = [] if on_event is None else [on_event]
    wanted = on_event is None if progress is None else progress
    with ExitStack() as stack:
        screen = stack.enter_context(_screen(brief)) if wanted else None
        if screen is not None:
            told.append(screen)

        def emit(event: Event) -> None:
            for tell in told:
                tell(event)

        try:
            yield emit
        except KeyboardInterrupt:
            if screen is not None and stopped:
                screen(Notice("info", stopped))
            raise


def _screen(brief: bool) -> Any:
    """A screen, which is a context manager and called with each event."""
    from star_mlx import tui

    if "IPython" in sys.modules and tui.in_notebook():
        return tui.NotebookScreen()
    return tui.ProgressBar() if brief else tui.screen()
