"""``star-mlx export``: a run's model in the form that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli.pulled_options import pulled_options
from star_mlx.export import FORMATS, GATE_CHANGED, GATE_PROBLEMS, GGUF_KINDS

if TYPE_CHECKING:
    from star_mlx.export import Exported


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--iteration",
    default="best",
    show_default=True,
    metavar="N",
    help="Whose model: a number, best or last.",
)
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(FORMATS),
    help="mlx: the adapter, its tokenizer and its prompt. peft: the adapter for torch. fused: a "
    "model with the adapter in its weights. gguf, gguf-lora: that model, or the adapter, for "
    "llama.cpp.",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write: new, or empty.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="peft and fused: compare the logits with torch, on the run's own prompts; needs "
    "pip install 'star-mlx[peft]'.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(GGUF_KINDS),
    default=GGUF_KINDS[1],
    show_default=True,
    help="gguf, and --with-base: the type of the matrices.",
)
@click.option(
    "--with-base",
    is_flag=True,
    help="gguf-lora: also the base it goes on, as a GGUF file, for one that was not imported from "
    "such a file.",
)
@click.option(
    "--quantize",
    type=click.Choice(["2", "3", "4", "5", "6", "8"]),
    help="fused: bits a weight, with the gate below. By default float32, exactly what was trained.",
)
@click.option(
    "--gate-problems",
    type=click.IntRange(min=1),
    default=GATE_PROBLEMS,
    show_default=True,
    help="The gate of --quantize: dev problems to answer with and without quantization.",
)
@click.option(
    "--gate-changed",
    type=click.FloatRange(0, 1),
    default=GATE_CHANGED,
    show_default=True,
    help="The share of those answers' texts that may change.",
)
@pulled_options
@click.option("--force", is_flag=True, help="Write also what differs by more than is allowed.")
@click.option("--json", "as_json", is_flag=True, help="What was written and measured, as JSON.")
def export(
    run: Path,
    iteration: str,
    form: Any,
    out: Path,
    verify: bool,
    kind: str,
    with_base: bool,
    quantize: str | None,
    gate_problems: int,
    gate_changed: float,
    model: str | None,
    trust_remote_code: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the model of a RUN's iteration for other programs, with what shows that it is the same.

    RUN may also be a folder that `star-mlx pull` fetched. Nothing is written where it differs from
    what was trained by more than is allowed.
    """
    if verify and form not in ("peft", "fused"):
        raise click.UsageError(f"--verify compares --format peft and fused, not {form}")
    if quantize and form != "fused":
        raise click.UsageError(f"--quantize is for --format fused, not {form}")
    if with_base and form != "gguf-lora":
        raise click.UsageError(f"--with-base is for --format gguf-lora, not {form}")
    if verify and quantize:
        raise click.UsageError("--quantize is tried by answers, not by logits: leave --verify out")
    from star_mlx import tui
    from star_mlx.export import export as write

    with tui.ProgressBar() as emit:
        done = write(
            run, iteration, form, out, verify=verify, force=force,
            quantize=int(quantize) if quantize else None, kind=kind, with_base=with_base,
            gate_problems=gate_problems, gate_share=gate_changed, model=model,
            trust_remote_code=trust_remote_code, emit=emit,
        )  # fmt: skip
    if as_json:
        import json

        click.echo(json.dumps(done.as_json()))
        return
    from star_mlx.formatting import harmless

    click.echo(harmless("\n".join(_lines(done))))


def _lines(done: Exported) -> list[str]:
    """What was written and measured, for a person."""
    lines = [f"{done.format} of iteration {done.iteration} of {done.run}"]
    if (found := done.parity) is not None:
        lines.append(_parity(found, found))
        if "torch" in found:
            lines.append(_parity(found, found["torch"]))
    if (gate := done.gate) is not None:
        lines.append(gate["words"])
        lines.append(
            f"{gate['changed']} of {gate['problems']} greedy outputs changed "
            f"({100 * gate['changed_limit']:g}% may)"
        )
    lines += [f"note: {note}" for note in done.notes]
    return [*lines, f"written to {done.folder}: {', '.join(done.files)}"]


def _parity(about: Any, found: Any) -> str:
    one, other = found["compared"]
    return (
        f"{one} and {other}: logits differ by {found['max_abs_logit_difference']:.2g} at most, "
        f"{100 * found['equal_argmax']:.5g}% equal argmax (n = {about['positions']} positions of "
        f"{about['prompts']} prompts; {found['bound']:g} is allowed)"
    )
