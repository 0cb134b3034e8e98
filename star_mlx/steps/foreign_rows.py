"""Read rows to train on, of star-mlx or from elsewhere, as examples.

The format of each row is recognized by its fields, so a file may mix them:

- ``prompt``, ``completion``, ``token_ids``: an ``examples.jsonl`` of star-mlx, trained on as it is;
- ``messages``: turns with ``role`` and ``content``; the last one, the assistant's, is learned, the
  others are the prompt, in the model's chat template;
- ``query``, ``response`` (MetaMath): the query as an instruction, in the Alpaca prompt, or split
  into instruction and input at its first newline, as MetaMath's trainer does;
- ``instruction``, ``output``, and optionally ``input`` (Alpaca);
- ``prompt``, ``completion``: used unchanged.

A file may be larger than memory: it is read once to check its rows and to choose among them, and
again, row by row, to make the examples.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from star_mlx.data import OnBadRow
from star_mlx.data.rows import Row, rows
from star_mlx.errors import ModelError, TaskError
from star_mlx.prompts import Chat
from star_mlx.settings import RowsSpec
from star_mlx.steps.row_choice import Chosen, choose
from star_mlx.types import Engine, Example

Turns = tuple[tuple[str, str], ...]  # (role, content)
Ask = Callable[[str, str], "str | Turns"]  # instruction, input or "" -> prompt
Values = Mapping[str, Any]
Parsers = dict[str, Callable[[Values, Ask], "tuple[str | Turns, str]"]]
Parse = Callable[[Row], "Example | ForeignRow"]

OWN = "examples"
_SOURCES = ("direct", "rationalized", "given")
_INVALID = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ForeignRow:
    """A row as text, not yet tokenized."""

    place: str
    kind: str
    id: str
    prompt: str | Turns
    completion: str


@dataclass(frozen=True, slots=True)
class ForeignRows:
    """The chosen rows of a file, in its order. Iterating reads the file again, so only one row is
    in memory at a time."""

    path: Path
    chosen: Chosen
    _parse: Parse

    def __len__(self) -> int:
        return len(self.chosen.numbers)

    def __iter__(self) -> Iterator[Example | ForeignRow]:
        wanted = iter(self.chosen.numbers)
        following = next(wanted, None)
        for number, row in enumerate(rows(self.path)):
            if following is None:
                return
            if number == following:
                try:
                    found = self._parse(row)
                except TaskError as error:  # the file has changed
                    raise TaskError(f"{row.place}: {error}") from None
                yield found
                following = next(wanted, None)
        if following is not None:
            raise TaskError(f"{self.path} has fewer rows than when it was checked: train again")

    @property
    def formats(self) -> dict[str, int]:
        """The number of rows of each format."""
        return self.chosen.count(lambda label: label.format)

    @property
    def types(self) -> dict[str, int]:
        """The number of rows of each ``type``, without the rows that have none."""
        return self.chosen.count(lambda label: label.type)

    @property
    def iteration(self) -> int:
        """The latest iteration of star-mlx's own examples; 1 if there are none."""
        return max(label.iteration for label in self.chosen.labels)


# --------------------------------------------------------------------------- prompts


def alpaca(instruction: str, context: str) -> str:
    """The prompt of Stanford Alpaca (Taori et al. 2023), also used by MetaMath (Yu et al. 2023);
    the response follows it directly."""
    also = ", paired with an input that provides further context" if context else ""
    given = f"### Input:\n{context}\n\n" if context else ""
    return (
        f"Below is an instruction that describes a task{also}. Write a response that appropriately "
        f"completes the request.\n\n### Instruction:\n{instruction}\n\n{given}### Response:"
    )


def user_turn(system: str | None) -> Ask:
    """Instructions as a user's turn in the model's chat template, after a system message."""
    before: Turns = () if system is None else (("system", system),)

    def ask(instruction: str, context: str) -> Turns:
        return (*before, ("user", f"{instruction}\n\n{context}" if context else instruction))

    return ask


# --------------------------------------------------------------------------- reading


def read(
    path: Path,
    *,
    ask: Ask = alpaca,
    on_bad_row: OnBadRow = "fail",
    choice: RowsSpec | None = None,
    seed: int = 0,
) -> ForeignRows:
    """Check the rows of a JSONL, JSON, CSV, TSV or Parquet file; no model is needed.

    Args:
        path: the file.
        ask: makes the prompt of an instruction, for the formats that have instructions.
        on_bad_row: whether a row that cannot be used is an error or is left out and named.
        choice: which rows to take, and how a query is read; by default all, and whole.
        seed: of the draw if some are drawn.

    Raises:
        TaskError: the file cannot be read, a row cannot be used (with its place), or none can, or
            no row has one of the types.
    """
    choice = choice or RowsSpec()
    parsers = _PARSERS | ({"query/response": _split_query} if choice.split_query else {})

    def parse(row: Row) -> Example | ForeignRow:
        return _read(row, ask, parsers)

    def described(row: Row) -> tuple[str, int]:
        found = parse(row)
        return (OWN, found.iteration) if isinstance(found, Example) else (found.kind, 1)

    chosen = choose(path, rows(path), described, choice, seed, on_bad_row)
    return ForeignRows(path, chosen, parse)


def _read(row: Row, ask: Ask, parsers: Parsers) -> Example | ForeignRow:
    fields = row.values
    if isinstance(fields, str):
        raise TaskError(f"the row {fields}")
    name = fields.get("id")
    name = str(name) if isinstance(name, (str, int)) and str(name).strip() else row.place
    if all(fields.get(key) is not None for key in ("prompt", "completion", "token_ids")):
        return _own(fields, name)
    kind = _format(fields)
    prompt, completion = parsers[kind](fields, ask)
    return ForeignRow(row.place, kind, name, prompt, completion)


