"""Files that are wrong in ways nobody thought of, read by the code that reads them.

    python benchmarks/fuzz.py --out DIR [--times 10000] [--kinds recipe prompts ...]

Valid files are changed at random, in their bytes, or one value of their JSON or YAML is replaced
by a strange one; of a pulled repository also names, links and sizes (``fuzz_pulled.py``). Each is
read in a process that is killed after 10 s of processor time, or 2 minutes. A file may be accepted
or refused (``StarError``); anything else is a failure: another exception, a crash, a hang, more
than 500 MB. ``DIR/fuzz.md`` has the table, and ``DIR/KIND-NUMBER`` is what failed; ``--only KIND
NUMBER`` does one again, with its traceback. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import fuzz_pulled
import yaml

from star_mlx.errors import StarError

PACKAGE = Path(__file__).resolve().parents[1]
TINY = PACKAGE / "star_mlx" / "models" / "tiny"
SECONDS, WAIT, BYTES = 10.0, 120.0, 500 << 20
ROWS = [
    {"query": "What is 2 + 3?", "response": "2 + 3 = 5. The answer is: 5", "type": "GSM_FOBAR"},
    {"instruction": "Add.", "input": "1, 2", "output": "3"},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"prompt": "Q: 4 + 4\nA:", "completion": " 8", "token_ids": [1, 2, 3]},
]
OWN = [{"question": f"What is {n} + 3?", "answer": str(n + 3), "rationale": f"{n} + 3 = {n + 3}"}
       for n in range(24)]  # fmt: skip
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", " ", "\0", "\ud800", "x" * 100_000, "../../etc/passwd", "{question}", "{0}",
    "%s", "\x1b[31m", "\u202e", [], {}, [[]], [{}], {"": ""}, {"a": {"a": {"a": {}}}}, [1] * 10_000,
    ["a", 1, None], "2026-02-30", "1:30", "!!python/object:os.system", "null", "none", "NaN",
]  # fmt: skip
BYTES_OF = [
    b"\0", b"\xff\xfe", b'"', b"{", b"[" * 2000, b"}", b"\n", b"\r", b"\t", b"&a *a", b"<<: *a",
    b"\xed\xa0\x80", b"-1", b"1e999", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b",", b":",
]  # fmt: skip


# --------------------------------------------------------------------------- what is read


class Kind:
    """A kind of file.

    Attributes:
        name: the name of the file.
        valid: its content, unchanged.
        read: reads it.
        structured: whether it is JSON or YAML, of which one value may be replaced.
        most: only so many bytes from the beginning are changed.
    """

    def __init__(
        self, name: str, valid: bytes, read: Callable[[Path], object], most: int | None = None
    ) -> None:
        self.name, self.valid, self.read, self.most = name, valid, read, most
        self.structured = name.endswith((".json", ".yaml"))

    def write(self, folder: Path, draw: random.Random) -> None:
        """Write it into a folder, changed."""
        (folder / self.name).write_bytes(changed(self, draw))


class Repository(Kind):
    """A repository of the Hub; ``valid`` is not used, and ``name`` is that of its folder."""

    def __init__(self, valid: Path) -> None:
        super().__init__(fuzz_pulled.CACHED, b"", lambda path: fuzz_pulled.read(path, _tiny))
        self.folder = valid

    def write(self, folder: Path, draw: random.Random) -> None:
        def file_changed(path: Path) -> None:
            one = Kind(path.name, path.read_bytes(), self.read, 20_000)
            path.write_bytes(changed(one, draw))

        repo = folder / self.name
        shutil.rmtree(repo, ignore_errors=True)
        shutil.copytree(self.folder, repo)
        fuzz_pulled.change(repo, draw, file_changed)


def recipe(path: Path) -> None:
    from star_mlx.recipe import loading, opening

    made = loading.load(name=str(path))
    if made.task.name == "arithmetic":
        opening.open_task(made)


def prompts(path: Path) -> None:
    import star_mlx as sx
    from star_mlx import prompts as files

    files.load(path, sx.load_task("gsm8k", data=str(path.parent / "data")))


def rows(path: Path) -> None:
    from star_mlx.steps import foreign_rows

    sum(1 for _ in foreign_rows.read(path))


def own_data(path: Path) -> None:
    from star_mlx.init_task import init_task

    init_task(path, path.with_name("made.yaml"), model="tiny", force=True)


def base(path: Path) -> None:
    """A model's folder with one of its files changed: opened, and asked for two tokens."""
    from star_mlx.engine import open_engine
    from star_mlx.types import Decoding

    engine = open_engine(str(path.parent))
    engine.generate(
        ["1 + 1"], Decoding(max_tokens=2, stop=()), prefix="", adapter=None, seeds=[0],
        progress=lambda done, tokens: None,
    )  # fmt: skip


