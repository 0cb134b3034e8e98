"""The stages of an iteration in a line, each with its yield: the loop at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len
from rich.text import Text

from star_mlx.augment.kinds import REWRITTEN
from star_mlx.events import Progress
from star_mlx.formatting import interval, percent
from star_mlx.measure.accuracy import wilson
from star_mlx.progress.state import RunState
from star_mlx.progress.time_left import asks_bare
from star_mlx.tui.colours import BOLD, GOOD, REST
from star_mlx.tui.lines import Lines
from star_mlx.types import Phase

When = Literal["over", "now", "later"]
MARKS: dict[When, tuple[str, str]] = {"over": ("✓", "+"), "now": ("●", "*"), "later": ("○", "-")}
STYLES: dict[When, str] = {"over": "", "now": GOOD + BOLD, "later": REST}
BETWEEN = (" ▸ ", " > ")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, whether it is over, and its yield, the most important part first."""

    name: str
    when: When
    found: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The columns it takes, with its mark."""
        return max(cell_len(self.name) + 2, cell_len(self.text))

    @property
    def text(self) -> str:
        """The yield in words."""
        return ", ".join(self.found)


def stages(state: RunState) -> list[Stage]:
    """The stages of the current iteration, or of the next one between two."""
    if state.finished:
        return []
    baseline, at = state.recipe.get("baseline"), state.at
    last = max((line.iteration for line in state.metrics), default=-1)
    number = at.iteration if at else last + 1
    if number == 0 or baseline in ("zero-shot", "few-shot"):
        return _of_base(state)
    if at is not None and number <= last:  # the test split, once the loop is over
        return [Stage("measure on test", "now", _measured(at))]
    trained_alone = baseline not in (None, "rft")
    found = [*_new_questions(state), _generate(state), _keep(state), *_with_hint(state)]
    found = [] if trained_alone else found
    found.append(_train(state))
    if state.recipe.get("star", {}).get("evaluate", True):
        at = _at(state, "evaluate")
        found.append(Stage("measure", _when(state, "evaluate"), _measured(at) if at else ()))
    return found


def stage_lines(state: RunState, width: int) -> list[Lines]:
    """The stages and below each its yield, in two lines; nothing if the run is over."""
    found = stages(state)
    if not found:
        return []
    shown = fitted(found, width)
    if shown is None:  # not even their names fit
        return [Lines(lambda ascii_only: [_only(found, ascii_only)])]
    return [Lines(lambda ascii_only: _drawn(shown, ascii_only), height=2)]


def fitted(found: Sequence[Stage], width: int) -> list[Stage] | None:
    """The stages with as much of their yields as fits; None if their names do not fit.

    The last part of the longest yield is left out first, of the current stage's at the very end.
    """
    shown = list(found)
    while sum(stage.width for stage in shown) + len(BETWEEN[0]) * (len(shown) - 1) > width:
        spare = [n for n, s in enumerate(shown) if cell_len(s.text) > cell_len(s.name) + 2]
        if not spare:
            return None
        most = max(spare, key=lambda n: (shown[n].when != "now", shown[n].width))
        shown[most] = replace(shown[most], found=shown[most].found[:-1])
    return shown


def _drawn(shown: Sequence[Stage], ascii_only: bool) -> Iterator[Text]:
    names, yields = Text(), Text()
    for index, stage in enumerate(shown):
        if index:
            names.append(BETWEEN[ascii_only], REST)
            yields.append(" " * len(BETWEEN[ascii_only]))
        style = STYLES[stage.when]
        mark = f"{MARKS[stage.when][ascii_only]} {stage.name}"
        names.append(mark, style).append(" " * (stage.width - cell_len(mark)))
        yields.append(stage.text, style).append(" " * (stage.width - cell_len(stage.text)))
    yield names
    yield yields


def _only(found: Sequence[Stage], ascii_only: bool) -> Text:
    """The current stage alone: ``"● with hint 3/5: 20/50, kept 12"``."""
    number = next((n for n, s in enumerate(found) if s.when == "now"), 0)
    stage = found[number]
    mark = MARKS[stage.when][ascii_only]
    words = f": {stage.text}" if stage.found else ""
    return Text(f"{mark} {stage.name} {number + 1}/{len(found)}{words}", STYLES[stage.when])


def _of_base(state: RunState) -> list[Stage]:
    """Iteration 0: the base with the few-shot prompt, and without examples."""
    over = [past for past in state.past if past.phase == "evaluate"]
    all_of = [*over, *([state.at] if state.at else [])]
    names = ["measure the base"]
    if asks_bare(state.recipe):
        names.append("measure it without examples")
    found = []
    for index, name in enumerate(names):
        at = all_of[index] if index < len(all_of) else None
        when: When = "later" if at is None else "now" if at is state.at else "over"
        found.append(Stage(name, when, _measured(at) if at else ()))
    return found


def _new_questions(state: RunState) -> list[Stage]:
    """The rewritings of the problems, if there are any: of the kind written last."""
    shares = state.recipe.get("augment") or {}
    if not any(shares.get(kind) for kind in REWRITTEN):
        return []
    begun = [*state.past, *([state.at] if state.at else [])]
    at = next((at for at in reversed(begun) if at.phase == "augment"), None)
    when = _when(state, "augment")
    done = () if at is None else (f"{at.done}/{at.total}" if when == "now" else f"{at.kept}",)
    return [Stage("new questions", when, done)]


def _generate(state: RunState) -> Stage:
    at, when = _at(state, "generate"), _when(state, "generate")
    if at is None:
        return Stage("generate", when)
    done = f"{at.done}/{at.total}" if when == "now" else f"{at.total}"
    return Stage("generate", when, (done, *_right(at)))


def _keep(state: RunState) -> Stage:
    at, when = _at(state, "generate"), _when(state, "generate")
    known = at is not None and at.kept is not None and at.judged
    found = (f"{at.kept}",) if at and known else ()
    return Stage("keep", "over" if when == "over" else "later", found)


def _with_hint(state: RunState) -> list[Stage]:
    star = state.recipe.get("star", {})
    if not star.get("rationalize", True) or star.get("p_rationalization", 1.0) == 0:
        return []
    at, when = _at(state, "rationalize"), _when(state, "rationalize")
    if at is None:
        return [Stage("with hint", when, ("none to try",) if when == "over" else ())]
    if when == "over":
        kept = "" if at.kept is None else f"{at.kept} of "
        return [Stage("with hint", when, (f"{kept}{at.total}",))]
    kept_so_far = (f"kept {at.kept}",) if at.judged else ()
    return [Stage("with hint", when, (f"{at.done}/{at.total}", *kept_so_far))]


def _train(state: RunState) -> Stage:
    at, when = _at(state, "train"), _when(state, "train")
    if at is None:
        return Stage("train", when)
    done = f"{at.done}/{at.total}" if when == "now" else f"{at.total} steps"
    return Stage("train", when, (done, *([] if at.loss is None else [f"loss {at.loss:.3f}"])))


def _measured(at: Progress) -> tuple[str, ...]:
    """``("97.6% [94-99]",)``, and before all is measured the number done."""
    known = at.judged and at.right is not None
    share = f"{percent((at.right or 0) / (at.judged or 1), 1)}%" if known else ""
    ends = f" [{interval(wilson(at.right or 0, at.judged or 0))}]" if known else ""
    if at.done < at.total:
        return (f"{at.done}/{at.total}", *([share] if share else []))
    return (share + ends,) if share else (f"{at.total}",)


def _right(at: Progress) -> list[str]:
    """The share of right answers among the judged ones: ``["right 71%"]``; empty if unknown."""
    if not at.judged or at.right is None:
        return []
    return [f"right {percent(at.right / at.judged)}%"]


def _at(state: RunState, phase: Phase) -> Progress | None:
    """The progress of a phase of this iteration, if it has begun."""
    begun = [*state.past, *([state.at] if state.at else [])]
    return next((at for at in begun if at.phase == phase), None)


ORDER: tuple[Phase, ...] = ("augment", "generate", "rationalize", "train", "evaluate")


def _when(state: RunState, phase: Phase) -> When:
    if state.at is None:
        return "later"
    now, asked = ORDER.index(state.at.phase), ORDER.index(phase)
    return "now" if now == asked else "over" if asked < now else "later"
