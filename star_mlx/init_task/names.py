"""The names that fields have in people's data, in several languages, and the fields of a sample."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from star_mlx.data import fields

FieldColumns = Mapping[str, list[Any]]  # field name -> its values


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Without case, accents and signs, as ``bare`` makes them. The first are preferred.
QUESTIONS = _words("""
    question problem query prompt instruction input stem text goal sentence hypothesis
    frage aufgabe aufgabenstellung problemstellung fragestellung
    pregunta problema enunciado ejercicio probleme enonce exercice
    domanda quesito pergunta questao vraag opgave pytanie zadanie fraga uppgift
    вопрос задача 質問 問題 問い 设问 问题 問題文 题目 題目 질문 문제 문항 سؤال प्रश्न
    claim statement user human ctx
""")
ANSWERS = _words("""
    answer answers answerkey finalanswer correctanswer correct gold target label expected
    expectedanswer solution output response
    antwort antworten richtigeantwort losung loesung ergebnis endergebnis resultat
    respuesta respuestacorrecta solucion resultado reponse bonnereponse
    risposta soluzione risultato resposta solucao antwoord oplossing odpowiedz svar
    ответ решение 答え 回答 解答 正解 答案 解 정답 답 답변 대답 جواب उत्तर
    assistant gpt completion
""")
CHOICES = _words("""
    choices options answerchoices endings
    antwortmoglichkeiten auswahl optionen opciones choix opzioni scelte opcoes alternativas opties
    antwortmoeglichkeiten
    варианты 選択肢 选项 選項 보기 선택지
""")
IDS = ("id", "uid", "idx", "qid", "questionid", "uuid", "nr", "nummer", "номер", "番号", "编号")
RATIONALES = _words("""
    rationale explanation solution reasoning cot chainofthought steps workings derivation
    begrundung erklarung losungsweg rechenweg erlauterung herleitung losung
    begruendung erklaerung loesungsweg erlaeuterung loesung
    explicacion razonamiento justificacion solucion explication raisonnement justification
    spiegazione ragionamento soluzione explicacao raciocinio uitleg uitwerking
    объяснение пояснение решение 解説 説明 理由 解释 解析 解題 풀이 해설 설명
""")
CLASSES = _words("""
    class category subject topic level difficulty type
    klasse kategorie thema fach stufe schwierigkeit typ art
    categoria tema nivel tipo categorie sujet niveau categoria livello
    категория тема カテゴリ 分類 难度 类别 유형
""")
# A part of the question that comes before it.
CONTEXTS = _words("""
    context passage body paragraph article story background premise document scenario situation
    facts textpassage kontext sachverhalt textstelle abschnitt geschichte vorgabe
    contexto pasaje texto parrafo contexte passagetexte texte
    contesto brano paragrafo trecho контекст отрывок текст 文脈 本文 文章 背景 上下文 材料 지문 본문
""")
# Prose that is no part of a question, whatever its length.
ASIDES = _words("""
    hint hints comment comments note notes feedback source url link title author license date
    metadata hinweis tipp kommentar notiz anmerkung quelle titel autor pista nota fuente titulo
    indice remarque auteur titre system equation formula
""")
MARKERS = (
    "the final answer is", "the correct answer is", "the answer is", "final answer:", "answer:",
    "die richtige antwort ist", "die antwort lautet", "die antwort ist", "antwort:", "lösung:",
    "la respuesta es", "respuesta:", "la réponse est", "réponse :", "réponse:",
    "la risposta è", "a resposta é", "ответ:", "答えは", "答案是", "答案：",
)  # fmt: skip

_INNER = ("text", "value", "content")  # "answers.text" is named by its outer field


def bare(name: str) -> str:
    """A name without case, accents, spaces and signs; of ``a.b`` the last part."""
    plain = unicodedata.normalize("NFKD", name.rpartition(".")[2].casefold())
    return "".join(c for c in plain if c.isalnum())


def named(columns: FieldColumns, names: Sequence[str]) -> list[str]:
    """The fields with these names, in the names' order, then those whose names contain one."""
    called = {
        c: {bare(c), bare(c.rpartition(".")[0]) if bare(c) in _INNER else ""} for c in columns
    }
    exact = [c for name in names for c in columns if bare(name) in called[c]]
    # A short name is a part of many words, except in scripts that have a sign for a syllable.
    parts = [name for name in names if len(name) > (4 if name < "\u0e00" else 1)]
    within = [c for name in parts for c in columns if bare(name) in bare(c)]
    return list(dict.fromkeys(exact + within))


def columns_of(rows: Sequence[Mapping[str, Any]]) -> FieldColumns:
    """Dotted field name -> its values, without nulls and blanks; outer fields come first.

    The roles of chat turns are fields too, such as ``messages.user``.
    """
    found: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        if value is not None and str(value).strip():
            found.setdefault(name, []).append(value)

    for row in rows:
        for name, value in row.items():
            note(name, value)
            if isinstance(value, Mapping):
                for inner, part in value.items():
                    note(f"{name}.{inner}", part)
            for role, said in fields.turns(value).items():
                note(f"{name}.{role}", said[0])
    return dict(sorted(found.items(), key=lambda item: "." in item[0]))


def is_text(values: Sequence[Any]) -> bool:
    """Whether all values are texts."""
    return all(isinstance(value, str) for value in values)


def is_json(values: Sequence[Any]) -> bool:
    """Whether all values are texts that look like JSON lists or objects."""
    return is_text(values) and all(re.match(r"\s*[\[{]", v) for v in values)
