"""Convert a base's tokenizer to metadata with which llama.cpp makes the same tokens of any text.

The inverse of ``gguf/tokenizer.py``, whose table of pre-tokenizers it shares. Source of the rules:
llama.cpp's ``src/llama-vocab.cpp``. A tokenizer is recognized by its parts, not by its name. One
with a part that has no equal in llama.cpp is refused, and the metadata is read back and compared on
every token's text before a file is made with it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_mlx.errors import ModelError
from star_mlx.gguf import tokenizer as gguf_tokenizer
from star_mlx.gguf.container import Gguf
from star_mlx.gguf.tokenizer import BYTE, CONTROL, ENDS, UNKNOWN, USER_DEFINED
from star_mlx.gguf.words import GPT2, SHORT, SHORT_ANY_CASE, WORDS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, UNUSED = 1, 5
SPACE = "▁"  # SentencePiece's
WHOLE = "poro-chat"  # cuts words off their punctuation, but no letters, digits or symbols apart
# what WHOLE never cuts: a run of the characters its pattern names, perhaps after one space; or of
# the others, unless a space ends it. ASCII alone, where Python's and C++'s white space agree.
_UNCUT = re.compile(r" ?[^(\s|.,!?)\x00-\x1f\x7f-\U0010ffff]+|[( \t\r\n|.,!?)]*[(\t\r\n|.,!?)]")
PROBES = (
    "", " ", "  ", "\n", " \n\n  x", "\t\ty ", "a", " a", "12345 67 8", "1,234.50$ 3%",
    "x=-1+2*3/4", "don't WE'LL i'm 'tis ''", "Hello, world! (yes|no)?", "naïve café Straße",
    "Привет 世界 こんにちは 한국어", "e\u0301 \u0e33 \u200d \ufeff", "😀👩\u200d👧 ❤️", "١٢٣ Ⅷ ½ ²",
    "def f(x):\n    return x**2\n", "\u00a0 \u3000\u2028 \x85", "a\r\nb\r\n\r\n c",
    "https://a.b/c?d=e#f", "▁ a▁b", "<0x41><unk>",
)  # fmt: skip


def metadata(folder: Path, tokenizer: Any, rows: int) -> dict[str, Any]:
    """The ``tokenizer.*`` keys of a base's folder.

    Args:
        tokenizer: the folder's tokenizer, loaded by mlx-lm, with the tokens before a prompt and
            those that end a completion.
        rows: the rows of the embedding; ids without a token are filled up.

    Raises:
        ModelError: llama.cpp has no equal tokenizer; the text says what differs.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json, which a GGUF file's is made of")
    spec = json.loads(path.read_text(encoding="utf-8"))
    kind = dict(spec.get("model") or {})
    if kind.get("type") != "BPE" or any(
        kind.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
    ):
        raise _no_equal(f"its model is {kind.get('type')!r} with parts of its own")
    tokens, types = _tokens(spec, rows)
    make = _sentencepiece if kind.get("byte_fallback") else _byte_level
    found: dict[str, Any] = {
        **make(spec, tokens, types),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        **_roles(tokenizer, len(tokens)),
    }
    if isinstance(template := getattr(tokenizer, "chat_template", None), str):
        found["tokenizer.chat_template"] = template
    written = from_file(path)
    if (text := misread(written, tokenizer)) is not None:
        raise _no_equal(f"mlx-lm reads {text!r} otherwise than the base's tokenizer.json says")
    _check_same(written, Gguf(path, found, {}), _composes(spec))
    return found


