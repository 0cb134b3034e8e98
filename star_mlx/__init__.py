"""STaR, the Self-Taught Reasoner (Zelikman et al. 2022), on MLX language models.

The names in ``__all__`` are the public interface; everything else in the package is private and
may change in any version. The import is fast: a name's module is loaded when the name is first
used, and mlx only when a model is opened.

>>> import star_mlx as sx
>>> sx.Problem("p1", sx.Question("1 + 1?"), "2").answer
'2'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

# Not lazy: importing the module star_mlx.star later would replace the function.
from star_mlx.star import star

if TYPE_CHECKING:
    from star_mlx.api import compare, grade, load_model, load_task, open_run, train
    from star_mlx.api.results import Answer, Grades, Measurement
    from star_mlx.api.run import Run
    from star_mlx.engine.scripted import Asked, ScriptedEngine
    from star_mlx.errors import (
        EndpointError,
        ModelError,
        NothingKept,
        PromptError,
        RecipeError,
        RunError,
        StarError,
        TaskError,
        TrainingDiverged,
    )
    from star_mlx.events import (
        Event,
        IterationFinished,
        Notice,
        PhaseStarted,
        Progress,
        RunFinished,
        RunStarted,
        Sampled,
    )
    from star_mlx.settings import (
        Augment,
        Endpoints,
        Evaluate,
        Generate,
        ModelSpec,
        PromptsSpec,
        Recipe,
        Schedule,
        Star,
        TaskSpec,
        Train,
    )
    from star_mlx.store.metrics import Measured, Metrics
    from star_mlx.tasks.simple import SimpleTask
    from star_mlx.types import (
        Amount,
        Attempt,
        Completion,
        Decoding,
        Done,
        Engine,
        Evaluation,
        Example,
        Iteration,
        Model,
        Problem,
        Question,
        Step,
        Task,
        Trained,
    )

__all__ = [
    "Amount",
    "Answer",
    "Asked",
    "Attempt",
    "Augment",
    "Completion",
    "Decoding",
    "Done",
    "EndpointError",
    "Endpoints",
    "Engine",
    "Evaluate",
    "Evaluation",
    "Event",
    "Example",
    "Generate",
    "Grades",
    "Iteration",
    "IterationFinished",
    "Measured",
    "Measurement",
    "Metrics",
    "Model",
    "ModelError",
    "ModelSpec",
    "NothingKept",
    "Notice",
    "PhaseStarted",
    "Problem",
    "Progress",
    "PromptError",
    "PromptsSpec",
    "Question",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "RunFinished",
    "RunStarted",
    "Sampled",
    "Schedule",
    "ScriptedEngine",
    "SimpleTask",
    "Star",
    "StarError",
    "Step",
    "Task",
    "TaskError",
    "TaskSpec",
    "Train",
    "Trained",
    "TrainingDiverged",
    "compare",
    "grade",
    "load_model",
    "load_task",
    "open_run",
    "star",
    "train",
]

_MODULES = (  # the module of each name, as above
    ("api", "compare grade load_model load_task open_run train"),
    ("api.results", "Answer Grades Measurement"),
    ("api.run", "Run"),
    ("engine.scripted", "Asked ScriptedEngine"),
    (
        "errors",
        "EndpointError ModelError NothingKept PromptError RecipeError RunError StarError TaskError "
        "TrainingDiverged",
    ),
    (
        "events",
        "Event IterationFinished Notice PhaseStarted Progress RunFinished RunStarted Sampled",
    ),
    (
        "settings",
        "Augment Endpoints Evaluate Generate ModelSpec PromptsSpec Recipe Schedule Star TaskSpec "
        "Train",
    ),
    ("store.metrics", "Measured Metrics"),
    ("tasks.simple", "SimpleTask"),
    (
        "types",
        "Amount Attempt Completion Decoding Done Engine Evaluation Example Iteration Model "
        "Problem Question Step Task Trained",
    ),
)
_HOME = {name: module for module, names in _MODULES for name in names.split()}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found  # cached for the next use
    return found


def __dir__() -> list[str]:
    return __all__
