"""The choice that a completion of a multiple-choice question ends in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from star_mlx.answers.numerals import ends

_FAR = 400  # characters that a statement of the answer may take
_MOST = 64
_NEXT = re.compile(
    r"<\|[A-Za-z_]{2,30}\|?>|</s>|\[/?INST\]"
    r"|^[ \t]{0,4}(?:#{1,3} ?)?\*{0,2}(?:Q|Question|Problem|Input|Instruction|Human|User)"
    r"(?: ?[0-9]{1,4})?\*{0,2} ?:",
    re.MULTILINE,
)
_ANSWER = re.compile(
    r"\b(?:answers?(?! choices)|correct (?:choice|option)|best (?:choice|option))\b", re.IGNORECASE
)
_STATES = re.compile(
    r"[^.\n:]{0,60}?(?:\b(?:is|was|be)\b:?|:)(?: (?:option|choice|letter)(?=[ :*(]{1,4}\w\b))?",
    re.IGNORECASE,
)
_FONT = re.compile(r"\\(?:text|textbf|mathrm|mathbf) ?\{([^{}]{0,80})\}")
_BOX = re.compile(r"\\(?:boxed|fbox) ?\{([^{}]{0,80})\}")
_BOXES = re.compile(r"\}[ $]{0,2}(or|and) {0,2}\$?\\(?:boxed|fbox) ?\{")  # two of them, as one
_MARKUP = " \t\n*_`\"'“”‘’:~$"
_NEXT_SENTENCES = re.compile(r"[.!?](?=\s|$).*", re.DOTALL)
_BECAUSE = re.compile(r"[ ,;]{0,2}(?:because|since|as|for|due|which|and|given)\b", re.I)

_REASONED = re.compile(r",? (?:because|since)\b", re.IGNORECASE)


def choice(text: str, labels: Sequence[str], texts: Sequence[str] = ()) -> str | None:
    """The label a completion ends in, as it stands in ``labels``; None for none or more than one.

    Tried in order: the last "answer is", "answer:" or box; a last line that is a label or a
    choice's text; the labels in brackets or bold in the last line that has any. The article "A" is
    no label.

    Args:
        text: What the model wrote.
        labels: The labels of the choices, such as A to E.
        texts: The choices themselves, in the same order, to be matched where no label stands.
    """
    if not labels:
        return None
    reader = _Reader(labels, texts)
    text = unicodedata.normalize("NFKC", ends(text))
    text = _BOX.sub(r" answer: \1 ", _BOXES.sub(r" \1 ", _FONT.sub(r" (\1) ", text)))
    text = own_part(text)
    for place in reversed([m.end() for m in _ANSWER.finditer(text)][-_MOST:]):
        states = _STATES.match(text, place)
        if states is not None:
            found = reader.statement(text[states.end() : states.end() + _FAR])
            if found is not None:
                return found or None
    lines = [line for line in text.split("\n") if line.strip(_MARKUP + "#")]
    if not lines:
        return None
    found = reader.alone(lines[-1][:_FAR])
    return (reader.marked(lines[-_MOST:]) if found is None else found) or None


def own_part(text: str) -> str:
    """The text up to another question, after it has said something of its own."""
    begin = re.search(r"\S", text)
    end = _NEXT.search(text, begin.end()) if begin else None
    return text[: end.start()] if end else text


class _Reader:
    """The patterns of one question's labels and texts. "" stands for an ambiguous answer."""

    def __init__(self, labels: Sequence[str], texts: Sequence[str]) -> None:
        self.labels = {label.casefold(): label for label in labels}
        self.texts = [(_folded(t), label) for t, label in zip(texts, labels, strict=False)]
        # A label that begins with another one goes before it.
        one = "|".join(re.escape(label) for label in sorted(labels, reverse=True))
        self.bracketed = re.compile(rf"[(\[{{] ?({one}) ?[)\]}}]", re.IGNORECASE)
        self.begins = re.compile(rf"({one})(?!\w)", re.IGNORECASE)
        self.closed = re.compile(rf"(?<!\w)[(\[{{]? ?({one}) ?[)\]}}]", re.IGNORECASE)
        self.other = re.compile(
            r"[)\]}*_ ]{0,4}(?:(?:\bor\b|\band\b|/|&|,) {0,2}[*(\[]{0,3}|[(\[])"
            rf"({one})[)\]*]{{0,3}}(?=[.,;!?]?(?:\s|$)(?! ?[a-z]))",
            re.IGNORECASE,
        )
        self.bold = re.compile(rf"\*\*\(?({one})(?:[).:]|\*\*)", re.IGNORECASE)

    def statement(self, text: str) -> str | None:
        """What "the answer is" is followed by: its line, or the next where that is empty."""
        line = text.lstrip(_MARKUP).partition("\n")[0]
        sentence = _NEXT_SENTENCES.sub("", line)
        line = line.lstrip(_MARKUP + "([{")
        begins = self.begins.match(line)
        if begins and self._is_label(begins, line):
            other = self.other.match(line, begins.end())
            return self._one([begins[1], other[1] if other else begins[1]])
        for part in (sentence, line):
            found = self.bracketed.findall(part)
            if found:
                return self._one(found)
        return self._by_text(sentence)

    def alone(self, line: str) -> str | None:
        """The label of a line that is nothing else, or a label with its text, or a text."""
        line = line.strip(_MARKUP + "#").lstrip("([{")
        bare = self.begins.match(line)
        if bare:
            rest = line[bare.end() :]
            said = _folded(rest)
            if not said or any(said == t for t, _ in self.texts):
                return self._one([bare[1]])
            if rest.startswith((")", "]")):  # A) (B), or all the choices in one line
                other = self.closed.search(rest)
                if other and self._nothing_else(bare[1], rest[: other.start()]):
                    return self._one([bare[1], other[1]])
            if rest.startswith((")", "]", ".", ":")):
                return None if self.bracketed.search(rest) else self._one([bare[1]])
            if _REASONED.match(rest):
                return self._one([bare[1]])
        same = [label for t, label in self.texts if t == _folded(line)]
        return same[0] if len(same) == 1 else None

    def marked(self, lines: Sequence[str]) -> str | None:
        """The only label in brackets or bold in the last line that has any."""
        for line in reversed(lines):
            found = self.bracketed.findall(line[-_FAR:]) + self.bold.findall(line[-_FAR:])
            if found:
                return self._one(found)
        return None

    def _is_label(self, match: re.Match[str], line: str) -> bool:
        """Whether a label a statement begins with is one, and not the article "a"."""
        rest = line[match.end() :].lstrip("*_`\"'")
        if not rest or rest[0] in ")]}.:,;!?" or rest.lstrip()[:1] in "([-–—,;:":
            return True
        if _BECAUSE.match(rest) and not rest.startswith(" and "):
            return True
        if match[1] in ("a", "A", "I", "i"):
            return match[1].isupper() and self._own_text(match[1], rest)
        return match[1] in self.labels.values() or self._own_text(match[1], rest)

    def _own_text(self, label: str, rest: str) -> bool:
        """Whether a label is followed by its own choice's text."""
        own = [t for t, name in self.texts if name.casefold() == label.casefold()]
        return bool(own and _folded(_NEXT_SENTENCES.sub("", rest)) == own[0])

    def _nothing_else(self, label: str, rest: str) -> bool:
        """Whether a label is followed by nothing but its own choice's text."""
        return not _folded(rest) or self._own_text(label, rest)

    def _one(self, found: Sequence[str]) -> str:
        different = {label.casefold() for label in found}
        return self.labels[different.pop()] if len(different) == 1 else ""

    def _by_text(self, sentence: str) -> str | None:
        """The only choice whose text a sentence is or holds, a text within a longer one apart."""
        said = f" {_folded(sentence)} "
        inside = [(f" {t} ", label) for t, label in self.texts if t and f" {t} " in said]
        longest = [n for t, n in inside if not any(t != o and t in o for o, _ in inside)]
        if len(longest) > 1:
            return ""
        return longest[0] if longest else None


def _folded(text: str) -> str:
    """Words alone: no case, marks or leading article."""
    words = re.sub(r"[^\w]+", " ", text.casefold()).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)
