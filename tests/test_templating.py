"""Templates: what is put into a document is escaped as the document needs it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from star_mlx.export import facts
from star_mlx.report.templating import Safe, environment
from star_mlx.share import markdown

ESCAPES = {"md": lambda value: f"<{value}>", "py": repr}


@pytest.fixture
def rendered(tmp_path):
    def render(files: dict[str, str], **values: object) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.j2").write_text(text)
        return environment(tmp_path, ESCAPES).get_template(f"{next(iter(files))}.j2").render(values)

    return render


def test_a_value_is_escaped_once_by_the_kind_of_its_own_template(rendered):
    files = {
        "a.md": "{% macro m(x) %}({{ x }}){% endmacro %}{{ v }} {{ m(v) }} {% include 'b.py.j2' %}",
        "b.py": "{{ v }}, {{ [v] }}, {{ 1 }}",
    }
    assert rendered(files, v="it's") == """<it's> (<it's>) "it's", ["it's"], 1"""


def test_what_is_safe_stays_and_what_is_made_of_it_does_not(rendered):
    files = {"a.md": "{{ v }} {{ w|safe }} {{ v.upper() }}"}
    assert rendered(files, v=Safe("*a*"), w="*b*") == "*a* *b* <*A*>"


@pytest.mark.parametrize("kind", ["md", "py"])
def test_a_value_that_is_not_given_is_refused(rendered, kind):
    with pytest.raises(UndefinedError, match="'v' is undefined"):
        rendered({f"a.{kind}": "{{ v }}"})


def test_the_line_of_a_block_leaves_nothing_and_the_texts_end_stays(rendered):
    text = "a\n  {% if v %}\nb{% if v %}c{% endif +%}\n{% endif %}\n"
    assert rendered({"a.md": text}, v=True) == "a\nbc\n"


def test_shell_and_python_in_a_card_quote_what_they_are_given():
    base = facts.BaseFacts("org/base", "org/base", None, "h", 4, None, None)
    values = {"repo": "a b; $c", "pulled": "p'q", "question": Safe("'?'"), "base": base}
    text = markdown.document("try.sh.j2", **values)
    pull, ask = map(shlex.split, text.splitlines())
    assert pull == ["star-mlx", "pull", "a b; $c"] and ask == ["star-mlx", "try", "p'q", "?"]
    text = markdown.document("llama-cpp.py.j2", llama_cpp="gguf", placeholders={"'": '"\n`'})
    assert """prompt.replace("'", '"\\n`')\n""" in text


@pytest.mark.slow
def test_jinja2_is_not_imported_before_a_document_is_written():
    code = (
        "import sys, star_mlx.report.templating, star_mlx.share.card, star_mlx.share.dataset;"
        "print([name for name in ('jinja2', 'markupsafe') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