def _format(fields: Values) -> str:
    """The format of a row, by its fields.

    Raises:
        TaskError: it has the fields of none, or of two.
    """
    needs = {kind: kind.split("/") for kind in _PARSERS}
    fits = [kind for kind, keys in needs.items() if all(fields.get(k) is not None for k in keys)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise TaskError(f"it can be read as {' and as '.join(fits)}: keep the fields of one")
    for keys in needs.values():
        if any(fields.get(key) is not None for key in keys):
            raise TaskError(f"its {next(k for k in keys if fields.get(k) is None)} is missing")
    has = ", ".join(str(key)[:40] for key in list(fields)[:8]) or "nothing"
    raise TaskError(f"it has {has}, but not the fields of {', '.join(needs)}")


def _own(fields: Values, name: str) -> Example:
    ids, source = fields["token_ids"], fields.get("source", "given")
    iteration, hint_shown = fields.get("iteration", 1), fields.get("hint_shown", False)
    if not isinstance(ids, list) or not ids or not all(type(i) is int and i >= 0 for i in ids):
        raise TaskError("its token_ids should be a list of token numbers")
    if source not in _SOURCES:
        raise TaskError(f"its source should be one of {', '.join(_SOURCES)}")
    if type(iteration) is not int or iteration < 1 or not isinstance(hint_shown, bool):
        raise TaskError("its iteration should be a number from 1 on and its hint_shown a boolean")
    prompt, completion = fields["prompt"], fields["completion"]
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise TaskError("its prompt and its completion should be text")
    return Example(name, prompt, completion, source, tuple(ids), iteration, hint_shown)


def _messages(fields: Values, _: Ask) -> tuple[Turns, str]:
    messages = fields["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        raise TaskError("its messages should be a list of objects with role and content")
    turns = tuple((_text(m, "role"), _text(m, "content")) for m in messages)
    if all(role != "assistant" for role, _ in turns):
        raise TaskError("its messages have no assistant turn")
    if turns[-1][0] != "assistant":
        raise TaskError(f"its messages end in a turn of {turns[-1][0]!r}, not of the assistant")
    if len(turns) == 1:
        raise TaskError("its messages have nothing before the assistant's turn")
    return turns[:-1], turns[-1][1]


def _query(fields: Values, ask: Ask) -> tuple[str | Turns, str]:
    return ask(_text(fields, "query"), ""), _text(fields, "response")


def _split_query(fields: Values, ask: Ask) -> tuple[str | Turns, str]:
    """The first line of the query as the instruction, and all that follows as its input."""
    instruction, _, context = _text(fields, "query").partition("\n")
    return ask(instruction, context), _text(fields, "response")


def _instruction(fields: Values, ask: Ask) -> tuple[str | Turns, str]:
    context = fields.get("input")
    context = _text(fields, "input") if context is not None and context != "" else ""
    return ask(_text(fields, "instruction"), context), _text(fields, "output")


def _prompt(fields: Values, _: Ask) -> tuple[str, str]:
    return _text(fields, "prompt"), _text(fields, "completion")


_PARSERS: Parsers = {
    "messages": _messages,
    "query/response": _query,
    "instruction/output": _instruction,
    "prompt/completion": _prompt,
}


def _text(fields: Values, name: str) -> str:
    """A field unchanged: the white space around a text is learned too."""
    value = fields.get(name)
    if value is None:
        raise TaskError(f"its {name} is missing")
    if not isinstance(value, str):
        raise TaskError(f"its {name} should be text, not {type(value).__name__}")
    if not value.strip():
        raise TaskError(f"its {name} is blank")
    if _INVALID.search(value):
        raise TaskError(f"its {name} has an invalid character (NUL, or half a surrogate pair)")
    return value


# --------------------------------------------------------------------------- tokens


@dataclass(frozen=True, slots=True)
class ReadExamples(Sequence[Example]):
    """Rows as examples for an engine, in order. Iterating makes them one at a time; an index reads
    them all."""

    read: ForeignRows
    make: Callable[[Example | ForeignRow], Example]

    def __len__(self) -> int:
        return len(self.read)

    def __iter__(self) -> Iterator[Example]:
        return map(self.make, self.read)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return tuple(self)[index]


def examples(read: ForeignRows, engine: Engine, iteration: int, chat: Chat) -> ReadExamples:
    """The rows as examples for an engine; turns are written with the template ``chat``.

    Iterating over them raises ModelError if the model has no chat template or it refuses a row's
    turns.

    Raises:
        ModelError: the rows' token ids are those of another model.
    """
    if read.formats.get(OWN, 0) >= 8:
        own = (row for row in read if isinstance(row, Example))
        if not any(tuple(engine.encode(e.completion)) == e.token_ids for e in own):
            raise ModelError(
                f"{read.path}: the token_ids are not those of this base's tokenizer: give the "
                "--model that made them, or remove token_ids from the rows to have them tokenized "
                "again"
            )

    def make(row: Example | ForeignRow) -> Example:
        return row if isinstance(row, Example) else _tokens(row, engine, iteration, chat)

    return ReadExamples(read, make)


def _tokens(row: ForeignRow, engine: Engine, iteration: int, chat: Chat) -> Example:
    prompt = row.prompt if isinstance(row.prompt, str) else _chat(row.place, row.prompt, chat)
    ids = tuple(engine.encode(row.completion))
    return Example(row.id, prompt, row.completion, "given", ids, iteration)


def _chat(place: str, turns: Sequence[tuple[str, str]], chat: Chat) -> str:
    try:
        return chat(turns, True)
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None
