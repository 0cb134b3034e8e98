"""The number that a completion of a GSM8K problem ends in.

Ways of stating an answer are tried in order of how sure they are: ``#### 18``, ``\boxed{18}``,
"the answer is 18", a bold number in the last line, the last number. Python's ``re`` has no atomic
groups before 3.11, so every repeat is bounded or cannot give way.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from star_mlx.answers.numerals import (
    NUMBER_WORDS,
    Numeral,
    ends,
    last_numeral,
    numerals,
    plain,
    ungrouped,
)

_MOST = 64  # candidates of one kind to examine: a repetition loop has thousands of equal ones
_FAR = 400  # characters that a statement of the answer may take

_ANNOTATION = re.compile(r"<<[^<>]{0,200}=([^<>=]{0,60})>>(?=([-$]{0,2}\.?[0-9])?)")
_NOTHING = re.compile(
    r"[\W_]{0,6}(?:n/a\b|none\b|no (?:answer|solution)|unknown|undefined|cannot\b|can't|can not|"
    r"not (?:enough|possible|known|given|sure|clear)|impossible|insufficient|indeterminate)",
    re.IGNORECASE,
)

# Where the text goes on to a problem of its own. The first kind are tokens and turns that no
# answer holds; the second are words that stand in an answer too, before the problem is solved.
_SURE_END = re.compile(
    r"<\|[A-Za-z_]{2,30}\|?>|</s>|<eos>|<(?:end|start)_of_turn>|\[/?INST\]"
    r"|^[ \t]{0,4}(?:#{1,3} ?(?:Instructions?|Inputs?|Human|User)\b"
    r"|\*{0,2}(?:Q|Human|User)(?: ?[0-9]{1,4})?\*{0,2} ?:)",
    re.MULTILINE,
)
_LIKELY_END = re.compile(
    r"^[ \t>]{0,4}(?:#{1,4} ?)?\*{0,2}(?:Question|Problem|Input|Instruction|Example|Exercise)s?"
    r"(?: ?#?[0-9]{1,4})?(?:\*{0,2} ?:|\*{0,2}$)",
    re.MULTILINE | re.IGNORECASE,
)
_DIGIT = re.compile("[0-9]")
_ANSWERED = re.compile(
    r"#### |\\boxed|\\fbox|\banswer(?: is|:|\*\*)|= ?[$€£]?[-.0-9]|\*\*[-$€£0-9]", re.IGNORECASE
)

_HASHED = re.compile(r"#{4,}\s{0,4}([^#\n]{0,400})")
_MINUS = re.compile(r"\A- ")
_HEADING = re.compile(
    r"[\W_]{0,4}(?:(?:step|part|case|method|option|day|week|phase|section)\b"
    r"|[0-9]{1,2}[.)]\*{0,2} +[^\W\d])",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\b(?:answer|ans)\b(?! choices)", re.IGNORECASE)
_STATES = re.compile(
    r"[^.\n:=]{0,60}?\b(?:is|are|was|be|equals?|comes? (?:out )?to)\b"
    r"|(?P<colon>[\s*_)\]#]{0,6}(?:\([^()\n]{0,40}\)[ *_]{0,4})?[:=])"
)
_FILLER = re.compile(
    r"(?:[\s*_:=~≈$({\[`\"'\\]|approximately\b|about\b|around\b|only\b|exactly\b|therefore,?|then\b|"
    r"thus,?|simply\b|just\b|equal to\b|the answer is\b|answer\b|final\b|a total of\b|[a-z] ?=|"
    r"usd\b|us(?=\$)|rs\b\.?){0,12}",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-z])")
_FONT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\b ?")
_STOP = re.compile(
    r"(?<!\bMr)(?<!\bDr)(?<!\bMrs)(?<!\bMs)(?<!approx)[.!?](?=[\s*$\"')]|$|[A-Z])|[\n;]"
)
_OPERATOR = re.compile(r"[ )\]%]{0,3}(?:[A-Za-z/]{1,15} ?){0,2}[*/+x=-]")
_VARIABLE = re.compile(r"[ $\\]{0,3}[A-Za-z][ $\\)]{0,3}")
_GOES_ON = re.compile(r"[ )\]%]{0,3}[*/+x^-] ?[$(]?[0-9]")
_RESULT = re.compile(
    r"\b(?:which (?:is|equals|gives|makes)|equals|or|for a total of"
    r"|round(?:s|ed|ing)?(?: (?:up|down))? to) [$€£]?(?=-?[.0-9])"
)
_REASON = re.compile(r"\b(?:because|since)\b")
_CIRCUMSTANCE = re.compile(
    r"[a-z]\)? (?:in|after|within|over|for|from|per|than|to \w{2,10})"
    r"(?: (?:the|those|these|each|all|of|a))* [$€£]?\Z"
)
_WORD = re.compile(
    "(" + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True)) + r")\b"
    r"(?![- ](?:of|more|less|half|third|quarter|and|hundred|thousand|million|by|is|way"
    r"|one|two|three|four|five|six|seven|eight|nine)\b)",
    re.IGNORECASE,
)


class FinalNumber(NamedTuple):
    """The number that a completion ends in, and the text from where it is written."""

    number: str
    shown: str


_UNKNOWN = FinalNumber("", "")  # the answer is said not to be known


def final_number(completion: str) -> str | None:
    """The number a completion gives as its answer, without currency, grouping or units.

    Text after the answer, such as another invented problem, is not read. None if there is no
    number, or if the answer is said to be unknown.
    """
    found = final(completion)
    return None if found is None else found.number


def final(completion: str) -> FinalNumber | None:
    """As ``final_number``, with the text from the number on, in which its unit can be read."""
    text = own_part(plain(_worked(completion)))
    for reading in (_hashed, _boxed, _stated, _bold, _last):
        found = reading(text)
        if found is not None:
            return None if found is _UNKNOWN else found
    return None


def _at(found: Numeral, text: str) -> FinalNumber:
    return FinalNumber(found.text, text[found.start : found.end + _FAR])


def _worked(text: str) -> str:
    """The text after any thinking, without calculator annotations, whose result stays."""
    before, _, rest = text.rpartition("</think>")
    text = ends(rest if _DIGIT.search(rest) else before or rest)
    if "<<" in text:
        text = _ANNOTATION.sub(lambda m: "" if m[2] else m[1], text).replace("<<", " ")
    return text


def own_part(text: str) -> str:
    """The text up to where it goes on to another problem, after it has something of an answer."""
    ends = [len(text)]
    for pattern, evidence in ((_SURE_END, _DIGIT), (_LIKELY_END, _ANSWERED)):
        found = evidence.search(text)
        end = pattern.search(text, found.end()) if found else None
        if end:
            ends.append(end.start())
    return text[: min(ends)]


def _hashed(text: str) -> FinalNumber | None:
    """The first ``####`` line with a number: a model that runs on writes a second one."""
    lines = [m[1] for m in islice(_HASHED.finditer(text), _MOST)]
    lines = [line for line in lines if line.strip() and not _HEADING.match(line)]
    for line in lines:
        if _NOTHING.match(line):
            return _UNKNOWN
        found = _begins(ungrouped(_MINUS.sub("-", line)))
        if found is not None:
            return found
    for line in lines:
        found = _statement(line)
        if found is not None:
            return found
    return None


