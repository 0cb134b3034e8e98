"""The splits of the task ``jsonl``: which files are read, and what is held out of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from star_mlx import data
from star_mlx.errors import TaskError
from star_mlx.tasks.jsonl_options import JsonlOptions
from star_mlx.tasks.jsonl_question import FieldNames
from star_mlx.tasks.jsonl_text import check_no_field
from star_mlx.tasks.written import Written
from star_mlx.types import Problem, Split

if TYPE_CHECKING:
    from typing_extensions import Self


class FileSplits(Written):
    """Base of the task ``jsonl``: train and dev of one file, test of it or of another."""

    options: JsonlOptions

    def __init__(self, options: JsonlOptions) -> None:
        self.options = options

    @abstractmethod
    def whole_row(self, row: Mapping[str, Any]) -> Problem:
        """The problem of a row of the data files, which must have all fields of the options."""

    def train_rows(self) -> Iterable[data.Row]:
        return self._rows(self.options.path, "train")

    def test_rows(self) -> Iterable[data.Row]:
        return self._rows(str(self.options.test), "test")

    def _rows(self, path: str, split: Literal["train", "test"]) -> Iterable[data.Row]:
        given = {"delimiter": self.options.delimiter, "encoding": self.options.encoding}
        return data.rows(Path(path).expanduser(), split=split, **given)

    @cached_property
    def _reader(self) -> data.Reader:
        return data.Reader(self.whole_row, self.options.on_bad_row)

    def all_problems(self) -> list[Problem]:
        """The problems of the file ``path``, before any are held out."""
        return list(self._path_problems)

    def cut_anew(
        self, test: int | str | None, dev: int, on_bad_row: Literal["fail", "skip"]
    ) -> Self:
        """The same problems of ``path`` with other splits; the file is not read again."""
        changes = {"test": test, "dev": dev, "on_bad_row": on_bad_row}
        other = type(self)(self.options.model_copy(update=changes))
        other._path_problems = self._path_problems
        other._reader = data.Reader(
            other.whole_row,
            on_bad_row,
            list(self._reader.skipped),
            dict(self._reader.seen),
            list(self._reader.stored),
        )
        return other

    @cached_property
    def _path_problems(self) -> Sequence[Problem]:
        names = FieldNames(self.options.fields.named(), self.options.fields.question)
        found = self._problems(names, "train", self.options.path)
        for option in ("ask", "hint", "worked"):
            check_no_field(option, getattr(self.options, option), names.there)
        return found

    def _problems(
        self, names: FieldNames, split: Literal["train", "test"], path: str
    ) -> Sequence[Problem]:
        """The problems of a file, in which the fields of the options have to be."""
        try:
            found = self._reader.problems(names.noting(self._rows(path, split)), split)
        except TaskError:
            names.look(self._rows(path, split))
            names.refuse_unknown(path)
            raise
        names.refuse_unknown(path)
        return found

    @cached_property
    def _pool(self) -> tuple[Sequence[Problem], Sequence[Problem]]:
        """(train and dev problems, test problems), with no question in both."""
        problems = self._path_problems
        test = self.options.test
        rest: Sequence[Problem] = problems
        held: Sequence[Problem] = []
        if isinstance(test, int):
            rest, held = data.cut(problems, test, self.options.data_seed, "test")
        elif test is not None:
            needed = self.options.fields.named(optional=False)
            names = FieldNames(needed, self.options.fields.question)
            held = self._problems(names, "test", test)
            asked = {p.question for p in held}
            rest = data.where(problems, lambda p: p.question not in asked)
            if not rest:
                raise TaskError(f"task.options.test: {test} asks all that task.options.path does")
        self._note(len(problems) - len(rest) - len(held) * isinstance(test, int), "test")
        return rest, held

    @cached_property
    def _train_and_dev(self) -> tuple[Sequence[Problem], Sequence[Problem]]:
        problems, _ = self._pool
        train, dev = data.cut(problems, self.options.dev, self.options.data_seed, "dev")
        self._note(len(problems) - len(train) - len(dev), "dev")
        return train, dev

    def _note(self, dropped: int, split: Split) -> None:
        if dropped:
            text = f"{dropped} problems of {self.options.path} that ask the same as a"
            self._reader.skipped.append(f"{text} {split} problem")

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split; no question is in two splits."""
        if split != "test":
            return self._train_and_dev[split == "dev"]
        if self.options.test is None:
            raise TaskError(
                "this data has no test split: give task.options.test, a file or the number of "
                "problems to hold out for it"
            )
        return self._pool[1]
