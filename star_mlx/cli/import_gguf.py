"""``star-mlx import-gguf``: convert a GGUF file to a model folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("import-gguf")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write, new or empty.",
)
@click.option(
    "--bits",
    type=click.Choice(["4", "8"]),
    help="Quantize the weights of an F32, F16 or BF16 file. By default they are kept as they are.",
)
def import_gguf(file: Path, out: Path, bits: str | None) -> None:
    """Import a llama-family GGUF file as a base model.

    The weights are Q4_0, Q4_1, Q8_0, F16, BF16 or F32. Quantized weights keep their exact values.
    """
    from star_mlx.formatting import program
    from star_mlx.gguf.importing import import_gguf as run

    done = run(file, out, bits=int(bits) if bits else None)
    types = ", ".join(
        f"{kind} {100 * n / done.parameters:.1f}%"
        for kind, n in sorted(done.types.items(), key=lambda item: -item[1])
    )
    click.echo(f"{done.architecture}, {done.parameters:,} parameters, context {done.context:,}")
    click.echo(f"weights    {types}" + (f", quantized to {bits} bits" if bits else ""))
    click.echo(f"tokenizer  {done.tokenizer}")
    click.echo(f"written to {done.folder}")
    click.echo(f"next: {program()} loop --task arithmetic --model {shlex.quote(str(out))}")
