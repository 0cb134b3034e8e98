"""The slides of a run, as far as it has come.

The list only ever grows while the run goes on: the slides of a finished phase stay what they are
and where they are, so that a view can show them by their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from star_mlx.formatting import DOING, interval, percent
from star_mlx.measure.paired import p_words
from star_mlx.progress.state import RunState
from star_mlx.slides.slide import Meter, PhasePlayed, Said, Score, Scores, Slide
from star_mlx.slides.way import Way
from star_mlx.store.metrics import Compared, Measured, Metrics
from star_mlx.types import Phase

SHOWN = 6  # accuracies below a large figure: the base's, and the latest
MOST = 14  # accuracies on the slide of the whole run


def deck(state: RunState, way: Way | None = None, verdict: Sequence[str] = ()) -> list[Slide]:
    """The slides of a run.

    Args:
        state: how far the run is.
        way: the way of one problem, shown after its iteration.
        verdict: whether it helped, in sentences, if the run is finished.
    """
    slides, scores = [*_opening(state)], list[Score]()
    for line in state.metrics:
        slides += _finished(state, line, scores)
        slides += way.slides(line.iteration) if way else []
    if state.finished is None:
        slides += _begun(state)
    else:
        slides += _end(scores, verdict)
    return slides


def working(phase: PhasePlayed, done: int) -> Slide:
    """The slide while a phase goes on."""
    doing = "measuring on dev" if phase.phase == "evaluate" else DOING[phase.phase]
    title = f"{_name(phase.iteration)}: {doing}"
    unit = "training steps" if phase.phase == "train" else "problems"
    count = Said(f"{min(done, phase.units)} of {phase.units} {unit}", "strong")
    return Slide(title, (Meter(done, phase.units), Said(""), count))


def waiting(state: RunState) -> Slide:
    """The slide while the next one is not known yet: what the model is doing now."""
    if state.idle:
        return Slide("Waiting for the run", (Said(state.idle, "bad"),))
    if state.at is None:
        return Slide("The model gets ready", (Said("The next phase begins in a moment."),))
    at = state.at
    return working(PhasePlayed(at.iteration, at.phase, at.total, at.seconds), at.done)


def now(state: RunState) -> str:
    """What the model is doing, in a few words; empty if the run is not going on."""
    if state.finished or state.idle or state.at is None:
        return ""
    at = state.at
    share = percent(min(1.0, at.done / max(1, at.total)))
    return f"now: {_name(at.iteration).lower()}, {DOING[at.phase]} {share}%"


# --------------------------------------------------------------------------- the parts of a lesson


def _opening(state: RunState) -> Iterator[Slide]:
    recipe = state.recipe
    task = recipe.get("task", {}).get("name", "")
    star = recipe.get("star", {})
    yield Slide(
        "STaR: a model learns from its own right answers",
        (
            Said(f"The task: {task}", "strong"),
            Said(f"The model: {recipe.get('model', {}).get('path', '')}", "strong"),
            Said(""),
            Said("Can it teach itself to reason, if we only tell it which answers are right?"),
        ),
    )
    steps = ["The model writes a rationale and an answer for each problem."]
    steps.append("Keep the rationales whose answer is right.")
    if _with_hint(star):
        steps.append("Wrong? Try again with the right answer as a hint.")
    steps.append("Train a fresh adapter on what was kept. Then start again.")
    parts = [part for n, text in enumerate(steps, 1) for part in (Said(f"{n}. {text}"), Said(""))]
    yield Slide("One iteration", tuple(parts[:-1]))
    if star.get("evaluate", True):
        yield _predict(0, [])


def _finished(state: RunState, line: Metrics, scores: list[Score]) -> Iterator[Slide]:
    """The slides of a finished iteration; its score is added to ``scores``."""
    star, number = state.recipe.get("star", {}), line.iteration
    if number:
        problems, solved = line.problems or 0, line.solved or 0
        yield _generated(number, problems, solved, line.took("generate"), star)
        if _with_hint(star):
            kept, seconds = line.rationalized or 0, line.took("rationalize")
            yield _hinted(star, number, problems - solved, kept, seconds)
        yield _trained(number, line.steps or 0, line.took("train"))
        if star.get("evaluate", True):
            yield _predict(number, scores)
    if line.dev and line.dev.n:
        scores.append(Score(number, line.dev))
        yield _reveal(line, line.dev, scores)


def _begun(state: RunState) -> Iterator[Slide]:
    """The slides of the phases that are over in the iteration that goes on."""
    star, generate = state.recipe.get("star", {}), state.recipe.get("generate", {})
    phases = {at.phase: at for at in state.past}
    first = phases.get("generate")
    if first is None or first.right is None or generate.get("samples", 1) != 1:
        return  # its figures are known when the iteration is finished
    number = first.iteration
    yield _generated(number, first.total, first.right, first.seconds, star)
    over: set[Phase] = {*phases} | ({state.at.phase} if state.at else set())
    if _with_hint(star):
        if not over & {"train", "evaluate"}:
            return
        again = phases.get("rationalize")
        kept, seconds = (again.kept or 0, again.seconds) if again else (0, None)
        yield _hinted(star, number, first.total - first.right, kept, seconds)
    if steps := phases.get("train"):
        yield _trained(number, steps.total, steps.seconds)
        if star.get("evaluate", True):
            lines = [line for line in state.metrics if line.dev and line.dev.n]
            yield _predict(number, [Score(m.iteration, m.dev) for m in lines if m.dev])


def _end(scores: Sequence[Score], verdict: Sequence[str]) -> Iterator[Slide]:
    if scores:
        every = Scores(_shown(scores, MOST), average=True)
        yield Slide("The whole run", (every,))
    if verdict:
        first, *others = verdict[:2]  # after them comes its cost
        more = [part for text in others for part in (Said(""), Said(text))]
        yield Slide("Did it help?", (Said(first, "strong"), *more))


# --------------------------------------------------------------------------- single slides


def _generated(
    number: int, problems: int, solved: int, seconds: float | None, star: Mapping[str, Any]
) -> Slide:
    parts = [
        Said(f"{solved} of {problems} problems are right", "strong"),
        Said(""),
        Said("Their rationales may be kept, because they end in the right answer."),
    ]
    if not star.get("require_valid_steps"):
        parts.append(Said("Whether the steps before it are right is not checked."))
    return Slide(
        f"{_name(number)}: it tries without help",
        tuple(parts),
        phase=PhasePlayed(number, "generate", problems, seconds or 0.0),
    )


def _hinted(
    star: Mapping[str, Any], number: int, failed: int, kept: int, seconds: float | None
) -> Slide:
    title = f"{_name(number)}: the failures again, with a hint"
    if not failed:
        return Slide(title, (Said("There is no failure: every answer is right.", "strong"),))
    last = star.get("rationalize_until")
    if last is not None and number > last:
        words = f"After iteration {last} this run tries no failure again."
        return Slide(title, (Said(words, "strong"),))
    parts = (
        Said(f"{kept} of {failed} failures are right now", "strong"),
        Said(""),
        Said("The hint is the right answer. The model has to find a way to it."),
        Said("The hint is taken out again before training."),
    )
    return Slide(title, parts, phase=PhasePlayed(number, "rationalize", failed, seconds or 0.0))


def _trained(number: int, steps: int, seconds: float | None) -> Slide:
    parts = (
        Said(f"{steps} training steps on what was kept", "strong"),
        Said(""),
        Said("The adapter is new in every iteration; the base below it never changes."),
        Said("The loss counts the rationale and the answer, not the question."),
    )
    return Slide(
        f"{_name(number)}: training",
        parts,
        phase=PhasePlayed(number, "train", steps, seconds or 0.0),
    )


def _predict(number: int, scores: Sequence[Score]) -> Slide:
    if number == 0:
        about = "Nothing is trained yet."
    else:
        about = "Its adapter was trained on rationales that the model wrote itself."
    last = (Said(f"Before: {percent(scores[-1].dev.accuracy, 1)}%"),) if scores else ()
    parts = (
        Said("How many of the dev problems will it get right, in per cent?", "strong"),
        Said(""),
        Said(about),
        Said("It is asked the same dev problems in every iteration."),
        *last,
    )
    return Slide(f"{_name(number)}: your guess", parts, asks=number)


def _reveal(line: Metrics, dev: Measured, scores: Sequence[Score]) -> Slide:
    found = (line.compared or {}).get("best") or (line.compared or {}).get("base")
    said = [Said(f"{dev.correct} of {dev.n} dev problems; 95% interval {interval(dev.ci95)}%")]
    if found:
        said.append(_against(found))
    shown = _shown(scores, SHOWN)
    return Slide(
        f"{_name(line.iteration)}: the result",
        (Score(line.iteration, dev), *said, *([Scores(shown)] if len(shown) > 1 else [])),
        phase=PhasePlayed(line.iteration, "evaluate", dev.n, line.took("evaluate") or 0.0),
    )


def _shown(scores: Sequence[Score], most: int) -> tuple[Score, ...]:
    """The first score, and the latest, ``most`` in all."""
    return (*scores[:1], *scores[1:][-most + 1 :])


def _against(found: Compared) -> Said:
    other = _name(found.iteration).lower()
    test = f"(McNemar test, {p_words(found.p)})"
    if found.verdict == "not different":
        return Said(f"The difference from {other} may be chance {test}.")
    return Said(f"Significantly {found.verdict} than {other} {test}.")


def _name(number: int) -> str:
    return f"Iteration {number}" if number else "The base"


def _with_hint(star: Mapping[str, Any]) -> bool:
    return bool(star.get("rationalize", True)) and star.get("p_rationalization", 1.0) > 0
