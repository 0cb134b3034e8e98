"""A JSON list is read item by item: the same items wherever its text is parted."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.data import json_list
from star_mlx.data.rows import rows
from star_mlx.errors import TaskError

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.json"


def read(path, text, encoding=None):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [row.values for row in json_list.read(path, encoding)]


@given(
    st.lists(values, max_size=5),
    st.sampled_from([1, 2, 3, 7, 50]),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_where_the_text_is_parted_does_not_matter(tmp_path_factory, items, chunk, ascii, indent):
    path = tmp_path_factory.getbasetemp() / "parted.json"
    text = json.dumps(items, ensure_ascii=ascii, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "CHUNK", chunk)
        found = read(path, text)
    assert [type(item) for item in found] == [dict if type(i) is dict else str for i in items]
    assert all(a == b for a, b in zip(found, items, strict=True) if isinstance(b, dict))


@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[{"a": 1}, {"b', "a.json, item 2 is cut off: the file ends inside it"),
        ('[{"a": 1}, {"b": "\\u12', "a.json, item 2 is cut off"),
        ('[{"a": tru', "a.json, item 1 is cut off"),
        ('[{"a": 1},', "a.json, item 2 is cut off"),
        ("[", "a.json, item 1 is cut off"),
        ('[{"a": 1}\n', "a.json is cut off: it ends after item 1, without a ]"),
        ('[{"a": 1},]', "a.json, item 2 is not JSON: Expecting value (line 1)"),
        ('[\n{"a": 1},\n{"a" 1}\n]', "item 2 is not JSON: Expecting ':' delimiter (line 3)"),
        ('[{"a": bad}, {"b": "' + "x" * 50 + '"}]', "item 1 is not JSON: Expecting value (line 1)"),
        ('[{"a": 1}\n{"a": 2}]', "line 2 has '{' after item 1, where a comma or ] should be"),
        ('[{"a": 1}]\nx', "line 2 has 'x' after the end of its list"),
        ('[{"a": "x\0"}, 1, 2]', "item 1 is not JSON: Invalid control character"),
        ('[{"a": 1, "a": 2}]', "item 1 is not JSON: the field 'a' occurs twice"),
        ("[" * 100_000, "item 1 is not JSON: maximum recursion depth exceeded"),
        ("hello", "should hold a list of objects, [...], but begins with 'h'"),
        (b'[{"q": 1},\n{"q": "caf\xe9"}]', "a.json, line 2 is not UTF-8 text but seems to be cp12"),
    ],
)
def test_what_is_wrong_is_named_by_its_item(path, monkeypatch, text, wrong, chunk):
    if len(text) > 1000 and chunk < 1000:
        chunk = 1000
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    with pytest.raises(TaskError) as caught:
        read(path, text)
    assert wrong in str(caught.value) and len(str(caught.value)) < 300 + len(str(path))


def test_another_encoding_is_read_and_refused_as_a_whole(path, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK", 3)
    assert read(path, '[{"q": "café"}]'.encode("cp1252"), "cp1252") == [{"q": "café"}]
    with pytest.raises(UnicodeDecodeError):
        read(path, b'[{"q": "\x81"}]', "cp1252")


def test_an_item_without_an_end_is_not_read_to_the_end_of_the_file(path, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK", 100)
    monkeypatch.setattr(json_list, "MOST", 1000)
    with pytest.raises(TaskError, match="item 1 has more than 1,000 characters: a quotation mark"):
        read(path, '[{"q": "' + "x" * 100_000)
    assert read(path, json.dumps([{"q": "x" * 900}])) == [{"q": "x" * 900}]


@pytest.mark.slow
def test_a_large_file_takes_no_more_memory_than_a_small_one(path):
    def peak(items):
        with open(path, "w", encoding="utf-8") as file:
            row = json.dumps({"query": "word " * 100, "response": "step\n" * 100})
            file.write("[" + ",\n".join([row] * items) + "]")
        tracemalloc.start()
        assert sum(1 for _ in rows(path)) == items
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(30_000) < peak(3_000) + (1 << 20) < 8 << 20
