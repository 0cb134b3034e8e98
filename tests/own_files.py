"""Small files as people have them: one of each kind, with the recipe's meaning that they need.

To try something on every kind, take the table ``OWN_FILES`` and ``OwnFile.write``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

N = 40  # rows of each file
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class OwnFile:
    """A file (or folder) of data, and what init-task has to make of it.

    ``prompt`` is the first row's as the model sees it, ``answer`` its accepted answers.
    ``options`` are given to init-task, ``splits`` the sizes of train, dev and test.
    """

    name: str
    make: Callable[[Path], None]
    prompt: str
    answer: tuple[str, ...]
    fields: Mapping[str, Any]
    unused: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    splits: tuple[int, int, int] = (26, 6, 8)
    rationales: bool = False
    needs: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)  # other options in the recipe

    def write(self, folder: Path) -> Path:
        """Write the file; the test is skipped if a package for it is missing."""
        for package in self.needs:
            pytest.importorskip(package)
        self.make(folder / self.name)
        return folder / self.name


def jsonl(row: Callable[[int], Mapping[str, Any]]) -> Callable[[Path], None]:
    lines = [json.dumps(row(i), ensure_ascii=False) + "\n" for i in range(N)]
    return lambda path: _write(path, "".join(lines))


def text(header: str, row: Callable[[int], str], encoding: str = "utf-8") -> Callable[[Path], None]:
    content = "\r\n".join([header, *map(row, range(N)), ""])
    return lambda path: _write(path, content, encoding)


def _write(path: Path, content: str, encoding: str = "utf-8") -> None:
    path.write_bytes(content.encode(encoding))


def _svamp(i: int) -> Mapping[str, Any]:
    return {
        "ID": f"chal-{i}",
        "Body": f"Tom has {i + 3} apples and buys {i % 7} more.",
        "Question": "How many apples does Tom have now?",
        "Equation": f"( {i + 3} + {i % 7} )",
        "Answer": float(i + 3 + i % 7),
        "Type": ["Addition", "Subtraction"][i % 2],
    }


def _boolq(i: int) -> Mapping[str, Any]:
    place = "France" if i % 2 else "Spain"
    passage = f"Town {i} is an old place near a river. It lies in {place}, behind the hills. " * 3
    return {
        "question": f"is town {i} in france", "title": f"Town {i}",
        "answer": "yes" if i % 2 else "no", "passage": passage.strip(),
    }  # fmt: skip


def _messages(i: int) -> Mapping[str, Any]:
    turns = {
        "system": "You are a patient tutor.",
        "user": f"What is {i} times 2?",
        "assistant": f"Twice {i} is {i} and {i}, which makes {2 * i}. The answer is {2 * i}.",
    }
    return {"messages": [{"role": role, "content": said} for role, said in turns.items()]}


def _sharegpt(path: Path) -> None:
    rows = [
        {
            "id": f"chat-{i}",
            "conversations": [
                {"from": "human", "value": f"What is {i} times 3?"},
                {"from": "gpt", "value": f"{3 * i}"},
            ],
        }
        for i in range(N)
    ]
    _write(path, json.dumps(rows))


def _squad(i: int) -> Mapping[str, Any]:
    return {
        "id": f"squad-{i}",
        "title": "Towns",
        "context": f"Town {i} was founded by King Bob {i} in {1200 + i}. It has a river.",
        "question": "Who founded the town?",
        "answers": {"text": [f"King Bob {i}", f"Bob {i}"], "answer_start": [24, 29]},
    }


def _mapping(i: int) -> Mapping[str, Any]:
    place = (i + 1) % 3  # of the right one, B in the first row
    texts = [f"{i + 1 + k - place}" for k in range(3)]
    return {
        "question": f"Which of these is {i} + 1?",
        "choices": dict(zip("ABC", texts, strict=True)),
        "answer": "ABC"[place],
    }


def _columns(i: int) -> str:
    place = (i + 1) % 4  # of the right one, the column 2 in the first row
    texts = [f"{i + 1 + k - place}" for k in range(4)]
    return ",".join([f"Which is {i}+1?", *texts, str(place + 1)])


def _german(i: int) -> Mapping[str, Any]:
    return {
        "Aufgabe": f"Anna hat {i} Äpfel und bekommt 4 dazu. Wie viele hat sie?",
        "Gedankengang": f"Zuerst hat sie {i} Äpfel, dann kommen 4 dazu. Das sind {i + 4}.",
        "Lösung": i + 4,
        "Schwierigkeit": ["leicht", "schwer"][i % 2],
    }


def _shards(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path.mkdir()
    rows = [{"question": f"What is {i} minus 1?", "answer": str(i - 1)} for i in range(N + 10)]
    for k in range(4):
        part = pa.Table.from_pylist(rows[10 * k : 10 * k + 10])
        parquet.write_table(part, path / f"train-{k:05}-of-00004.parquet")
    parquet.write_table(pa.Table.from_pylist(rows[N:]), path / "test-00000-of-00001.parquet")


def asked(question: str, *choices: str) -> str:
    listed = "".join(f"{choice}\n" for choice in choices)
    return f"Q: {question}\n" + (f"Answer choices:\n{listed}" if choices else "") + "A:"


OWN_FILES = [
    OwnFile(
        "svamp.jsonl", jsonl(_svamp),
        asked("Tom has 3 apples and buys 0 more. How many apples does Tom have now?"), ("3",),
        {"question": "{Body} {Question}", "answer": "Answer", "id": "ID", "class": "Type"},
        unused=("Equation",),
    ),
    OwnFile(
        "passages.jsonl", jsonl(_boolq),
        asked(f"{_boolq(0)['passage']}\nis town 0 in france"), ("no",),
        {"question": "{passage}\n{question}", "answer": "answer"}, unused=("title",),
    ),
    OwnFile(
        "semicolons.csv",
        text("Aufgabe;Ergebnis", lambda i: f"Wie viel sind {i},5 und 1 Euro?;{i + 1},5"),
        asked("Wie viel sind 0,5 und 1 Euro?"), ("1,5",),
        {"question": "Aufgabe", "answer": "Ergebnis"}, more={"delimiter": ";"},
    ),
    OwnFile(
        "bom.csv",
        text("question,answer", lambda i: f'"What is {i} + 1, please?",{i + 1}', "utf-8-sig"),
        asked("What is 0 + 1, please?"), ("1",),
        {"question": "question", "answer": "answer"},
    ),
    OwnFile(
        "messages.jsonl", jsonl(_messages), asked("What is 0 times 2?"), ("0",),
        {"question": "messages.user", "answer": "messages.assistant",
         "rationale": "messages.assistant"},
        unused=("messages.system",), rationales=True,
    ),
    OwnFile(
        "sharegpt.json", _sharegpt, asked("What is 0 times 3?"), ("0",),
        {"question": "conversations.human", "answer": "conversations.gpt", "id": "id"},
    ),
    OwnFile(
        "squad.jsonl", jsonl(_squad),
        asked("Town 0 was founded by King Bob 0 in 1200. It has a river. Who founded the town?"),
        ("King Bob 0", "Bob 0"),
        {"question": "{context} {question}", "answer": "answers.text", "id": "id"},
        unused=("title", "answers.answer_start"),
    ),
    OwnFile(
        "mapping.jsonl", jsonl(_mapping),
        asked("Which of these is 0 + 1?", "(A) 0", "(B) 1", "(C) 2"), ("B",),
        {"question": "question", "answer": "answer", "choices": "choices"},
    ),
    OwnFile(
        "columns.csv",
        text("Query,1,2,3,4,Correct", _columns),
        asked("Which is 0+1?", "(1) 0", "(2) 1", "(3) 2", "(4) 3"), ("2",),
        {"question": "Query", "answer": "Correct", "choices": ["1", "2", "3", "4"]},
    ),
    OwnFile(
        "deutsch.jsonl", jsonl(_german),
        asked("Anna hat 0 Äpfel und bekommt 4 dazu. Wie viele hat sie?"), ("4",),
        {"question": "Aufgabe", "answer": "Lösung", "rationale": "Gedankengang",
         "class": "Schwierigkeit"},
        rationales=True,
    ),
    OwnFile(
        "shards", _shards, asked("What is 0 minus 1?"), ("-1",),
        {"question": "question", "answer": "answer"}, splits=(32, 8, 10), needs=("pyarrow",),
    ),
    OwnFile(
        "excel.csv",
        text("Frage;Antwort", lambda i: f"Wie viele Äpfel sind {i} und 2?;{i + 2}", "cp1252"),
        asked("Wie viele Äpfel sind 0 und 2?"), ("2",),
        {"question": "Frage", "answer": "Antwort"}, options=("--encoding", "cp1252"),
        more={"delimiter": ";", "encoding": "cp1252"},
    ),
]  # fmt: skip
