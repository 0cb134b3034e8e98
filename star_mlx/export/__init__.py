"""Write adapters in the formats of other programs, and check that they compute the same.

Importing it loads nothing heavy; ``export`` does.

May import ``run``, ``gguf``, ``engine`` and what is below them; not ``share``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from star_mlx.errors import RunError

if TYPE_CHECKING:
    from star_mlx.events import Emit
    from star_mlx.export.source import ExportSource, WrittenFormat

Format = Literal["mlx", "peft", "fused", "gguf", "gguf-lora"]
FORMATS: tuple[Format, ...] = get_args(Format)
GGUF_KINDS = ("F32", "F16", "Q8_0", "Q4_0")
GATE_PROBLEMS, GATE_CHANGED = 100, 0.1


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export: the ``files`` of ``folder`` by name, ``notes`` about them, and the
    content of ``parity.json`` and ``gate.json`` if they were made."""

    format: Format
    run: str
    iteration: int
    folder: Path
    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    parity: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}


def export(
    run: Path,
    iteration: str,
    format: Format,
    out: Path,
    *,
    verify: bool = False,
    force: bool = False,
    quantize: int | None = None,
    kind: str = "F16",
    with_base: bool = False,
    gate_problems: int = GATE_PROBLEMS,
    gate_share: float = GATE_CHANGED,
    model: str | None = None,
    trust_remote_code: bool = False,
    emit: Emit = lambda event: None,
) -> Exported:
    """Write the model of a run's iteration to the new folder ``out``, atomically.

    Args:
        run: the run folder, or one that was pulled.
        iteration: a number, ``best`` or ``last``.
        format: see ``docs/export.md``.
        out: a folder that does not exist or is empty.
        verify: compare with torch (and PEFT), which must be installed; ``peft`` and ``fused`` only.
        force: write the model even if it differs by more than allowed.
        quantize: bits per weight of ``fused``; None for float32.
        kind: the type of the matrices of ``gguf``, one of ``GGUF_KINDS``.
        with_base: also write the base beside a ``gguf-lora``, as a GGUF file of that ``kind``.
        gate_problems: the number of dev problems on which a quantized ``fused`` is tested.
        gate_share: the share of its greedy outputs that may differ from the adapter's.
        model: the base of a pulled folder, if it is not on the Hub.
        trust_remote_code: whether code that comes with such a base may be run.
        emit: called with every event.

    Raises:
        StarError: no such run or iteration, an adapter that the format does not support, a model
            that differs by too much from the trained one, or a folder that cannot be written.
    """
    from star_mlx.store.files import partial_folder, whole_folder

    out = out.expanduser().absolute()
    partial = partial_folder(out, "export")
    from star_mlx.export import prompt
    from star_mlx.export.mlx_format import write_json
    from star_mlx.export.source import source

    found = source(run, iteration, model=model, trust_remote_code=trust_remote_code)
    if found.pulled is not None and format == "mlx":
        raise RunError(f"{run} is in the format mlx already: copy it")
    setup = prompt.setup(found)
    with whole_folder(partial, out):
        if format == "peft":
            from star_mlx.export import peft_format

            written = peft_format.write(found, setup, partial, verify, force, emit)
        elif format == "fused":
            from star_mlx.export import fused

            limits = fused.Limits(gate_problems, gate_share)
            written = fused.write(found, setup, partial, quantize, limits, verify, force, emit)
        else:
            written = _plain(format, found, partial, kind, with_base)
        write_json(partial / "prompt.json", prompt.as_json(found, setup))
        if format == "mlx":  # `star-mlx try` accepts such a folder, like a pulled one
            from star_mlx.export import run_record

            run_record.carry(run, str(found.iteration), partial)
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    return Exported(
        format, str(run), found.iteration, out, tuple(names),
        written.notes, written.parity, written.gate,
    )  # fmt: skip


def _plain(
    format: Format, found: ExportSource, folder: Path, kind: str, with_base: bool
) -> WrittenFormat:
    """Write one of the formats without a comparison."""
    from star_mlx.export import mlx_format
    from star_mlx.export.source import WrittenFormat

    if format == "mlx":
        return mlx_format.write(found, folder)
    from star_mlx.export import gguf_lora, gguf_model

    if format == "gguf":
        gguf_model.write(found, folder, kind)
    else:
        gguf_lora.write(found, folder)
        if with_base:
            base = folder / f"base-{kind}.gguf"
            gguf_model.convert(found.base, base, kind, None, title=found.base.folder.name)
    return WrittenFormat()