def from_file(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, by its own rules."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def misread(written: Tokenizer, tokenizer: Any) -> str | None:
    """A text that a folder's tokenizer, as mlx-lm loads it, splits otherwise than what is
    ``written`` in its tokenizer.json, if there is one.

    transformers reads some models (qwen2) with a class that has its own rules, whatever the file
    says. One of Qwen's is to compose accents (NFC), which is no difference here.
    """
    for text in (unicodedata.normalize("NFC", probe) for probe in PROBES):
        ids = written.encode(text, add_special_tokens=False).ids
        if list(tokenizer.encode(text, add_special_tokens=False)) != ids:
            return text
    return None


def _no_equal(what: str) -> ModelError:
    return ModelError(
        f"llama.cpp has no tokenizer like the base's: {what}; use --format fused or peft"
    )


def _tokens(spec: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """The text and type of every id. Ordinary tokens keep their spelling, added ones are plain
    text."""
    model, added = spec["model"], spec.get("added_tokens") or []
    named = {int(i): (text, NORMAL) for text, i in model["vocab"].items()}
    if model.get("byte_fallback"):
        for i, (text, _) in named.items():
            if re.fullmatch("<0x[0-9A-F]{2}>", text):
                named[i] = text, BYTE
    for token in added:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise _no_equal(f"{token['content']!r} takes the spaces or words beside it along")
        if token["normalized"] and spec.get("normalizer"):
            raise _no_equal(f"{token['content']!r} is looked for in changed text")
        if token["special"] and int(token["id"]) >= rows:
            continue  # the model cannot read it: in Gemma's, a place for a part of a picture
        named[int(token["id"])] = token["content"], CONTROL if token["special"] else USER_DEFINED
    unknown = model.get("unk_token")
    named |= {i: (t, UNKNOWN) for i, (t, k) in named.items() if t == unknown and k != NORMAL}
    _check_overlap([token["content"] for token in added])
    if max(named) >= rows:
        raise _no_equal(f"its token {max(named)} has no row among the {rows} embeddings")
    every = [named.get(i, (f"[PAD{i}]", UNUSED)) for i in range(rows)]
    texts = [text for text, _ in every]
    if len(set(texts)) < rows or "" in texts:
        raise _no_equal("two of its tokens have the same text, or one has none")
    return texts, [kind for _, kind in every]


def _check_overlap(added: Sequence[str]) -> None:
    """Refuse tokens that can overlap: Hugging Face takes the first, and llama.cpp the longest.

    Runs of one character, as Gemma has of spaces, are taken alike.
    """
    runs = [text for text in added if len(set(text)) == 1]
    others = [text for text in added if len(set(text)) > 1]
    starts = {text[:n]: text for text in [*runs, *others] for n in range(1, len(text))}
    for text in added:
        for n in range(1, len(text)):
            other = starts.get(text[n:])
            if other is not None and not len(set(text)) == len({*text, *other}) == 1:
                raise _no_equal(f"{text!r} and {other!r} can overlap in a text")


def _roles(tokenizer: Any, n: int) -> dict[str, Any]:
    """The tokens that begin a prompt and end a completion, as in MLX, of a vocabulary of ``n``."""
    plain = list(tokenizer.encode("a", add_special_tokens=False))
    marked = list(tokenizer.encode("a"))
    front = marked[: max(len(marked) - len(plain), 0)] if marked[-len(plain) :] == plain else []
    ends = set(map(int, tokenizer.eos_token_ids))
    end = int(tokenizer.eos_token_id) if tokenizer.eos_token_id in ends else min(ends)
    # llama.cpp knows some by their text, so that they need no role
    named = {i for i in ends - {end} if tokenizer.convert_ids_to_tokens(i) in ENDS}
    if len(front) > 1 or len(ends - named) > 3:
        raise _no_equal(f"{len(front)} tokens begin a prompt, {len(ends)} can end a completion")
    bos = front[0] if front else tokenizer.bos_token_id
    spare = [*sorted(ends - {end} - named), *sorted(named)]
    others = dict(zip(("eot", "eom"), spare, strict=False))
    ids = {
        "bos": end if bos is None else bos,  # else llama.cpp would take an ordinary token for it
        "eos": end,
        **others,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    # transformers adds tokens that a class of tokenizers usually has, behind the vocabulary
    ids = {role: i for role, i in ids.items() if i is not None and i < n}
    return {
        **{f"tokenizer.ggml.{k}_token_id": int(i) for k, i in ids.items()},
        "tokenizer.ggml.add_bos_token": bool(front),
        "tokenizer.ggml.add_eos_token": False,  # no prompt of MLX's ends in one
    }


# --------------------------------------------------------------------------- byte-level BPE


def _byte_level(spec: Mapping[str, Any], tokens: list[str], types: list[int]) -> dict[str, Any]:
    model = spec["model"]
    merges = [_pair(merge) for merge in model["merges"]]
    if spec.get("normalizer") and not _composes(spec):
        raise _no_equal(f"it normalizes text ({spec['normalizer'].get('type')})")
    if not merges:
        raise _no_equal("it merges nothing")
    alphabet = _alphabet()
    if model.get("unk_token") and not alphabet.keys() <= set(tokens):
        raise _no_equal(f"it writes {model['unk_token']!r} for bytes that it has no token for")
    patterns = _patterns(spec.get("pre_tokenizer"))
    if patterns == ():
        _check_uncut(("".join(merge) for merge in merges), alphabet)
        patterns = WORDS[WHOLE].patterns
    alike = [name for name, kind in WORDS.items() if kind.patterns == patterns]
    if not alike:
        raise _no_equal("it splits text into words in a way of its own")
    whole = bool(model.get("ignore_merges"))  # a word that is a token is not merged
    name = next((name for name in alike if WORDS[name].whole == whole), None)
    if name is None:
        raise _no_equal("it looks whole words up, or not, where llama.cpp does the other")
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
    }


def _composes(spec: Mapping[str, Any]) -> bool:
    """Whether it writes a letter and its accent as one character, as Qwen's does; llama.cpp's own
    conversion leaves that out too, since nearly every text is written so."""
    return (spec.get("normalizer") or {}).get("type") == "NFC"


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _alphabet() -> dict[str, int]:
    """The character of each byte, as chosen by GPT-2: visible ones are themselves."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(rest)}


def _patterns(node: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """The patterns that split a text into words, in order; None if one is unknown."""
    parts = list(_flat(node))
    if not parts or parts.pop().get("type") != "ByteLevel":
        return None
    last = list(_flat(node))[-1]
    found = []
    for part in parts:
        if part.get("type") == "Digits" and part.get("individual_digits"):
            found.append(r"\p{N}")
        elif part.get("type") == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
            pattern = part["pattern"].get("Regex")
            found.append(pattern and pattern.replace(SHORT_ANY_CASE, SHORT))
        else:
            return None
    if last.get("use_regex", True):
        found.append(GPT2)
    return None if None in found or last.get("add_prefix_space") else tuple(found)


def _flat(node: Mapping[str, Any] | None) -> Iterable[Mapping[str, Any]]:
    if node and node.get("type") == "Sequence":
        for part in node["pretokenizers"]:
            yield from _flat(part)
    elif node:
        yield node


def _check_uncut(merged: Iterable[str], alphabet: Mapping[str, int]) -> None:
    """Refuse a tokenizer that merges across the whole text, unless within words of WHOLE."""
    for token in merged:
        text = bytes(alphabet[c] for c in token if c in alphabet).decode("utf-8", "replace")
        if not _UNCUT.fullmatch(text):
            raise _no_equal(f"it merges {text!r} across the borders of words")


# --------------------------------------------------------------------------- SentencePiece


def _sentencepiece(spec: Mapping[str, Any], tokens: list[str], types: list[int]) -> dict[str, Any]:
    """Scores that order pieces like the merges: the earlier its merges, the better a piece."""
    merges = [_pair(merge) for merge in spec["model"]["merges"]]
    scores, last = dict.fromkeys(tokens, 0.0), ""
    rank = 0
    for merge in merges:
        piece = "".join(merge)
        if piece != last:
            rank += 1
            if scores[piece]:
                raise _no_equal("its merges are in no order that scores could give")
            scores[piece], last = -float(rank), piece
    values = [scores[token] for token in tokens]
    if set(gguf_tokenizer.merges_of(tokens, types, values)) != set(merges):
        raise _no_equal("it leaves out merges that SentencePiece would make")
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": values,
        "tokenizer.ggml.add_space_prefix": _prefixed(spec),
    }


def _prefixed(spec: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text, in either form of SentencePiece's space."""
    normalizer, words = spec.get("normalizer"), spec.get("pre_tokenizer")
    parts = (normalizer or {}).get("normalizers", [normalizer] if normalizer else [])
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prefix = {"type": "Prepend", "prepend": SPACE}
    if not words and parts in ([prefix, spaces], [spaces]):
        return len(parts) == 2
    never = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": False}
    # Gemma's own: no space is left when it looks for one
    idle = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    if (not parts and words == never) or (parts == [spaces] and words == {**idle, "invert": False}):
        return False
    raise _no_equal("it puts spaces before words in a way of its own")


# --------------------------------------------------------------------------- the proof


def _check_same(theirs: Tokenizer, file: Gguf, composed: bool) -> None:
    """Make a tokenizer of the metadata as an import would, and compare it with the base's on every
    token's text and more."""
    ours, *_ = gguf_tokenizer.built(file, 1)
    if ours.to_str() == theirs.to_str():  # as of a base that was imported
        return
    tokens = file.metadata["tokenizer.ggml.tokens"]
    types = file.metadata["tokenizer.ggml.token_type"]
    marked = [t for t, k in zip(tokens, types, strict=True) if k in (CONTROL, USER_DEFINED)]
    texts = [*PROBES, *(f"a{t} {t}{t}\n{t}1" for t in marked)]
    texts += theirs.decode_batch([[i] for i in range(len(tokens))], skip_special_tokens=False)
    texts += [f" x{text} {text}9{text}" for text in texts[len(PROBES) :]]
    if composed:
        texts = [unicodedata.normalize("NFC", text) for text in texts]
    for at in range(0, len(texts), 10_000):  # all at once take gigabytes
        some = texts[at : at + 10_000]
        have = ours.encode_batch_fast(some, add_special_tokens=False)
        wanted = theirs.encode_batch_fast(some, add_special_tokens=False)
        for text, a, b in zip(some, have, wanted, strict=True):
            if a.ids != b.ids:
                raise _no_equal(f"{text!r} would be {a.ids}, not {b.ids}")