def adapter(path: Path) -> None:
    from star_mlx.types import Decoding

    os.utime(path.with_name("adapters.safetensors"))  # or it is taken for the one before
    _tiny().generate(
        ["1 + 1"], Decoding(max_tokens=2, stop=()), prefix="", adapter=path.parent, seeds=[0],
        progress=lambda done, tokens: None,
    )  # fmt: skip


def gguf(path: Path) -> None:
    from star_mlx.gguf.importing import import_gguf

    out = path.with_name("imported")
    shutil.rmtree(out, ignore_errors=True)
    import_gguf(path, out)


_engines: dict[str, Any] = {}


def _tiny() -> Any:
    from star_mlx.engine import open_engine

    if "tiny" not in _engines:
        _engines["tiny"] = open_engine("tiny")
    return _engines["tiny"]


def kinds(out: Path) -> dict[str, Kind]:
    """Every kind, with its valid file; makes what they need in ``out/valid``."""
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    own = "\n".join(map(json.dumps, OWN)).encode()
    table = "question,answer\n" + "\n".join(f'"{row["question"]}",{row["answer"]}' for row in OWN)
    trained, exported = _trained(out / "valid")
    carried = _exported(out / "valid", "mlx")
    return {
        "recipe": Kind("r.yaml", (PACKAGE / "recipes" / "math.yaml").read_bytes(), recipe),
        "prompts": Kind(
            "p.yaml", (PACKAGE / "prompts" / "gsm8k" / "few_shot.yaml").read_bytes(), prompts
        ),
        "rows, JSONL": Kind("rows.jsonl", lines, rows),
        "rows, JSON": Kind("rows.json", json.dumps(ROWS).encode(), rows),
        "own data, JSONL": Kind("own.jsonl", own, own_data),
        "own data, CSV": Kind("own.csv", table.encode(), own_data),
        "config.json": Kind("config.json", (TINY / "config.json").read_bytes(), base),
        "tokenizer.json": Kind("tokenizer.json", (TINY / "tokenizer.json").read_bytes(), base),
        "tokenizer_config.json": Kind(
            "tokenizer_config.json", (TINY / "tokenizer_config.json").read_bytes(), base
        ),
        "adapter_config.json": Kind(
            "adapter_config.json", (trained / "adapter_config.json").read_bytes(), adapter
        ),
        "adapters.safetensors": Kind(
            "adapters.safetensors", (trained / "adapters.safetensors").read_bytes(), adapter, 20_000
        ),
        "GGUF header": Kind("m.gguf", exported.read_bytes(), gguf, 30_000),
        "pulled repository": Repository(carried),
    }


def _trained(folder: Path) -> tuple[Path, Path]:
    """An adapter of the embedded base, and the base as a GGUF file."""
    adapter = folder / "run" / "iterations" / "001" / "adapter"
    if not adapter.is_dir():
        import star_mlx as sx

        shutil.rmtree(folder, ignore_errors=True)
        sx.train("arithmetic", out=folder / "run", iterations=1, problems=20, dev=10, rank=4,
                 settings={"star.schedule.start": 1}, progress=False)  # fmt: skip
    return adapter, next(_exported(folder, "gguf").glob("*.gguf"))


def _exported(folder: Path, form: str) -> Path:
    """The run of a folder, exported in a format."""
    exported = folder / form
    if not exported.is_dir():
        from star_mlx.cli import main

        words = ["export", str(folder / "run"), "--format", form, "--out", str(exported)]
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            main([*words, "--iteration", "1"])
    return exported


# --------------------------------------------------------------------------- changes


def changed(kind: Kind, draw: random.Random) -> bytes:
    """The file with one or a few things changed."""
    if kind.structured and draw.random() < 0.6:
        return _value_replaced(kind, draw)
    data = bytearray(kind.valid)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        at = draw.randrange(min(len(data), kind.most or len(data)) + 1)
        size = draw.choice([1, 2, 8, 64])
        how = draw.randrange(6)
        if how == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            del data[at : at + size]
        elif how == 2:
            data[at:at] = data[at : at + size] * draw.choice([1, 3, 500])
        elif how == 3:
            data[at : at + size] = draw.choice(BYTES_OF)
        elif how == 4:
            data[at:at] = draw.choice(BYTES_OF)
        elif draw.random() < 0.3:
            del data[at:]
        else:
            data[at : at + size] = draw.randbytes(size)
    return bytes(data)


def _value_replaced(kind: Kind, draw: random.Random) -> bytes:
    """The JSON or YAML with one value, or name, replaced by a strange one."""
    data = yaml.safe_load(kind.valid)
    places = list(_places(data))
    for _ in range(draw.choice([1, 1, 2])):
        parent, key = draw.choice(places)
        value = draw.choice([*STRANGE, data])
        with contextlib.suppress(KeyError, IndexError, TypeError):
            if isinstance(parent, dict) and draw.random() < 0.2:
                parent[draw.choice(["", "x", 1, None, "\0", "__class__"])] = parent.pop(key)
            else:
                parent[key] = json.loads(json.dumps(value)) if value is not data else [1, data]
    with contextlib.suppress(ValueError, RecursionError, yaml.YAMLError, TypeError):
        if kind.name.endswith(".json"):
            return json.dumps(data).encode("utf-8", "surrogatepass")
        return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")
    return kind.valid


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of some data, by what holds it and its key there."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield data, key
        if isinstance(value, dict | list) and value:
            yield from _places(value)


