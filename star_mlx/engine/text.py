"""Convert between text and token ids, and find where a stop string begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from star_mlx.engine import tokenizer_json
from star_mlx.errors import ModelError
from star_mlx.formatting import clipped

# The parts of a date, as strftime knows them.
_FORMS = tuple("%" + form for form in (*"YymdebBaAjHIMSpfF", *("-d", "-m", "-y", "-j", "-H", "-I")))


class Text:
    """A tokenizer for both generation and training, so that their token boundaries agree."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos: frozenset[int] = frozenset(int(i) for i in tokenizer.eos_token_ids)
        first = tokenizer.eos_token_id
        self.end: int = int(first) if first in self.eos else min(self.eos)
        plain = self.encode("a")
        marked = self._ids("a", add_special_tokens=True)
        starts = range(len(marked) - len(plain) + 1)
        at = next((i for i in starts if marked[i : i + len(plain)] == plain), 0)
        self._front = marked[:at]  # the tokens before a text: a BOS, or none

    def encode(self, text: str) -> list[int]:
        """Token ids, without special tokens.

        Raises:
            ModelError: the tokenizer does not know what to make of the text.
        """
        return self._ids(text, add_special_tokens=False)

    def _ids(self, text: str, *, add_special_tokens: bool) -> list[int]:
        try:
            ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        except BaseException as error:
            if not tokenizer_json.raised(error):
                raise
            why = clipped(" ".join(str(error).split()), 300)
            raise ModelError(
                f"the model's tokenizer cannot read {clipped(text, 40)!r}: {why}; its "
                "tokenizer.json may be damaged: get it again"
            ) from error
        return [int(i) for i in ids]

    def prompt(self, text: str) -> list[int]:
        """Token ids of a text at the start of a sequence, for both generation and training.

        A chat template may already have written the start token.
        """
        ids = self.encode(text)
        return ids if ids[: len(self._front)] == self._front else self._front + ids

    @property
    def start(self) -> str:
        """The text of the tokens that are put before every text, such as ``<bos>``; or empty."""
        return self.decode(self._front)

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = {},
        date: str | None = None,
    ) -> str:
        """Turns in the chat template, as text; see ``types.Engine``.

        Raises:
            ModelError: the model has none, or it refuses the turns.
        """
        messages = [{"role": role, "content": content} for role, content in turns]
        if not getattr(self._tokenizer, "chat_template", None):
            raise ModelError(
                "the model has no chat template: give prompts.chat=false, or its instruct version"
            )
        from jinja2 import TemplateError  # slow to import

        given = dict(template)
        own = self._tokenizer.chat_template
        own = own.get("default") if isinstance(own, dict) else own  # it may have several
        if date is not None and isinstance(own, str) and "strftime_now" in own:
            given["chat_template"] = clock(date) + own
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=reply, **given
                )
            )
        except (TemplateError, TypeError, ValueError) as error:  # of the template, not of this code
            text = " ".join(str(error).split())
            raise ModelError(f"the model's chat template refuses the prompt: {text}") from None

    def end_after(self, prompt: Sequence[int]) -> int:
        """The token to train on after a completion of a prompt.

        In a chat it is the token that ends a turn of the template, which need not be the
        tokenizer's own end token: gemma's turns end in <end_of_turn>, and its texts in <eos>. A
        prompt is known to be a chat by that token, which ends its earlier turns.
        """
        return (
            self.end if self._turn_end is None or self._turn_end not in prompt else self._turn_end
        )

    @cached_property
    def _turn_end(self) -> int | None:
        """The token that ends an assistant's turn, if generation ends there too."""
        reply = "reply"
        try:
            rendered = self.chat([("user", "question"), ("assistant", reply)], reply=False)
        except ModelError:
            return None
        after = self.encode(rendered.rpartition(reply)[2].lstrip())
        return after[0] if after and after[0] in self.eos else None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, including special tokens, with spaces unchanged."""
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def completed(self, ids: Sequence[int], stops: Iterable[str]) -> tuple[str, list[int], bool]:
        """A completion of tokens that were drawn elsewhere, perhaps some after its end.

        Returns:
            Its text and token ids before the first end token or stop string, and whether there was
            one.
        """
        end = next((i for i, token in enumerate(ids) if token in self.eos), None)
        kept = list(ids if end is None else ids[:end])
        text = self.decode(kept)
        at = min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=None)
        if at is None:
            return text, kept, end is not None
        return text[:at], self.before(kept, at), True

    def before(self, ids: Sequence[int], end: int) -> list[int]:
        """Token ids of the first ``end`` characters of the text of ``ids``.

        Whole tokens are kept as they were generated; the kept part of a token that straddles the
        end is encoded again.
        """
        text = self.decode(ids)[:end]
        n = len(ids)
        while n and not text.startswith(self.decode(ids[:n])):
            n -= 1
        rest = text[len(self.decode(ids[:n])) :]
        return list(ids[:n]) + (self.encode(rest) if rest else [])


def clock(date: str) -> str:
    """What to put in front of a chat template that asks for the date, so that it gets this one.

    It is a macro that hides the function ``strftime_now``, which cannot be replaced otherwise:
    transformers turns functions that are passed to a template into texts.
    """
    day = datetime.fromisoformat(date)
    known = ((form, day.strftime(form)) for form in _FORMS)
    shown = "".join(f".replace({form!r}, {text!r})" for form, text in known)
    # after a block, unlike after {{ }}, a line break would be dropped
    return f"{{% macro strftime_now(form) %}}{{{{ form{shown} }}}}{{% endmacro %}}{{{{ '' }}}}"


class Stops:
    """Finds stop strings in generated text, including those merged into a longer token.

    A stop can only end in a token whose own text contains its last character (or is a part of a
    character), so the text is only searched there.
    """

    def __init__(self, text: Text, stops: Iterable[str]) -> None:
        self._text = text
        self._stops = tuple(s for s in stops if s)
        self._last = {s[-1] for s in self._stops} | {"\ufffd"}
        self._tail = 2 * max((len(s.encode()) for s in self._stops), default=0) + 8
        self._may_end: dict[int, bool] = {}

    def find(self, ids: Sequence[int]) -> int | None:
        """The start of the earliest stop in the text of ``ids``, after a new last token."""
        if not self._stops or not self._candidate(ids[-1]):
            return None
        tail = self._text.decode(ids[-self._tail :])
        if not any(s in tail for s in self._stops):
            return None
        text = self._text.decode(ids)
        return min((at for s in self._stops if (at := text.find(s)) >= 0), default=None)

    def _candidate(self, token: int) -> bool:
        known = self._may_end.get(token)
        if known is None:
            piece = self._text.decode([token])
            # a lone token may lose a leading space in decoding
            known = not piece or " " in self._last or any(c in piece for c in self._last)
            self._may_end[token] = known
        return known
