"""Which fields init-task takes for what, in data as people publish and write it."""

from __future__ import annotations

import pytest

from star_mlx.errors import TaskError
from star_mlx.init_task.guess import guess
from star_mlx.init_task.names import bare

N = 30


def fields(row, **given):
    return dict(guess([row(i) for i in range(N)], **given).fields)


def chat(i, system="Be kind."):
    turns = (("system", system), ("user", f"What is {i}?"), ("assistant", str(i)))
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


# --------------------------------------------------------------------------- questions


@pytest.mark.parametrize(
    ("row", "question"),
    [
        (lambda i: {"Body": f"Tom has {i}.", "Question": "How many are it?", "Answer": i},
         "{Body} {Question}"),
        (lambda i: {"context": f"Town {i} is old. " * 20, "question": "Is it old?", "answer": i},
         "{context}\n{question}"),
        (lambda i: {"instruction": "Add the numbers.", "input": f"{i} + 5", "output": i},
         "{instruction}\n{input}"),
        (lambda i: {"instruction": f"Add 5 to {i}.", "input": "" if i % 2 else "Or 6.",
                    "output": i}, "{instruction}\n{input?}"),
        (lambda i: {"instruction": f"Who is man {i}?", "context": "" if i % 2 else "He is king.",
                    "response": f"King {i}"}, "{context?} {instruction}"),
        (lambda i: {"premise": f"Man {i} eats his food.", "hypothesis": f"Man {i} sleeps.",
                    "label": "ab"[i % 2]}, "{premise} {hypothesis}"),
        (lambda i: {"question": "Which town is it?", "land": f"The land {i} is by the sea.",
                    "answer": f"T{i}"}, "{land} {question}"),
        (lambda i: chat(i, f"Use the table with number {i}."),
         "{messages.system}\n{messages.user}"),
        (lambda i: {"a {x}": f"Tom has {i} big apples.", "question": "How many?", "answer": i + 1},
         ["a {x}", "question"]),
    ],
)  # fmt: skip
def test_a_question_keeps_its_other_part(row, question):
    assert fields(row)["question"] == question


@pytest.mark.parametrize(
    "row",
    [
        lambda i: {"question": f"What is {i}+1?", "answer": i, "comment": "from an old big book"},
        lambda i: {"question": f"What is {i}+1?", "answer": i, "topic": "sums of two numbers here"},
        lambda i: {"question": f"What is {i}+1?", "answer": i, "note": f"he asked {i} in his book"},
        lambda i: {"question": f"What is {i}+1?", "answer": i, "first": f"{i}"},
        lambda i: {"question": f"A man {i} sat. He?", "answer": i, "start": f"A man {i} sat."},
        lambda i: {
            "question": f"A long question of many words with the number {i} in it, no?",
            "answer": i, "extra": f"some words about the {i}",
        },
    ],
)  # fmt: skip
def test_other_texts_are_no_part_of_a_question(row):
    assert fields(row)["question"] == "question"


def test_why_another_part_is_taken_is_said():
    rows = [
        {"question": "Where?", "answer": f"T{i}", "land": f"Land {i} by the sea"} for i in range(N)
    ]
    found = guess(rows)
    assert found.why["question"] == "by its name; land: 1 of 30 questions are distinct without it"
    rows = [
        {"question": f"{i}?", "answer": f"T{i}", "land": f"Land {i} by the sea"} for i in range(N)
    ]
    assert guess(rows).why["question"] == "by its name; land: questions are short without it"


def test_a_question_without_a_known_name_is_found_by_its_marks():
    assert fields(lambda i: {"frgstxt": f"What is {i}?", "answer": i})["question"] == "frgstxt"
    with pytest.raises(TaskError, match="no field looks like a question"):
        fields(lambda i: {"x": f"it is {i}", "answer": i})


@pytest.mark.parametrize(
    ("given", "question"),
    [
        ("Body,Question", ["Body", "Question"]),
        ("{Body} -> {Question}", "{Body} -> {Question}"),
        ("Question", "Question"),
        ("{Question?} {Body}", "{Question?} {Body}"),
    ],
)
def test_a_question_may_be_given(given, question):
    row = {"Body": "Tom has 3.", "Question": "How many?", "Answer": 3}
    found = guess([row] * N, question=given)
    assert found.fields["question"] == question and found.why["question"] == "as given"
    assert found.unused == (() if "Body" in given else ("Body",))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("{Bdy} {Question}", "no row has a field 'Bdy': did you mean 'Body'?"),
        ("Body,Q", "no row has a field 'Q'"),
        ("{Body", "--question '{Body' has a '{' without its partner"),
    ],
)
def test_a_wrong_question_is_one_line(given, wrong):
    with pytest.raises(TaskError) as error:
        guess([{"Body": "Tom has 3.", "Question": "How many?", "Answer": 3}] * N, question=given)
    assert wrong in str(error.value)


# --------------------------------------------------------------------------- other languages


@pytest.mark.parametrize(
    ("question", "answer", "rationale"),
    [
        ("Frage", "Antwort", "Begründung"),
        ("Aufgabe", "Lösung", "Rechenweg"),
        ("AUFGABE", "Ergebnis", "Lösungsweg"),
        ("pregunta", "respuesta", "explicación"),
        ("Énoncé", "Réponse", "Explication"),
        ("domanda", "risposta", "spiegazione"),
        ("pergunta", "resposta", "explicação"),
        ("vraag", "antwoord", "uitleg"),
        ("вопрос", "ответ", "объяснение"),
        ("質問", "答え", "解説"),
        ("问题", "答案", "解析"),
        ("질문", "정답", "풀이"),
    ],
)
def test_names_in_other_languages(question, answer, rationale):
    found = guess(
        [{rationale: f"Es sind {i} und 1, das macht {i + 1}.", answer: i + 1, question: f"{i}+1"}
         for i in range(N)]
    )  # fmt: skip
    assert found.fields == {"question": question, "answer": answer, "rationale": rationale}