# --------------------------------------------------------------------------- running


def folder_of(kind: Kind, out: Path) -> Path:
    """The folder in which a kind's file is read, with what has to be beside it."""
    folder = out / "at-work" / kind.name
    shutil.rmtree(folder, ignore_errors=True)
    if kind.read is base:
        shutil.copytree(TINY, folder)
    elif kind.read is adapter:
        shutil.copytree(_trained(out / "valid")[0], folder)
    else:
        folder.mkdir(parents=True)
    return folder


def tried(kind: Kind, name: str, number: int, folder: Path) -> tuple[str, str]:
    """What came of one changed file: accepted, refused, or the traceback."""
    path = folder / kind.name
    kind.write(folder, random.Random(f"{name}/{number}"))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            kind.read(path)
        return "accepted", ""
    except StarError as error:
        one_line = "\n" not in str(error) and len(str(error)) < 2000
        return ("refused", "") if one_line else ("failed", f"not one line: {str(error)[:300]!r}")
    except Exception:  # a bug in what is tested
        return "failed", traceback.format_exc()


def work(out: Path, name: str, first: int, times: int, said: Connection) -> None:
    """Try files from the number ``first`` on, and say after each what came of it."""
    os.environ["STAR_MLX_CONFIG"] = ""  # no defaults of the user's own
    kind = kinds(out)[name]
    folder = folder_of(kind, out)
    if isinstance(kind, Repository):
        shutil.copytree(kind.folder, folder / kind.name)
    else:
        (folder / kind.name).write_bytes(kind.valid)
    with contextlib.suppress(StarError):
        kind.read(folder / kind.name)  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said.send(None)
    for number in range(first, times):
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # at its end the process is killed
        result, why = tried(kind, name, number, folder)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > BYTES:
            result, why = "failed", f"{grown >> 20} MiB of memory"
        said.send((number, result, why, time.process_time() - start))
        if grown > BYTES:
            return


def fuzz(out: Path, name: str, times: int) -> tuple[Counter[str], list[str], float]:
    """Try so many files of a kind; the counts, the failures, and the longest time."""
    counts, failures, longest, following = Counter[str](), list[str](), 0.0, 0
    while following < times:
        here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(out, name, following, times, there)
        )
        process.start()
        there.close()
        try:
            here.recv()  # it has begun
            while following < times and here.poll(WAIT):
                number, result, why, took = here.recv()
                following, longest = number + 1, max(longest, took)
                counts[result] += 1
                if result == "failed":
                    failures.append(f"{name} {number}: {why.strip().splitlines()[-1][:200]}")
                    keep(out, name, number, why)
            alive = following < times
            why = "a hang of 2 minutes"
        except EOFError:
            process.join()
            slow = process.exitcode == -signal.SIGPROF
            alive, why = following < times, "a hang of 10 s" if slow else "a crash"
        process.kill()
        process.join()
        if alive and not (failures and failures[-1].startswith(f"{name} {following - 1}: ")
                          and "memory" in failures[-1]):  # fmt: skip
            counts["failed"] += 1
            failures.append(f"{name} {following}: {why}")
            keep(out, name, following, why)
            following += 1
    return counts, failures, longest


def keep(out: Path, name: str, number: int, why: str) -> None:
    """Keep a file that failed, and why."""
    kind = kinds(out)[name]
    place = out / f"{name.replace(', ', '-').replace(' ', '-')}-{number}"
    place.mkdir(exist_ok=True)
    kind.write(place, random.Random(f"{name}/{number}"))
    (place / "why.txt").write_text(why + "\n", "utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=10_000, help="files of all kinds together")
    parser.add_argument("--kinds", nargs="*", metavar="KIND")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    every = kinds(given.out)
    if given.only:
        kind = every[given.only[0]]
        print(*tried(kind, given.only[0], int(given.only[1]), folder_of(kind, given.out)))
        return
    names, failures = given.kinds or list(every), list[str]()
    lines = ["| file | tried | accepted | refused in one line | failed | longest, s |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for name in names:
        counts, failed, longest = fuzz(given.out, name, -(-given.times // len(names)))
        failures += failed
        numbers = [counts[result] for result in ("accepted", "refused", "failed")]
        lines.append(
            f"| {name} | {sum(numbers)} | {' | '.join(map(str, numbers))} | {longest:.1f} |"
        )
        print(lines[-1], *failed[:5], sep="\n", file=sys.stderr)
    text = "\n".join([*lines, "", *(f"- {line}" for line in failures)])
    (given.out / "fuzz.md").write_text(text + "\n", "utf-8")
    print(text)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
