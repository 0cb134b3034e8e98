"""Compare greedy continuations of GGUF files by star-mlx and llama.cpp, and explain differences.

python benchmarks/continuations.py [FILE.gguf ...] [--tokens 16] [--draws 32]

Prints the tables of docs/models.md. Without files, the three real ones of the tests are fetched,
if they are not there, and so is llama.cpp (``tests/llama_cpp.py``). Each file is imported,
continued by both programs, and exported again as F32. llama.cpp continues that file too: there it
has the same weights as star-mlx and rounds nothing. Takes the memory and the disk space of a
float32 model.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import downloads, llama_cpp, parting  # noqa: E402

COUNTS = ("file", "same on the file", "same on its F32 export")
HEADS = (
    "file", "prompt, token", "star-mlx", "llama.cpp on the F32 export",
    "star-mlx with the exact weights", "and with rounded inputs", "llama.cpp on the file",
    "the same, read at once",
)  # fmt: skip


def compared(
    file: Path, place: Path, tokens: int, draws: int
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The rows of a file for the two tables."""
    from star_mlx.engine.resolve import Found
    from star_mlx.export import gguf_model
    from star_mlx.gguf import importing

    done = importing.import_gguf(file, place / "base")
    text, wanted = ours(done.folder, tokens)
    found = llama_cpp.ask(file, prompts=parting.PROMPTS, tokens=tokens).continuations
    wide = place / "F32.gguf"
    gguf_model.convert(Found("base", done.folder), wide, "F32", None, title="base")
    same = llama_cpp.ask(wide, prompts=parting.PROMPTS, tokens=tokens).continuations
    parted = parting.partings(text, parting.PROMPTS, wanted, found)
    counts = [sum(a == b for a, b in zip(wanted, by, strict=True)) for by in (found, same)]
    at_once = [(one.before, 0, one.pair) for one in parted]
    in_turn = [(one.prompt, one.at, one.pair) for one in parted]
    columns = [llama_cpp.margins(wide, at_once), llama_cpp.margins(file, in_turn)]
    columns.append(llama_cpp.margins(file, at_once))
    wide.unlink()
    model = parting.Margins(done.folder, file)
    plain = model.of(parted)
    model.use_the_files_weights(set(done.nearest))
    exact, drawn = model.of(parted), model.with_rounded_inputs(parted, draws)
    number = parting.PROMPTS.index
    rows = [
        (file.stem, f"{number(one.prompt) + 1}, {one.at + 1}", *map(signed, (margin, f32, weights)),
         f"{signed(mean)} ± {deviation:.3f}", signed(theirs), signed(once))
        for one, margin, weights, (mean, deviation), f32, theirs, once
        in zip(parted, plain, exact, drawn, *columns, strict=True)
    ]  # fmt: skip
    return (file.stem, *(f"{n} of {len(wanted)}" for n in counts)), rows


def ours(folder: Path, tokens: int) -> tuple[Any, list[list[int]]]:
    """The engine's text and star-mlx's continuations; the model is dropped afterwards."""
    from tests.test_export_gguf import mlx, opened

    wanted = mlx(folder, None, parting.PROMPTS, tokens)
    text = opened(str(folder))._text
    opened.cache_clear()
    gc.collect()
    return text, wanted


def signed(margin: float) -> str:
    return f"{margin:+.3f}"


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--tokens", type=int, default=16, help="of each continuation, at most")
    parser.add_argument("--draws", type=int, default=32, help="of the rounding of inputs")
    given = parser.parse_args()
    real = (downloads.SMOLLM2, downloads.GEMMA3, downloads.QWEN2)
    counts, rows = [], []
    for file in given.files or map(downloads.fetched, real):
        with tempfile.TemporaryDirectory() as place:
            count, more = compared(file, Path(place), given.tokens, given.draws)
        counts.append(count)
        rows += more
        gc.collect()
        print(*count, sep=", ", file=sys.stderr, flush=True)
    print(table(COUNTS, counts), table(HEADS, rows), sep="\n\n")


if __name__ == "__main__":
    main()