def test_a_bare_name_has_no_accents_or_signs():
    assert bare("Lösung (kurz)") == "losungkurz" and bare("a.Réponse_1") == "reponse1"


# --------------------------------------------------------------------------- rationales


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            lambda i: f"First there are {i}, then one more. That is {i + 1}.",
            "it ends in the answer",
        ),
        (lambda i: [f"There are {i}.", f"One more is {i + 1}."], "it ends in the answer"),
        (lambda i: f"1. take {i} of them\n2. add one\n3. look again closely", "several steps"),
    ],
)
def test_the_content_says_what_a_rationale_is(content, why):
    rows = [{"question": f"What is {i}+1?", "answer": i + 1, "zz": content(i)} for i in range(N)]
    found = guess(rows)
    assert found.fields["rationale"] == "zz" and why in found.why["rationale"]


def test_rationales_of_choices_end_in_the_label_or_the_text():
    for end in ("(B)", "the net"):
        rows = [
            {"question": f"Which is {i}?", "options": ["a pot", "the net"], "answer": "B",
             "zz": f"One can fish number {i} with it, so {end}."}
            for i in range(N)
        ]  # fmt: skip
        assert guess(rows).fields["rationale"] == "zz"


def test_a_passage_with_the_answer_in_it_is_no_rationale():
    rows = [
        {"question": f"Who founded town {i}?", "answer": f"Bob {i}",
         "text": f"Town {i} was founded by Bob {i}, who was king. " + "It is on a river. " * 9}
        for i in range(N)
    ]  # fmt: skip
    assert "rationale" not in guess(rows).fields


@pytest.mark.parametrize(
    ("end", "read"),
    [
        ("The answer is {}.", {"kind": "last-number"}),
        ("Die Antwort ist {}.", {"kind": "marker", "marker": "Die Antwort ist"}),
        ("Answer: {}", {"kind": "marker", "marker": "Answer:"}),
    ],
)
def test_a_whole_solution_is_answer_and_rationale(end, read):
    rows = [
        {"prompt": f"What is {i}?", "response": f"It is as it is, of course. {end.format(i)}"}
        for i in range(N)
    ]
    found = guess(rows)
    assert found.fields["answer"] == found.fields["rationale"] == "response"
    assert {key: found.read[key] for key in read} == read


# --------------------------------------------------------------------------- the rest


def test_every_field_that_is_not_used_is_listed():
    rows = [
        {"id": i, "question": {"stem": f"What is {i}?", "lang": "en"}, "answer": str(i),
         "meta": {"url": f"u{i}"}, "zz": 1}
        for i in range(N)
    ]  # fmt: skip
    assert guess(rows).unused == ("meta", "zz", "question.lang")


def test_answers_in_lists_are_several_right_ones():
    rows = [
        {"question": f"Who is number {i}?",
         "answers": {"text": [f"Bob {i}", f"King {i}"], "answer_start": [1, 2]}}
        for i in range(N)
    ]  # fmt: skip
    assert guess(rows).fields["answer"] == "answers.text"
    rows = [{"question": f"Who is number {i}?", "answer": [f"Bob {i}", f"K {i}"]} for i in range(N)]
    assert guess(rows).fields["answer"] == "answer"


# --------------------------------------------------------------------------- choices, odd files


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (list("ABCDEFGHIJ"), lambda i: "ABCDEFGHIJ"[i % 10]),
        (["sol1", "sol2"], lambda i: i % 2),
        (["ending0", "ending1", "ending2", "ending3"], lambda i: i % 4),
    ],
)
def test_columns_of_choices(names, right):
    found = fields(lambda i: {"goal": f"Do {i}", **dict.fromkeys(names), "label": right(i)} | {
        name: f"text {i} {name}" for name in names})  # fmt: skip
    assert found["choices"] == names


def test_fields_further_inside_can_be_given():
    rows = [{"data": {"item": {"q": f"What is {i}?", "a": i, "x": 1}}} for i in range(N)]
    found = guess(rows, question="data.item.q", answer="data.item.a")
    assert found.fields == {"question": "data.item.q", "answer": "data.item.a"}
    assert found.unused == ()
    with pytest.raises(TaskError, match="no row has a field"):
        guess(rows, question="data.item.q", answer="data.item.b")


def test_a_filled_prompt_is_no_rationale():
    def row(i):
        asked = f"Add the two numbers {i} and 5."
        return {"instruction": asked, "output": i + 5, "text": f"### {asked}\n### Answer: {i + 5}"}

    assert "rationale" not in fields(row)
    found = fields(lambda i: {"question": f"{i} + 5", "answer": i + 5,
                              "thoughts": f"I think that {i} + 5 is {i + 5}"})  # fmt: skip
    assert found["rationale"] == "thoughts"


def test_a_file_without_a_header_is_told_to_get_one():
    rows = [{"What is 1 + 1?": f"What is {i}?", "2": str(i)} for i in range(N)]
    with pytest.raises(TaskError, match="give the file a first line with the names of its columns"):
        guess(rows)
