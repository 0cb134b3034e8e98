"""Whether a completion answers yes or no, in the words of the data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from star_mlx.answers.choices import own_part
from star_mlx.answers.completion import boxes
from star_mlx.answers.numerals import ends
from star_mlx.answers.statement import MARKER, cleaned, normalized, statements

_YES = ("yes", "true")
_NO = ("no", "false")
_FAR = 400  # characters of a statement or line that are looked at
_AROUND = " \t*_`\"'“”‘’«»:=$([{#>"
_HASHED = re.compile(r"(?<!#)#{4,}[ \t]{0,4}([^#\n]{1,400})")
_NOT = re.compile(
    r"(?:\b(?:not|never|nicht|pas|hardly)|n['’]t)(?:\s\w{1,12}){0,1}[\s\"'*_`]{1,4}\Z",
)
_CLOSES = re.compile(r"[\s\"'*_`”’»)\]}$]{0,6}(?:[.,;:!?–—。，]|-|$)")
_REASON = re.compile(
    r"[\s\"'*_`)]{0,4},?\s?(?:because|since|as|for|it|they|he|she|this|that|there|the|weil|denn|da|"
    r"parce|car|porque)\b",
)
_OR = re.compile(r"[\s\"'*_`]{0,4}(?:/|\bor\b|\band\b|\boder\b|\bou\b|\bo\b)\s?\W{0,3}")
_SENTENCES = re.compile(r"(?<=[.!?])\*{0,2}\s")
_ADVERBS = re.compile(
    r"\A(?:(?:definitely|clearly|certainly|probably|therefore|simply|that)\b[\s,:]{0,2}){0,3}"
)

_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_STOPS = re.compile(r"[\s\"'*_`”’»)\]}$.!。]{0,8}\Z")
_CONCLUDES = re.compile(r"\W{0,4}(?:so|thus|therefore|hence|in conclusion|finally)\b")


class YesNo:
    """The words for yes and no; the English ones are always understood.

    >>> YesNo().read("Penguins are birds. The answer is: **Yes**, because ...")
    'yes'
    >>> YesNo(("ja",), ("nein",)).read("Die Antwort ist nicht ja.", "Die Antwort ist")
    'nein'
    """

    def __init__(self, yes: Sequence[str] = (), no: Sequence[str] = ()) -> None:
        own = [_folded(word) for word in yes], [_folded(word) for word in no]
        self._pairs = (own, (list(_YES), list(_NO)))
        self._values: dict[str, bool] = {}
        for positive, negative in reversed(self._pairs):  # a word of the data's own has its meaning
            self._values |= dict.fromkeys(positive, True) | dict.fromkeys(negative, False)
        words = "|".join(_pattern(word) for word in sorted(self._values, key=len, reverse=True))
        self._word = re.compile(f"({words})")

    def value(self, text: str) -> bool | None:
        """Whether a text that is a word for yes or no is yes; None for any other text."""
        return self._values.get(normalized(cleaned(text)))

    def same(self, answer: str, gold: str) -> bool:
        """Whether both are yes, or both no."""
        value = self.value(answer)
        return value is not None and value == self.value(gold)

    def read(self, completion: str, marker: str = MARKER) -> str | None:
        """The word for the answer that a completion gives; None for none, or for both.

        Tried in order: the last "answer is", box or ####; the beginning of the last line; its last
        sentence, if it ends in the word; the beginning of the first line.
        """
        thought = completion.rpartition("</think>")[2]
        text = unicodedata.normalize("NFKC", ends(thought if thought.strip() else completion))
        text = own_part(text).casefold()
        for statement in self._statements(text, marker):
            found = self._statement(statement[:_FAR])
            if found is not None:
                return found or None
        lines = [line for line in text.split("\n") if line.strip(_AROUND)]
        if not lines:
            return None
        tried = [self._begins(lines[-1]), self._ends(lines[-1]), self._begins(lines[0])]
        if _CONCLUDES.match(_SENTENCES.split(lines[-1][-_FAR:])[-1]):
            tried.insert(0, tried[1])
        return next((found for found in tried if found), None)

    def _statements(self, text: str, marker: str) -> Iterator[str]:
        yield from reversed(boxes(text))
        yield from (found[1] for found in _HASHED.finditer(text))
        yield from statements(text, marker)

    def _statement(self, text: str) -> str | None:
        """The answer of what follows "the answer is"; "" if it says both."""
        begin = _ADVERBS.sub("", text.lstrip(_AROUND)).lstrip(_AROUND)
        first = self._word.match(begin)
        if first is not None:
            other = _OR.match(begin, first.end())
            second = self._word.match(begin, other.end()) if other else None
            both = second and self._values[first[1]] != self._values[second[1]]
            return "" if both else self._named(first[1], True)
        found = {self._said(match, text) for match in self._word.finditer(_sentence(text))}
        found.discard(None)
        return "" if len(found) > 1 else found.pop() if found else None

    def _said(self, match: re.Match[str], text: str) -> str | None:
        """The answer that a word within a sentence gives; a "no" before a noun gives none."""
        if not self._values[match[1]] and not self._closed(text, match.end()):
            return None
        before = text[max(0, match.start() - 40) : match.start()]
        return self._named(match[1], not _NOT.search(before))

    def _begins(self, line: str) -> str | None:
        """The answer that a line begins with: "Yes, because ...", "**No**"."""
        line = line[:_FAR].lstrip(_AROUND + "-")
        match = self._word.match(line)
        if match is None or not self._closed(line, match.end()):
            return None
        return self._statement(line) or None

    def _ends(self, line: str) -> str | None:
        """The answer that the last sentence of a line ends in: "So the claim is not true."."""
        sentence = _SENTENCES.split(line[-_FAR:].rstrip())[-1]
        found = [*self._word.finditer(sentence)]
        if not found or not _STOPS.match(sentence, found[-1].end()):
            return None
        said = {self._values[match[1]] for match in found}
        before = sentence[: found[-1].start()]
        return None if len(said) > 1 else self._named(found[-1][1], not _NOT.search(before[-40:]))

    def _closed(self, text: str, place: int) -> bool:
        return bool(_CLOSES.match(text, place) or _REASON.match(text, place))

    def _named(self, word: str, asserted: bool) -> str:
        """The word itself, or if it is denied, its opposite."""
        for yes, no in self._pairs if not asserted else ():
            for own, others in ((yes, no), (no, yes)):
                if word in own and others:
                    return others[min(own.index(word), len(others) - 1)]
        return word


def _sentence(text: str) -> str:
    return _SENTENCES.split(text, maxsplit=1)[0]


def _folded(word: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())


def _pattern(word: str) -> str:
    """A word for a pattern: no part of another word, in scripts with blanks between words."""
    escaped = re.escape(word)
    return escaped if _UNSPACED.search(word) else rf"(?<!\w){escaped}(?!\w|['’]t\b)"
