"""Files as programs write them: delimiters, encodings, and folders of shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx import data
from star_mlx.data import encoding
from star_mlx.data.csv_rows import sniffed
from star_mlx.data.files_of import files_of, pattern
from star_mlx.errors import TaskError
from star_mlx.init_task.data_files import data_files, dev_size, held_out_size


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(path, **given):
    return [row.values for row in data.rows(Path(path), **given)]


def refused(path, **given):
    with pytest.raises(TaskError) as error:
        values(path, **given)
    return str(error.value)


# --------------------------------------------------------------------------- delimiters


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("q,a\n1,2\n", ","),
        ("q;a\nwhat is 1,5?;2,5\nand 2,5?;3,5\n", ";"),
        ("Preis, netto;Antwort\n1,50;2,10\n2,50;3,10\n", ";"),
        ("q\ta\n1,5\t2\n", "\t"),
        ("q|a\n1|2\n", "|"),
        ('"q; or what";a\n"x;y";1\n', ";"),
        ('q,a\n"one; two; three",1\n"a; b",2\n', ","),
        ("q,a;b\nx,y\nz,w\n", ","),  # the usual one parts all rows alike
        ("question\nx; y\nz; w\n", ","),  # one column
        ("q;a\n", ";"),
        ("", ","),
    ],
)
def test_the_delimiter_is_found_in_the_first_lines(text, delimiter):
    assert sniffed(text, ",") == delimiter


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5), st.sampled_from(",;\t|"))
def test_any_text_has_some_delimiter(rows, delimiter):
    text = "\n".join(delimiter.join(row) for row in rows)
    assert sniffed(text, ",") in (",", ";", "\t", "|")


def test_a_file_is_read_with_the_delimiter_that_it_has_or_that_is_given():
    rows = [{"q": "1,5?", "a": "2,5"}]
    assert values(write("a.csv", "q;a\n1,5?;2,5\n")) == rows
    assert values(write("b.csv", "q:a\n1,5?:2,5\n"), delimiter=":") == rows
    assert values(write("c.tsv", "q\ta\n1,5?\t2,5\n")) == rows


@pytest.mark.parametrize("first", ["sep=;", "\ufeffSEP=;", "sep=,", "sep=\t"])
def test_excels_line_on_the_delimiter_is_obeyed_and_no_header(first):
    sign = first[-1]
    text = "\r\n".join([first, f"q{sign}a", f"what?{sign}2", ""])
    assert values(write("a.csv", text)) == [{"q": "what?", "a": "2"}]
    assert values(write("a.csv", text), delimiter=sign) == [{"q": "what?", "a": "2"}]
    wrong = refused(write("d.csv", "q;a\n1;2\n"), delimiter="|")
    assert "has ';' between the names: give it as task.options.delimiter" in wrong


# --------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cp1252", "Wie groß ist die Länge der Brücke – in „Metern“?"),
        ("cp1252", "¿Cuánto vale? 5 €"),
        ("mac_roman", "Wie groß ist die Länge der Brücke?"),
        ("cp850", "Wie groß ist die Länge der Brücke?"),
        ("cp932", "りんごが三個あります。二個食べると、何個残りますか。"),
        ("cp949", "사과가 세 개 있습니다. 두 개를 먹으면 몇 개가 남습니까?"),
        ("gbk", "小明有三个苹果，吃了两个，还剩几个？请写出计算过程。"),
        ("cp1251", "Сколько будет два плюс три? Напишите ответ."),
        ("cp1252", "Länge; Größe; Höhe; Öl; Übung; Straße; ä; ö; ü"),
        ("cp1252", "Quelle est la hauteur de l’échelle ? Réponse : élevée, où ça ?"),
    ],
)
def test_an_encoding_is_named_by_its_letters(name, text):
    assert encoding.likely(text.encode(name)) == name


@pytest.mark.parametrize("name", ["cp1252", "utf-16", "utf-8", "utf-8-sig", "mac_roman"])
def test_a_file_in_a_given_encoding_is_read(name):
    row = {"q": "Wie groß?", "a": "5"}
    lines = [f"{json.dumps(row, ensure_ascii=False)}\n"] * 2
    assert values(write("a.jsonl", "".join(lines).encode(name)), encoding=name) == [row, row]
    listed = json.dumps([row], ensure_ascii=False)
    assert values(write("a.json", listed.encode(name)), encoding=name) == [row]
    table = write("a.csv", "q;a\r\nWie groß?;5\r\n".encode(name))
    assert values(table, encoding=name) == [row]


def test_a_wrong_encoding_is_an_error_and_no_wrong_text():
    path = write("a.csv", "q,a\nWie groß?,5\n".encode("cp1252"))
    assert "is not utf-16 text" in refused(path, encoding="utf-16")
    path = write("b.jsonl", b'{"q": "x\x81"}\n')
    assert "is not cp1252 text" in refused(path, encoding="cp1252")
    path = write("c.csv", "q,a\nWie groß?,5\n".encode("utf-16"))
    assert "is UTF-16 text" in refused(path, encoding="cp1252")


def test_a_file_that_is_foreign_as_a_whole_is_refused_and_one_with_a_bad_line_is_not():
    foreign = write("a.csv", "q,a\ngroß,5\nklein,6\n".encode("cp1252"))
    with pytest.raises(TaskError, match="seems to be cp1252"):
        encoding.refuse_foreign(foreign)
    chinese = write("d.csv", ("q,a\n" + "小明有三个苹果，还剩几个？,1\n" * 9).encode("gbk"))
    with pytest.raises(TaskError, match="seems to be gbk"):
        encoding.refuse_foreign(chinese)
    mixed = "q,a\ngroß,5\n".encode() + "Brücke,6\n".encode("cp1252")
    encoding.refuse_foreign(write("b.csv", mixed))
    encoding.refuse_foreign(write("c.csv", "q,a\nplain,5\n"))


@pytest.mark.parametrize("name", ["nonsense", "hex", "a\0b", ""])
def test_what_is_no_encoding_of_text_is_unknown(name):
    assert not encoding.known(name)


# --------------------------------------------------------------------------- folders


def jsonl(*questions):
    return "".join(json.dumps({"q": q}) + "\n" for q in questions)


def test_the_shards_of_a_folder_are_read_in_order():
    for k in (10, 9, 1):
        write(f"d/train-{k}.jsonl", jsonl(k))
    write("d/test-1.jsonl", jsonl("t"))
    write("d/README.md", "none")
    assert values("d") == [{"q": 1}, {"q": 9}, {"q": 10}]
    assert values("d", split="test") == [{"q": "t"}]
    assert values("d/train-*.jsonl") == [{"q": 1}, {"q": 9}, {"q": 10}]
    assert next(row.place for row in data.rows(Path("d"))) == "d/train-1.jsonl, line 1"
    assert "holds no validation file: it has test-1.jsonl" in refused("d", split="validation")


def test_a_folder_without_names_of_splits_is_read_whole_also_in_its_data_folder():
    write("d/data/part-1.jsonl", jsonl(1))
    write("d/data/part-2.jsonl", jsonl(2))
    write("d/.hidden.jsonl", jsonl(3))
    assert values("d") == [{"q": 1}, {"q": 2}]


def test_a_folder_of_several_kinds_or_of_none_is_refused():
    assert "holds no data files" in refused(write("e/x.txt", "").parent)
    write("d/a.jsonl", jsonl(1))
    write("d/b.csv", "q\n1\n")
    assert "of the kinds .csv, .jsonl: name those of one kind, such as d/*.csv" in refused("d")
    assert "no file has such a name" in refused("d/c*.csv")


def test_a_name_with_signs_of_patterns_is_itself_first():
    assert values(write("a[1].jsonl", jsonl(1))) == [{"q": 1}]


def test_a_pattern_names_exactly_its_files():
    for name in ("train-0.csv", "train-1.csv", "trainer.csv", "test.csv"):
        write(f"d/{name}", "q\n1\n")
    files = [Path("d/train-0.csv"), Path("d/train-1.csv")]
    assert pattern(files) == Path("d/train-*.csv") and files_of(pattern(files)) == files
    assert pattern([Path("d/test.csv")]) == Path("d/test.csv")
    with pytest.raises(TaskError, match="give a pattern of names"):
        pattern([Path("d/train-0.csv"), Path("d/test.csv")])


def test_the_test_files_of_a_folder_are_candidates_for_the_test_split():
    for name in ("train", "validation", "test"):
        write(f"d/{name}.jsonl", jsonl(name))
    found = data_files(Path("d"))
    assert (found.path, found.tests) == (
        Path("d/train.jsonl"), (Path("d/test.jsonl"), Path("d/validation.jsonl")),
    )  # fmt: skip


# --------------------------------------------------------------------------- how much is held out


@pytest.mark.parametrize(
    ("n", "test", "dev"),
    [(2, None, 1), (4, None, 1), (5, 1, 1), (10, 2, 1), (100, 20, 16), (2500, 500, 200),
     (100_000, 500, 200)],
)  # fmt: skip
def test_most_problems_are_left_to_train_on(n, test, dev):
    held = held_out_size(n)
    assert (held, dev_size(n - (held or 0))) == (test, dev)
    assert 2 * (n - (test or 0) - dev) >= n