def _boxed(text: str) -> FinalNumber | None:
    """The number in the last box that has one."""
    for box in reversed([m.end() for m in _BOX.finditer(text)][-3:]):
        rest = text[box : box + _FAR]
        content = _braced(rest)
        after = rest[len(content) + 1 :]
        if _NOTHING.match(content):
            return _UNKNOWN
        content = ungrouped(content)
        found = _begins(content) or _statement(content)
        if found is not None:
            return FinalNumber(found.number, found.shown + after)
    return None


def boxes(text: str) -> list[str]:
    """What is in the last boxes of a text, without the names of fonts."""
    places = [m.end() for m in _BOX.finditer(text)][-3:]
    return [_FONT.sub("", _braced(text[place : place + _FAR])[1:]) for place in places]


def _braced(text: str) -> str:
    """The content of the braces at the start of a text; its first line if they are not closed."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth <= 0 and character == "}":
            return text[:i]
    return text.partition("\n")[0]


def _stated(text: str) -> FinalNumber | None:
    """The number after the last "answer is" or "answer:" that has one."""
    places = [m.end() for m in _ANSWER.finditer(text)][-_MOST:]
    for place in reversed(places):
        rest = text[place : place + _FAR]
        states = _STATES.match(rest)
        if states is None:
            continue
        rest = rest[states.end() :].lstrip(" \n\t*_:")
        if _NOTHING.match(rest):
            return _UNKNOWN
        found = _begins(rest)
        if states["colon"] and not _closes(text, place, rest, found is not None):
            continue
        found = found or _statement(_sentence(rest))
        if found is not None:
            return found
    return None


def _closes(text: str, place: int, rest: str, begins: bool) -> bool:
    """Whether what follows "Answer:" is the answer, and not the whole rationale under a heading."""
    sentence = _sentence(rest)
    after = rest[len(sentence) :]
    if not begins:
        return not _DIGIT.search(after)
    opens = not _DIGIT.search(text[max(0, place - _FAR) : place])
    alone = len([*numerals(sentence)]) == 1
    return alone or not opens or not _DIGIT.search(after)


def _bold(text: str) -> FinalNumber | None:
    """The last bold number of the last line that has a number."""
    last = last_numeral(text)
    if last is None:
        return None
    begin = max(text.rfind("\n", 0, last.start) + 1, last.start - _FAR)
    line = text[begin : last.end + _FAR]
    for bold in reversed(list(_BOLD.finditer(line))):
        found = [n for n in numerals(line, bold.start(1)) if n.end <= bold.end(1)]
        if len(found) == 1 and not found[0].doubtful:
            return _at(found[0], line)
    return None


def _last(text: str) -> FinalNumber | None:
    """The last number, but in a sentence with "=" the one that stands alone after it."""
    last = last_numeral(text)
    if last is None:
        return None
    before = text[max(0, last.start - _FAR) : last.start]
    begin = max((m.end() for m in _STOP.finditer(before)), default=0)
    sentence = before[begin:] + _sentence(text[last.start : last.start + _FAR])
    reason = _REASON.search(sentence)
    if reason and "=" not in sentence and _DIGIT.search(sentence, 0, reason.start()):
        sentence = sentence[: reason.start()]
    found = [n for n in numerals(sentence) if not n.doubtful]
    end = _at(found[-1], sentence) if found else _at(last, text)
    results = [m.end() for m in _RESULT.finditer(sentence, sentence.rfind("=") + 1)]
    if results:
        return next((_at(n, sentence) for n in found if n.end > results[-1]), end)
    if "=" in sentence:
        return _equated(sentence) or end
    if len(found) > 1 and _CIRCUMSTANCE.search(sentence[: found[-1].start]):
        return _at(found[-2], sentence)
    return end


def _sentence(text: str) -> str:
    """The first sentence of a text."""
    stop = _STOP.search(text)
    return text[: stop.start()] if stop else text


def _begins(text: str) -> FinalNumber | None:
    """The number a statement begins with, or what the calculation it begins with comes to."""
    filler = _FILLER.match(text)
    start = filler.end() if filler else 0
    sentence = _sentence(text[start:])
    found = next(numerals(sentence), None)
    if found is not None and found.start == 0:
        equated = None
        if "=" in sentence and _OPERATOR.match(sentence, found.end):
            equated = _equated(sentence)
        sign = "$" if text[:start].endswith("$") else ""
        return equated or FinalNumber(found.text, sign + sentence)
    word = None if found else _WORD.match(sentence)
    if word is None:
        return None
    value = str(NUMBER_WORDS[word[1].lower()])
    return FinalNumber(value, value + sentence[word.end() :])


def _statement(sentence: str) -> FinalNumber | None:
    """The number of a statement that begins in words: after "=" or "which is", else the first."""
    found = [n for n in numerals(sentence[:_FAR]) if not n.doubtful]
    if not found:
        return None
    if "=" in sentence and _OPERATOR.match(sentence, found[0].end):
        return _equated(sentence) or _at(found[0], sentence)
    results = list(_RESULT.finditer(sentence))
    if results:
        begin = results[-1].end() - 1
        return _at(next((n for n in found if n.start >= begin), found[-1]), sentence)
    return _at(found[0], sentence)


def _equated(sentence: str) -> FinalNumber | None:
    """The last side of an equation chain that is a single number: 15 of ``5 * 3 = 15 apples``."""
    *sides, last = sentence.split("=")[-8:]
    if sides and _VARIABLE.fullmatch(last):  # 20 = A
        found = list(numerals(sides[-1]))
        return _at(found[-1], sides[-1]) if found else None
    for side in (last, *reversed(sides)):
        first = next(numerals(side), None)
        if first is not None and not _GOES_ON.match(side, first.end):
            return _at(first, side)
    return None
