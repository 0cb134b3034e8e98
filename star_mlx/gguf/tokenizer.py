"""Convert a GGUF file's tokenizer to ``tokenizer.json`` and ``tokenizer_config.json``.

Source of the rules: llama.cpp's ``src/llama-vocab.cpp`` (token types, defaults of the ``add_*``
flags, tokens known by their text) and, for SentencePiece vocabularies, the conversion to merges
that transformers does for LLaMA. Imports no mlx.

A text has llama.cpp's tokens, but for these differences: ``</s>`` if it is no control token;
letters and digits of Unicode 16, which llama.cpp does not know; a byte without a token in a
byte-level vocabulary (both drop it, but here its neighbours may merge); white space beyond ASCII
behind a token of Phi-3's; SentencePiece pieces of equal scores; and the rules of Qwen's own
tokenizer, by which transformers reads every qwen2 (``vocab.misread``).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_mlx.errors import ModelError
from star_mlx.gguf.container import Gguf
from star_mlx.gguf.words import WORDS, Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # token types; 1 is an ordinary token
# tokens that end a text, a turn or a message. llama.cpp's list has "</s>" too, which it cuts out of
# a text even where it is an ordinary word, as in Qwen's vocabulary; here its type decides.
ENDS = (
    "<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>",
    "<end_of_turn>", "<EOT>", "<eos>", "<end_of_utterance>",
)  # fmt: skip
BARE = ("<unk>", "<s>", "<|endoftext|>")  # of Phi-3's, those that leave white space alone
ROLES = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def write(file: Gguf, folder: Path, context: int) -> str:
    """Write the tokenizer's files and generation_config.json, and return its kind in words.

    ``context`` is the maximum number of tokens the model reads.

    Raises:
        ModelError: an unknown kind of tokenizer or pre-tokenizer, values of another type than they
            must have, or lists that do not fit together.
    """
    tokenizer, words, config = built(file, context)
    generation = _generation(file)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "generation_config.json", generation)
    return words


def built(file: Gguf, context: int) -> tuple[Tokenizer, str, dict[str, Any]]:
    """The tokenizer, its kind in words, and the content of tokenizer_config.json; see ``write``."""
    kind = str(file.need("tokenizer.ggml.model"))[:60]
    tokens = tokens_of(file)
    types = _list(file, "tokenizer.ggml.token_type", int, [1] * len(tokens))
    if len(types) != len(tokens):
        raise ModelError(f"{file.path}: {len(tokens)} tokens but {len(types)} token types")
    types = [CONTROL if t in ENDS else kind for t, kind in zip(tokens, types, strict=True)]
    _check_distinct(file, tokens)
    if kind == "gpt2":
        tokenizer, words = _byte_level(file, tokens)
    elif kind == "llama":
        tokenizer, words = _sentencepiece(file, tokens, types)
    else:
        raise ModelError(
            f"{file.path}: its tokenizer is of the kind {kind!r}; `gpt2` (byte-level BPE) and "
            "`llama` (SentencePiece) can be imported"
        )
    named = _named(file, tokens)
    config = _config(file, named, context, kind)
    _add_marked(file, tokenizer, tokens, types)
    _post_process(file, tokenizer, tokens, named, kind)
    return tokenizer, words, config


def _generation(file: Gguf) -> dict[str, Any]:
    ids = {"bos": token_id(file, "bos"), "pad": token_id(file, "padding")}
    named: dict[str, Any] = {f"{name}_token_id": i for name, i in ids.items() if i is not None}
    return named | {"eos_token_id": end_tokens(file)}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _check_distinct(file: Gguf, tokens: list[str]) -> None:
    if len(set(tokens)) != len(tokens):
        twice = min(token for token, n in Counter(tokens).items() if n > 1)
        raise ModelError(f"{file.path}: the token {twice!r} occurs twice in the vocabulary")


def tokens_of(file: Gguf) -> list[str]:
    """The vocabulary, in the order of its ids. Tokens without text get a name, as in llama.cpp."""
    tokens = _list(file, "tokenizer.ggml.tokens", str)
    return [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]


def end_tokens(file: Gguf) -> list[int]:
    """Ids of the tokens that end a completion.

    Those that the file names come first (the end of a text, of a turn, of a message), then others
    that llama.cpp knows by their text.
    """
    ids = [token_id(file, role) for role in ("eos", "eot", "eom")]
    known = {token: i for i, token in enumerate(tokens_of(file))}
    ids += [known.get(text) for text in ENDS]
    return list(dict.fromkeys(i for i in ids if i is not None))


def token_id(file: Gguf, role: str) -> int | None:
    """The id of the token that has a role (``bos``, ``eos``, ``padding``), if the file names one.

    Raises:
        ModelError: it is not in the vocabulary.
    """
    token = file.metadata.get(f"tokenizer.ggml.{role}_token_id")
    if token is None or token == 0xFFFFFFFF:  # none
        return None
    n = len(file.need("tokenizer.ggml.tokens"))
    if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < n:
        shown = token if isinstance(token, int) else repr(token)[:60]
        raise ModelError(f"{file.path}: its {role} token {shown} is not in its vocabulary")
    return token


def _list(file: Gguf, key: str, of: type, default: list[Any] | None = None) -> list[Any]:
    value = file.need(key) if default is None else file.metadata.get(key, default)
    if not isinstance(value, list) or not all(isinstance(v, of) for v in value):
        raise ModelError(f"{file.path}: {key} is not a list of {of.__name__}")
    return value


def _flag(file: Gguf, name: str, default: bool) -> bool:
    value = file.metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, bool):
        raise ModelError(f"{file.path}: tokenizer.ggml.{name} is {str(value)[:60]!r}, not a bool")
    return value


def _words(file: Gguf) -> tuple[str, Words]:
    name = file.metadata.get("tokenizer.ggml.pre") or "default"
    if not isinstance(name, str) or name not in WORDS:
        raise ModelError(
            f"{file.path}: its pre-tokenizer is {str(name)[:60]!r}; known are {', '.join(WORDS)}"
        )
    return name, WORDS[name]


def _byte_level(file: Gguf, tokens: list[str]) -> tuple[Tokenizer, str]:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    name, words = _words(file)
    # of two equal merges the first counts
    texts = dict.fromkeys(_list(file, "tokenizer.ggml.merges", str))
    merges = [tuple(text.split(" ", 1)) for text in texts]
    vocab = {token: i for i, token in enumerate(tokens)}
    for merge in merges:
        if len(merge) != 2 or not vocab.keys() >= {*merge, "".join(merge)}:
            raise ModelError(f"{file.path}: the merge {' '.join(merge)!r} is not in its vocabulary")
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=words.whole))
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in words.patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, f"byte-level BPE ({name}), {len(tokens):,} tokens"


def _sentencepiece(file: Gguf, tokens: list[str], types: list[int]) -> tuple[Tokenizer, str]:
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores = _list(file, "tokenizer.ggml.scores", float)
    if len(scores) != len(tokens):
        raise ModelError(f"{file.path}: {len(tokens)} tokens but {len(scores)} scores")
    if not all(map(math.isfinite, scores)):
        raise ModelError(f"{file.path}: a score of its vocabulary is not a finite number")
    bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
    if not bytes_ <= {t for t, k in zip(tokens, types, strict=True) if k == BYTE}:
        raise ModelError(f"{file.path}: its SentencePiece vocabulary lacks tokens for single bytes")
    vocab = {token: i for i, token in enumerate(tokens)}
    unknown = next((t for t, k in zip(tokens, types, strict=True) if k == UNKNOWN), None)
    model = models.BPE(
        vocab=vocab, merges=merges_of(tokens, types, scores), unk_token=unknown, fuse_unk=True,
        byte_fallback=True,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    prefix = _flag(file, "add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), spaces] if prefix else [spaces]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] * prefix)
    return tokenizer, f"SentencePiece BPE, {len(tokens):,} tokens"


def merges_of(tokens: list[str], types: list[int], scores: list[float]) -> list[tuple[str, str]]:
    """Every split of a piece into two pieces is a merge; the best score of the whole goes first."""
    marked = (UNKNOWN, CONTROL, BYTE)
    ids = {t: i for i, (t, k) in enumerate(zip(tokens, types, strict=True)) if k not in marked}
    found = [
        (-scores[i], i, ids[left], left, right)
        for token, i in ids.items()
        for at in range(1, len(token))
        if (left := token[:at]) in ids and (right := token[at:]) in ids
    ]
    return [(left, right) for *_, left, right in sorted(found)]


def _named(file: Gguf, tokens: list[str]) -> dict[str, str]:
    ids = {name: token_id(file, role) for role, name in ROLES.items()}
    named = {name: tokens[i] for name, i in ids.items() if i is not None}
    if "eos" not in named:
        raise ModelError(f"{file.path} names no end token (tokenizer.ggml.eos_token_id)")
    return named


def _add_marked(file: Gguf, tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    from tokenizers import AddedToken

    name = str(file.metadata.get("general.name", "")).lower()
    greedy = "phi-3" in name or "phi3" in name  # its tokens take the white space behind them along
    marked = []
    for token, kind in zip(tokens, types, strict=True):
        if kind in (CONTROL, UNKNOWN, USER_DEFINED):
            special, rstrip = kind != USER_DEFINED, greedy and token not in BARE
            marked.append(AddedToken(token, special=special, normalized=False, rstrip=rstrip))
    tokenizer.add_tokens(marked)  # at once: each call builds the search for them anew


def _flags(file: Gguf, kind: str) -> tuple[bool, bool]:
    default = kind == "llama" or _words(file)[1].bos
    return _flag(file, "add_bos_token", default), _flag(file, "add_eos_token", False)


def _post_process(
    file: Gguf, tokenizer: Tokenizer, tokens: list[str], named: dict[str, str], kind: str
) -> None:
    from tokenizers import processors

    add_bos, add_eos = _flags(file, kind)
    bos = [named["bos"]] if add_bos and "bos" in named else []
    eos = [named["eos"]] if add_eos else []
    if kind == "gpt2" and not bos + eos:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    elif bos + eos:
        special = [(token, tokens.index(token)) for token in dict.fromkeys(bos + eos)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*bos, "$A", *eos],
            pair=[*bos, "$A", *eos, *(f"{t}:1" for t in bos), "$B:1", *(f"{t}:1" for t in eos)],
            special_tokens=special,
        )


def _config(file: Gguf, named: dict[str, str], context: int, kind: str) -> dict[str, Any]:
    add_bos, add_eos = _flags(file, kind)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": add_bos and "bos" in named,
        "add_eos_token": add_eos,
        **{f"{name}_token": token for name, token in named.items()},
    }
    template = file.metadata.get("tokenizer.chat_template")
    if not isinstance(template, str | None):
        raise ModelError(f"{file.path}: tokenizer.chat_template is not a text")
    if template:
        config["chat_template"] = template
    return config
