"""Data files: every row becomes a problem or is named by its place, and nothing is lost unsaid."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx import data
from star_mlx.data.encoding import mend
from star_mlx.errors import TaskError
from star_mlx.types import Problem, Question


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path.relative_to(tmp_path)

    return write


def read(path):
    """(place, values or what is wrong) of every row."""
    return [(row.place, row.values) for row in data.rows(path)]


def refused(path):
    with pytest.raises(TaskError) as error:
        list(data.rows(path))
    return str(error.value)


def posed(row):
    return Problem(str(row.get("id") or ""), Question(data.text(row, "q")), data.text(row, "a"))


# --------------------------------------------------------------------------- JSON


def test_jsonl_names_the_line_of_each_row_and_of_what_is_wrong(write):
    lines = [
        b'{"q": "1"}',
        b"",
        b"nonsense",
        b"[1]",
        b"null",
        b'{"q": "caf\xe9"}',
        b'{"q": "\xc3\xa9"}',
    ]
    found = read(write("a.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    assert [place.split()[-1] for place, _ in found] == ["1", "3", "4", "5", "6", "7"]
    values = [value for _, value in found]
    assert values[0] == {"q": "1"} and values[5] == {"q": "é"}
    assert "is not JSON" in values[1]
    assert values[2] == "is not an object with fields but list"
    assert values[3] == "is not an object with fields but null"
    assert values[4] == (
        'is not UTF-8 text (byte 11) but seems to be cp1252: save it as UTF-8 ("CSV UTF-8" in '
        "Excel), or read it as it is with task.options.encoding=cp1252 (in init-task: --encoding "
        "cp1252)"
    )


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("[" * 100_000, "is not JSON"),
        ('{"q": ' * 100_000, "is not JSON"),
        ('{"q": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"q": 1, "q": 2}', "the field 'q' occurs twice"),
        ('{"q": "a\0b"}', "is not JSON"),
        ('{"q": 1} {"q": 2}', "is not JSON"),
        ('{"q": "1"', "is not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_said_to_be_none(write, line, wrong):
    [(_, value)] = read(write("a.jsonl", line))
    assert wrong in value and len(value) < 300


def test_the_ending_may_be_upper_case_and_json_is_a_list(write):
    assert read(write("A.JSONL", '{"q": 1}')) == [("A.JSONL, line 1", {"q": 1})]
    found = read(write("a.json", '\ufeff[{"q": 1}, 2]'))
    assert found[0] == ("a.json, item 1", {"q": 1})
    assert found[1] == ("a.json, item 2", "is not an object with fields but int")


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.jsonl", "", "a.jsonl holds no rows"),
        ("a.jsonl", "\n \n", "holds no rows"),
        ("a.json", "", "holds no rows"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", '{"q": 1}', "should hold a list of objects"),
        ("a.json", '{"q": 1}\n{"q": 2}', "one object a line is .jsonl"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", b'[\n{"q": "caf\xe9"}]', "a.json, line 2 is not UTF-8 text"),
        (
            "a.jsonl",
            '{"q": 1}'.encode("utf-16"),
            'is UTF-16 text: save it as UTF-8 ("CSV UTF-8" in Excel), or read',
        ),
        ("a.csv", "q,a\n1,2\n".encode("utf-16"), "is UTF-16 text"),
        ("a.csv", "", "holds no rows"),
        ("a.csv", "q,a\n", "holds no rows"),
        ("a.csv", "q,q\n1,2\n", "two columns are named 'q'"),
        ("a.csv", b"q,caf\xe9\n1,2\n", "first line is not UTF-8 text"),
        ("a.csv", 'q,a\n1,2\n"open,3\n4,5\n', "a.csv, line 3 is no CSV"),
        ("a.csv", 'q,a\n"x"y,3\n', "a.csv, line 2 is no CSV"),
        ("a.txt", "x", "give a file that ends in .jsonl, .json, .csv, .tsv, .parquet"),
        ("a.parquet", b"", "damaged or no Parquet file"),
        ("a.parquet", b"PAR1" * 30, "damaged or no Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(write, name, content, wrong):
    assert wrong in refused(write(name, content))


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.jsonl")
    assert "holds no data files: give a file that ends in .jsonl" in refused(tmp_path)
    assert "name too long" in refused(tmp_path / ("n" * 300 + ".jsonl")).lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(write):
    path = write("a.jsonl", '{"q": 1}')
    path.chmod(0)
    assert "Permission denied" in refused(path)


# --------------------------------------------------------------------------- CSV


def test_csv_lines_are_those_of_the_file_also_after_quoted_newlines(write):
    text = 'q,a\n"two\nlines, ""said""",1\n\n,,\n , \nx,2,3\ny,\n'
    found = read(write("a.csv", "\ufeff" + text.replace(",,\n", "")))
    assert found == [
        ("a.csv, line 2", {"q": 'two\nlines, "said"', "a": "1"}),
        (
            "a.csv, line 6",
            "has 3 cells where the header has 2 (a cell that holds the delimiter needs quotes)",
        ),
        ("a.csv, line 7", {"q": "y", "a": ""}),
    ]


