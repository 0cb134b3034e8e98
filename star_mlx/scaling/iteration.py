"""An iteration of a recipe on some machines: what ``star-mlx plan`` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from star_mlx.engine import auto, estimate
from star_mlx.engine.shape import ADAPTER_ITEM
from star_mlx.errors import ModelError
from star_mlx.scaling import formula
from star_mlx.scaling.formula import Calibration, CompletionSizes, RowSizes, Sized, Spent
from star_mlx.scaling.hardware import GIB, HERE, Hardware, Machines
from star_mlx.scaling.sizes import ModelSizes
from star_mlx.scaling.workload import UNKNOWN, Assumed, Workload, workload
from star_mlx.settings import Recipe
from star_mlx.types import Phase

if TYPE_CHECKING:
    from star_mlx.engine.needs import Needs
    from star_mlx.run.timing import Timing


@dataclass(frozen=True, slots=True)
class Forecast:
    """An iteration on some machines: seconds of each phase and what most of them are for, the
    memory of a machine, and bytes on disk and between the machines."""

    work: Workload
    model: Sized
    parameters: int
    bits: int
    machines: Machines
    phases: dict[Phase, Spent]
    needs: Needs
    disk: int
    adapter: int
    calibration: Calibration | None = None  # None: nothing was measured

    @property
    def seconds(self) -> float:
        """Seconds of all phases."""
        return sum(one.seconds for one in self.phases.values())

    @property
    def sent(self) -> float:
        """Bytes that a machine sends to the others."""
        return sum(one.sent for one in self.phases.values())

    @property
    def memory(self) -> int:
        """Bytes of memory at the peak, within the bound."""
        bound = self.needs.bound
        return min(self.needs.peak, bound.size) if bound else self.needs.peak

    def to_json(self) -> dict[str, Any]:
        """The forecast as plain data."""
        return {
            "model": {
                "name": self.model.name, "parameters": self.parameters, "bits": self.bits,
                "weight_bytes": self.model.held, "adapter_bytes": self.adapter,
            },
            "machines": {"number": self.machines.number, **asdict(self.machines.each)},
            "work": asdict(self.work),
            "phases": {name: one._asdict() for name, one in self.phases.items()},
            "seconds": self.seconds,
            "memory_bytes": self.memory,
            "memory_cuts": self.needs.cuts(),
            "disk_bytes": self.disk,
            "sent_bytes": self.sent,
            "measured": self.calibration._asdict() if self.calibration else None,
        }  # fmt: skip


def forecast(
    recipe: Recipe,
    work: Workload,
    model: ModelSizes,
    machines: Machines,
    calibration: Calibration | None = None,
) -> Forecast:
    """Compute an iteration; a calibration corrects its times.

    Raises:
        ModelError: the model, or the work of one row, does not fit into the memory of a machine.
    """
    factors = calibration or Calibration()
    own = for_device(recipe, machines.each, machines.number)
    sized, needs = on_device(own, work, model, machines.each)
    answer = completions(own, work, needs)
    later = work.iteration > recipe.star.start_iteration

    def asked(count: int, *, adapted: bool) -> Spent:
        made = formula.generation(
            count, answer, sized, machines, adapted=adapted, sent=work.attempt_bytes
        )
        return made._replace(seconds=made.seconds * factors.generation)

    rows = row_sizes(recipe, work, needs, machines.each)
    trained = formula.training(work.steps, rows, recipe.train, sized, machines)
    phases: dict[Phase, Spent] = {
        "generate": asked(work.attempts, adapted=later),
        "rationalize": asked(work.hinted, adapted=later),
        "train": trained._replace(seconds=trained.seconds * factors.training),
        "evaluate": asked(work.dev, adapted=True),
    }
    adapter = ADAPTER_ITEM * sized.shape.adapter_parameters(recipe.train)
    tried = work.attempts + work.hinted + work.dev
    disk = adapter + tried * work.attempt_bytes + work.rows * work.example_bytes
    return Forecast(
        work, sized, model.parameters, model.bits, machines, phases, needs, disk, adapter,
        calibration,
    )  # fmt: skip


def completions(recipe: Recipe, work: Workload, needs: Needs) -> CompletionSizes:
    """The completions that a machine is asked for; at once as many as fit into its memory."""
    generate = recipe.generate
    return CompletionSizes(
        few_shot=work.few_shot,
        prompt=work.prompt,
        completion=work.completion,
        longest=generate.max_tokens,
        chunk=generate.per_chunk * generate.samples,
        at_once=max(1, min(needs.rows)),
    )


def row_sizes(recipe: Recipe, work: Workload, needs: Needs, on: Hardware) -> RowSizes:
    """The rows of a step, in passes of as many tokens as fit into the memory."""
    part = max(1, min(needs.tokens) // on.processors)
    batch = min(recipe.train.batch_size, work.rows)
    return RowSizes(work.row, work.completion + 1, batch, part)


def for_device(recipe: Recipe, on: Hardware, number: int = 1) -> Recipe:
    """The recipe as one of ``number`` machines works on it: with its part of a batch of training,
    and with numbers for ``auto``."""
    batch = -(-recipe.train.batch_size // number)
    rows, chunk = auto.CPU if on.kind == "cpu" else auto.GPU
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"batch_size": batch}),
            "generate": recipe.generate.sized(rows, chunk),
        }
    )


def on_device(
    recipe: Recipe, work: Workload, model: ModelSizes, on: Hardware
) -> tuple[Sized, Needs]:
    """A model on a device, and the memory of a recipe's work there.

    Raises:
        ModelError: it does not fit.
    """
    cpu = on.kind == "cpu"
    shape = model.shape(4 if cpu or model.bits == 32 else 2, compiled=not cpu)
    if not cpu:
        held = model.stored()
    else:
        held = estimate.in_memory(model.folder) if model.folder else model.expanded()
    needs = estimate.elsewhere(
        recipe, shape, held, cpu=cpu, processors=on.processors, bound=on.bound,
        prefix=work.few_shot, longest=work.longest, row=work.longest_row,
    )  # fmt: skip
    _check(model, on, needs)
    item = 4.0 if cpu else model.item
    unread = 0 if model.tied else round(item * model.head)
    folded = round(shape.itemsize * shape.linear_parameters + item * model.head)
    read = held - unread
    return Sized(model.name, shape, held, read, folded if needs.folded and not cpu else read), needs


def _check(model: ModelSizes, on: Hardware, needs: Needs) -> None:
    """Refuse a model that does not fit, with the arithmetic."""
    bound = needs.bound
    if bound is None:
        return
    each = 4.0 if on.kind == "cpu" else model.item
    what = (
        f"{model.name} does not fit into {on.name}: its weights take {needs.weights / GIB:.3g} GiB "
        f"({model.parameters / 1e9:.3g} billion at about {each:.3g} bytes each)"
    )
    less = "Choose a smaller model, fewer bits, or a machine with more memory"
    room = f"and star-mlx takes at most {bound.size / GIB:.3g} GiB there ({bound})"
    if needs.weights > bound.size:
        raise ModelError(f"{what}, {room}. {less}")
    if not needs.rows[1] or not needs.tokens[1]:
        parts = ", and ".join(needs.cuts())
        raise ModelError(
            f"{what}, decoding up to {needs.decoding / GIB:.2g} more and training "
            f"{needs.training / GIB:.2g}, {room}: {parts}. {less}"
        )


def of_recipe(
    recipe: Recipe,
    model: ModelSizes,
    machines: Machines,
    n: int | None = None,
    assumed: Assumed = UNKNOWN,
    *,
    measure: bool = False,
) -> Forecast:
    """Compute an iteration of a recipe, by default its first.

    Args:
        measure: open the model and try it, which must be on this machine, to correct the times.

    Raises:
        StarError: something does not fit, or is not on this machine.
    """
    from star_mlx.run import at_hand, timing

    if machines.each.name != HERE:  # elsewhere ``auto`` is not what it is here
        recipe = for_device(recipe, machines.each)
    at = at_hand.gather(recipe, bare=model.folder is None)
    number = recipe.star.start_iteration if n is None else n
    made = timing.of(at) if measure else None
    if made is not None and made.completion_tokens:
        assumed = Assumed(
            1 - made.right if assumed.failures is None else assumed.failures,
            assumed.prompt,
            assumed.completion or made.completion_tokens,
        )
    work = workload(at, number, assumed)
    if made is None:
        return forecast(at.recipe, work, model, machines)
    factors = calibrated(at.recipe, work, model, machines.each, made)
    return forecast(at.recipe, work, model, machines, factors)


def calibrated(
    recipe: Recipe, work: Workload, model: ModelSizes, on: Hardware, timing: Timing
) -> Calibration:
    """How many times as long as computed a measurement on this machine took."""
    own = for_device(recipe, on)
    sized, needs = on_device(own, work, model, on)
    length = timing.completion_tokens or recipe.generate.max_tokens
    answer = completions(own, replace(work, completion=length), needs)
    made = formula.chunk(answer, timing.attempts, sized, on, adapted=False)
    rows = row_sizes(recipe, work, needs, on)
    step = formula.step(rows, recipe.train, sized, on, recipe.train.batch_size)
    return Calibration(
        timing.attempt_seconds * timing.attempts / made.seconds, timing.step_seconds / step
    )
