"""Convert a GGUF file's tokenizer to ``tokenizer.json`` and ``tokenizer_config.json``.

Source of the rules: llama.cpp's ``src/llama-vocab.cpp`` (pre-tokenizer patterns by the name in
``tokenizer.ggml.pre``, token types, defaults of the ``add_*`` flags) and, for SentencePiece
vocabularies, the conversion to merges that transformers does for LLaMA. Imports no mlx.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_mlx.errors import ModelError
from star_mlx.gguf.container import Gguf

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # token types; 1 is an ordinary token
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
PATTERNS = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "gpt-2": (GPT2,),
    "smollm": (r"\p{N}", GPT2),
    "llama-bpe": (LLAMA3,),
    "llama3": (LLAMA3,),
    "llama-v3": (LLAMA3,),
    "poro-chat": (BLOOM,),
    "qwen2": (QWEN2,),
}
ENDS = {  # special_eog_ids in llama-vocab.cpp
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",
    "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "<end_of_utterance>",
}  # fmt: skip
ROLES = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def write(file: Gguf, folder: Path, context: int) -> str:
    """Write both files of the tokenizer, and return its kind in words.

    ``context`` is the maximum number of tokens the model reads.

    Raises:
        ModelError: an unknown kind of tokenizer or pre-tokenizer, or lists that do not fit
            together.
    """
    kind = file.need("tokenizer.ggml.model")
    tokens = tokens_of(file)
    types = _list(file, "tokenizer.ggml.token_type", int, [1] * len(tokens))
    if len(types) != len(tokens):
        raise ModelError(f"{file.path}: {len(tokens)} tokens but {len(types)} token types")
    if len(set(tokens)) != len(tokens):
        twice = sorted(t for t in set(tokens) if tokens.count(t) > 1)[0]
        raise ModelError(f"{file.path}: the token {twice!r} occurs twice in the vocabulary")
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
    _add_marked(tokenizer, tokens, types)
    _post_process(file, tokenizer, tokens, named, kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = json.dumps(_config(file, named, context, kind), indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    return words


def tokens_of(file: Gguf) -> list[str]:
    """The vocabulary, in the order of its ids."""
    return _list(file, "tokenizer.ggml.tokens", str)


def end_tokens(file: Gguf) -> list[int]:
    """Ids of the tokens that end a completion: end of text first, then of turn and of message, and
    those that llama.cpp knows by their text."""
    ids = [_token(file, role) for role in ("eos", "eot", "eom")]
    ids += [i for i, token in enumerate(tokens_of(file)) if token in ENDS]
    return list(dict.fromkeys(i for i in ids if i is not None))


def _token(file: Gguf, role: str) -> int | None:
    token = file.metadata.get(f"tokenizer.ggml.{role}_token_id")
    if token is None or token == 0xFFFFFFFF:  # none
        return None
    if not isinstance(token, int) or not 0 <= token < len(tokens_of(file)):
        raise ModelError(f"{file.path}: its {role} token {token} is not in its vocabulary")
    return token


def _list(file: Gguf, key: str, of: type, default: list[Any] | None = None) -> list[Any]:
    value = file.need(key) if default is None else file.metadata.get(key, default)
    if not isinstance(value, list) or not all(isinstance(v, of) for v in value):
        raise ModelError(f"{file.path}: {key} is not a list of {of.__name__}")
    return value


def _byte_level(file: Gguf, tokens: list[str]) -> tuple[Tokenizer, str]:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    name = str(file.metadata.get("tokenizer.ggml.pre", "default"))
    if name not in PATTERNS:
        raise ModelError(
            f"{file.path}: its pre-tokenizer is {name!r}; known are {', '.join(PATTERNS)}"
        )
    merges = [tuple(m.split(" ", 1)) for m in _list(file, "tokenizer.ggml.merges", str)]
    vocab = {token: i for i, token in enumerate(tokens)}
    for merge in merges:
        if len(merge) != 2 or not vocab.keys() >= {*merge, "".join(merge)}:
            raise ModelError(f"{file.path}: the merge {' '.join(merge)!r} is not in its vocabulary")
    # llama.cpp looks a whole word up before it merges, for Llama 3 only
    model = models.BPE(vocab=vocab, merges=merges, ignore_merges=PATTERNS[name] == (LLAMA3,))
    tokenizer = Tokenizer(model)
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in PATTERNS[name]]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, f"byte-level BPE ({name}), {len(tokens):,} tokens"


def _sentencepiece(file: Gguf, tokens: list[str], types: list[int]) -> tuple[Tokenizer, str]:
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores = _list(file, "tokenizer.ggml.scores", float)
    if len(scores) != len(tokens):
        raise ModelError(f"{file.path}: {len(tokens)} tokens but {len(scores)} scores")
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
    prefix = bool(file.metadata.get("tokenizer.ggml.add_space_prefix", True))
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
        (-scores[i], i, ids[token[:at]], token[:at], token[at:])
        for token, i in ids.items()
        for at in range(1, len(token))
        if token[:at] in ids and token[at:] in ids
    ]
    return [(left, right) for *_, left, right in sorted(found)]


def _named(file: Gguf, tokens: list[str]) -> dict[str, str]:
    ids = {name: _token(file, role) for role, name in ROLES.items()}
    named = {name: tokens[i] for name, i in ids.items() if i is not None}
    if "eos" not in named:
        raise ModelError(f"{file.path} names no end token (tokenizer.ggml.eos_token_id)")
    return named


def _add_marked(tokenizer: Tokenizer, tokens: list[str], types: list[int]) -> None:
    from tokenizers import AddedToken

    for token, kind in zip(tokens, types, strict=True):
        if token and kind in (CONTROL, UNKNOWN, USER_DEFINED):
            special = kind != USER_DEFINED
            tokenizer.add_tokens([AddedToken(token, special=special, normalized=False)])


def _flags(file: Gguf, kind: str) -> tuple[bool, bool]:
    llama3 = PATTERNS.get(str(file.metadata.get("tokenizer.ggml.pre"))) == (LLAMA3,)
    bos = bool(file.metadata.get("tokenizer.ggml.add_bos_token", kind == "llama" or llama3))
    return bos, bool(file.metadata.get("tokenizer.ggml.add_eos_token", False))


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
    if isinstance(template, str):
        config["chat_template"] = template
    return config