def test_csv_with_a_latin_1_line_and_with_an_unnamed_column(write):
    found = read(write("a.csv", b",q, a\r\n0,caf\xe9,1\r\n1,\xc3\xa9,2\r\n"))
    assert found == [
        ("a.csv, line 2", f"is not UTF-8 text but seems to be cp1252: {mend('cp1252')}"),
        ("a.csv, line 3", {"q": "é", "a": "2"}),
    ]


def test_tsv_is_parted_by_tabs(write):
    assert read(write("a.tsv", "q\ta\nx, y\t1\n")) == [("a.tsv, line 2", {"q": "x, y", "a": "1"})]


# --------------------------------------------------------------------------- Parquet


def test_parquet_of_every_kind_of_column(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    texts = pa.array([b"fine", b"caf\xe9"]).view(pa.binary())
    table = pa.table(
        {
            "q": pa.Array.from_buffers(pa.string(), 2, texts.buffers()),
            "a": pa.array([7, None]),
            "f": pa.array([7.0, float("nan")]),
            "c": pa.array([[{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], None]),
            "n": pa.nulls(2),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    (_, first), (place, second) = read(tmp_path / "a.parquet")
    assert data.text(first, "a") == data.text(first, "f") == "7"
    assert data.choices(first["c"]) == (("A", "x"), ("B", "y"))
    with pytest.raises(TaskError, match=r"its n is missing$"):
        data.text(first, "n")
    assert place.endswith("row 2") and "cannot be read" in second


def test_a_damaged_page_of_a_parquet_file_is_an_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"q": [f"question {i}" for i in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[8:3000] = b"\xff" * 2992
    path.write_bytes(content)
    assert "damaged" in refused(path)


def test_parquet_without_pyarrow_says_what_to_install(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert 'pip install "star-mlx[data]"' in refused(write("a.parquet", b"PAR1"))


# --------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("value", "text"),
    [(" x ", "x"), (7, "7"), (7.0, "7"), (0.5, "0.5"), (1e22, "1" + "0" * 22), (1e-7, "0.0000001"),
     (True, "true"), (-0.25, "-0.25"), ("é", "é")],
)  # fmt: skip
def test_a_field_as_text(value, text):
    assert data.text({"a": value}, "a") == text


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({}, r"its a is missing \(the row has no fields\)"),
        ({"b": 1, "c": 2}, r"its a is missing \(the row has b, c\)"),
        ({"a": None}, "its a is missing$"),
        ({"a": " \t"}, "its a is blank"),
        ({"a": []}, "should be text, not a list"),
        ({"a": {"b": 1}}, "should be text, not an object"),
        ({"a": float("nan")}, "should be text, not nan"),
        ({"a": float("inf")}, "should be text, not inf"),
        ({"a": "x\0"}, "holds a NUL character"),
        ({"a": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_a_field_that_is_no_text(row, wrong):
    with pytest.raises(TaskError, match=wrong):
        data.text(row, "a")


def test_a_dotted_path_reaches_inside_but_a_whole_name_comes_first():
    assert data.text({"q": {"stem": "x"}}, "q.stem") == "x"
    assert data.text({"q": {"stem": "x"}, "q.stem": "y"}, "q.stem") == "y"
    with pytest.raises(TaskError, match=r"its q\.none is missing"):
        data.text({"q": {"stem": "x"}}, "q.none")


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x:
       st.lists(x) | st.dictionaries(st.text(), x)))  # fmt: skip
def test_any_value_is_choices_or_a_task_error(value):
    try:
        found = data.choices(value)
    except TaskError:
        return
    assert len(found) >= 2 and all(k.strip() and v.strip() for k, v in found)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (["x", "y"], (("A", "x"), ("B", "y"))),
        ([12, 15.5], (("A", "12"), ("B", "15.5"))),
        (["A) 21", "B) 22"], (("A", "21"), ("B", "22"))),
        (["(a) 21", "(b) 22"], (("a", "21"), ("b", "22"))),
        ({"A": "x", "B": "y", "C": None}, (("A", "x"), ("B", "y"))),
        ({"label": ["1", "2"], "text": ["x", "y"]}, (("1", "x"), ("2", "y"))),
        ([{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], (("A", "x"), ("B", "y"))),
        ('["x", "y"]', (("A", "x"), ("B", "y"))),
    ],
)
def test_the_shapes_of_choices(value, found):
    assert data.choices(value) == found


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("x or y", "not a JSON list"),
        (7, "should be a list"),
        ([], "has 0 choices"),
        (["x"], "has 1 choices"),
        (["x", " "], "blank"),
        (["x", None], "blank"),
        (["x", ["y"]], "blank or no text"),
        (["x", "\ud800"], "half a surrogate"),
        ({"A": "x", "a": "y"}, "occurs twice"),
        ({"label": ["A"], "text": ["x", "y"]}, "should be a list"),
        ([str(i) for i in range(27)], "has 27 choices: 26 are the most"),
    ],
)
def test_choices_that_are_none(value, wrong):
    with pytest.raises(TaskError, match=wrong):
        data.choices(value)


# --------------------------------------------------------------------------- problems


ROWS = '{"q": "1+1", "a": 2}\n{"q": "no answer"}\nnonsense\n{"q": "blank", "a": " "}\n'


def test_a_bad_row_fails_by_file_and_line_and_says_how_to_mend(write):
    with pytest.raises(TaskError) as error:
        data.Reader(posed).problems(data.rows(write("a.jsonl", ROWS)), "train")
    assert str(error.value) == (
        "a.jsonl, line 2: its a is missing (the row has q); fix it, or leave such rows out with "
        "task.options.on_bad_row=skip"
    )


def test_skipped_rows_are_each_named_and_ids_count_rows(write):
    reader = data.Reader(posed, "skip")
    rows = data.rows(write("a.jsonl", ROWS + '{"q": "2+2", "a": 4}\n'))
    assert [p.id for p in reader.problems(rows, "train")] == ["train-1", "train-5"]
    assert [text.split(":")[0] for text in reader.skipped] == [
        f"a.jsonl, line {n}" for n in (2, 3, 4)
    ]


def test_where_no_row_can_be_used_skip_fails_too(write):
    with pytest.raises(TaskError, match=r"none of the 2 rows for train .* first: a\.jsonl, line 1"):
        data.Reader(posed, "skip").problems(data.rows(write("a.jsonl", "x\ny\n")), "train")


def test_an_id_stands_once_over_all_files(write):
    reader = data.Reader(posed)
    one = write("a.jsonl", '{"q": "1+1", "a": 2, "id": "x"}')
    two = write("b.jsonl", '\n{"q": "2+2", "a": 4, "id": "x"}')
    reader.problems(data.rows(one), "train")
    with pytest.raises(
        TaskError, match=r"b\.jsonl, line 2: its id 'x' is already used in a\.jsonl, line 1"
    ):
        reader.problems(data.rows(two), "test")


def problems(*texts):
    return [Problem(f"p{i}", Question(text), "1") for i, text in enumerate(texts)]


def test_a_cut_shares_no_question_with_the_rest_and_is_the_same_in_any_order():
    some = problems(*[f"q{i % 30}" for i in range(40)])
    rest, held = data.cut(some, 8, 0, "dev")
    assert len(held) == 8 and not {p.question for p in rest} & {p.question for p in held}
    assert data.cut(some, 8, 1, "dev")[1] != held
    assert {p.id for p in data.cut(some[29::-1], 8, 0, "dev")[1]} == {
        p.id for p in data.cut(some[:30], 8, 0, "dev")[1]
    }


def test_a_cut_that_leaves_nothing_is_refused():
    with pytest.raises(TaskError, match=r"smaller task\.options\.dev"):
        data.cut(problems("a", "b"), 2, 0, "dev")
    with pytest.raises(TaskError, match="none is left"):
        data.cut(problems("a", "a", "a"), 1, 0, "dev")


def test_many_rows_are_streamed(tmp_path):
    path = tmp_path / "a.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for i in range(20_000):
            file.write(json.dumps({"q": f"{i}+1", "a": i + 1}) + "\n")
    assert len(data.Reader(posed).problems(data.rows(path), "train")) == 20_000
