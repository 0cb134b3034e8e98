"""``star-mlx export``: write a run's model in a format that other programs load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli import completion
from star_mlx.cli.pulled_options import pulled_options
from star_mlx.export import FORMATS, GATE_CHANGED, GATE_PROBLEMS, GGUF_KINDS

if TYPE_CHECKING:
    from star_mlx.export import Exported


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option(
    "--iteration",
    default="best",
    show_default=True,
    metavar="N",
    help="The iteration to export: a number, best or last.",
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
    help="The folder to write, new or empty.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="peft, fused: compare the logits with torch's on the run's own prompts. Needs "
    "pip install 'star-mlx[peft]'.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(GGUF_KINDS),
    default=GGUF_KINDS[1],
    show_default=True,
    help="gguf, --with-base: the type of the weight matrices.",
)
@click.option(
    "--with-base",
    is_flag=True,
    help="gguf-lora: also write the base as a GGUF file, for a base that was not imported from "
    "one.",
)
@click.option(
    "--quantize",
    type=click.Choice(["2", "3", "4", "5", "6", "8"]),
    help="fused: bits per weight, checked by the gate below. The default is float32, exactly the "
    "trained weights.",
)
@click.option(
    "--gate-problems",
    type=click.IntRange(min=1),
    default=GATE_PROBLEMS,
    show_default=True,
    help="Gate of --quantize: dev problems to answer with and without quantization.",
)
@click.option(
    "--gate-changed",
    type=click.FloatRange(0, 1),
    default=GATE_CHANGED,
    show_default=True,
    help="Gate of --quantize: share of the greedy outputs that may change.",
)
@pulled_options
@click.option("--force", is_flag=True, help="Write even if the difference is more than allowed.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print what was written and measured as JSON."
)
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
    """Write a run's model in a format that other programs load.

    The difference from the trained model is measured. RUN may also be a folder fetched by `star-mlx
    pull`. If the difference is more than allowed, nothing is written.
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
    """The lines printed without ``--json``: what was written and measured."""
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
