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
    type=click.Choice(["4", "8", "16"]),
    help="4 or 8: quantize the weights of an F32, F16 or BF16 file, which are kept as they are by "
    "default. 16: keep Q6_K and Q2_K weights in float16, not in 8 bits.",
)
def import_gguf(file: Path, out: Path, bits: str | None) -> None:
    """Import a GGUF file as a base model.

    Architectures: llama, qwen2, qwen3, gemma3, phi3 and smollm3. Weights: Q2_K to Q6_K, Q4_0, Q4_1,
    Q5_0, Q5_1, Q8_0, IQ4_NL, IQ4_XS, F16, BF16 and F32. Quantized weights keep their exact values,
    but for Q6_K and Q2_K, which MLX has no form for: they become the nearest of 8 bits, and the
    largest and mean error are printed.
    """
    from star_mlx.formatting import program
    from star_mlx.gguf.importing import import_gguf as run

    done = run(file, out, bits=int(bits) if bits else None)
    types = ", ".join(
        f"{kind} {100 * n / done.parameters:.1f}%"
        for kind, n in sorted(done.types.items(), key=lambda item: -item[1])
    )
    click.echo(f"{done.architecture}, {done.parameters:,} parameters, context {done.context:,}")
    click.echo(
        f"weights    {types}" + (f", quantized to {bits} bits" if bits in ("4", "8") else "")
    )
    wide = "float16" if bits == "16" else "8 bits"
    for kind, lost in done.nearest.items():
        click.echo(
            f"rounded    {kind} to {wide}: by {lost.mean:.2g} on average, "
            f"{100 * lost.share:.2g}% of an average weight, and by {lost.largest:.2g} at most"
        )
    click.echo(f"tokenizer  {done.tokenizer}")
    click.echo(f"written to {done.folder}")
    click.echo(f"next: {program()} loop --task arithmetic --model {shlex.quote(str(out))}")
