"""The errors that a user can fix; any other exception is a bug and stays a traceback."""

from __future__ import annotations


class StarError(Exception):
    """Base of the errors a user can fix. The CLI prints one line and exits with ``exit_code``.

    The text says what is wrong, where, and how to fix it.

    >>> import star_mlx as sx
    >>> try:
    ...     sx.load_task("arithmatic")
    ... except sx.StarError as error:
    ...     print(type(error).__name__, error.exit_code)
    RecipeError 2
    """

    exit_code = 2


class RecipeError(StarError):
    """An unknown, misspelt or ill-typed recipe value."""


class TaskError(StarError):
    """An unknown task, or data a task cannot use."""


class PromptError(StarError):
    """A few-shot prompt file that cannot be used."""


class ModelError(StarError):
    """A base model or adapter that cannot be loaded."""


class EndpointError(StarError):
    """A server that cannot be asked for completions, or whose answers cannot be used."""


class RankError(StarError):
    """A process of several that share a run has died, is silent, or differs from the others."""


class RunError(StarError):
    """A run folder that cannot be made, read, locked or resumed."""


class NothingKept(StarError):
    """An iteration kept no example, so there is nothing to train on."""


class TrainingDiverged(StarError):
    """A training whose loss or gradient is no number any more. Its adapter is not kept."""
