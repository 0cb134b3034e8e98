"""``star-mlx show``: show the iterations of a run."""

from __future__ import annotations

from pathlib import Path

import click

from star_mlx.cli import completion


@click.command()
@click.argument("run", type=click.Path(path_type=Path), shell_complete=completion.runs)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the recipe, the metrics and the verdict as JSON."
)
def show(run: Path, as_json: bool) -> None:
    """Show a run's iterations, and in words whether training helped."""
    from star_mlx.measure import verdict
    from star_mlx.store import reading

    record = reading.read(run)
    if as_json:
        import json

        from star_mlx.store.metrics import as_json as plain

        metrics = [plain(line) for line in record.metrics]
        judged = verdict.of_run(record).as_json()
        values = {
            "run": str(run), "recipe": record.values, "metrics": metrics, "verdict": judged
        }  # fmt: skip
        click.echo(json.dumps(values, default=str))
        return
    from rich.console import Console
    from rich.text import Text

    from star_mlx import tui
    from star_mlx.formatting import harmless
    from star_mlx.recipe import provenance

    console = tui.themed(Console(highlight=False))
    task, model = record.recipe.get("task", {}), record.recipe.get("model", {})
    words = f"{run}: {task.get('name')}, {model.get('path')}, seed {record.recipe.get('seed')}"
    console.print(Text(harmless(words)), soft_wrap=True)
    if chosen := provenance.left_to_the_device(record):
        console.print(Text(harmless(chosen)), soft_wrap=True)
    if record.metrics:
        console.print()
        console.print(tui.summary(record.metrics, console.width))
        for line in ("", *verdict.of_run(record).lines):
            console.print(Text(harmless(line)), soft_wrap=True)
    else:
        console.print("no iteration is finished yet")
