"""How llama.cpp splits a text into words before it merges bytes, by ``tokenizer.ggml.pre``.

Source: llama.cpp's ``src/llama-vocab.cpp`` (patterns and names), ``src/unicode.cpp`` (how it
matches them: a category is looked up for any character, but ``a-z`` is ASCII alone).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """The patterns that split a text, each within the words of the one before.

    ``whole``: a word that is a token is not merged. ``bos``: a text begins with the token for it,
    unless the file says otherwise.
    """

    patterns: tuple[str, ...]
    whole: bool = False
    bos: bool = False


# Hugging Face's files ignore case with (?i:), which takes 'ſ for 's too; llama.cpp does not
SHORT = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
SHORT_ANY_CASE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
QWEN35 = QWEN2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}", r"[^\s\p{L}\p{M}")
SEED = QWEN2.replace(r"[^\s\p{L}\p{N}]+[\r\n]*", r"[^\s\p{L}\p{N}\r\n]+")
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
UPPER, LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"  # of ASCII; any other letter is both
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{SPACES}"
)
GPT4O = (
    TEKKEN.replace(rf"{LOWER}+|", rf"{LOWER}+{SHORT}?|")
    .replace(rf"{LOWER}*|", rf"{LOWER}*{SHORT}?|")
    .replace(r"|\p{N}|", r"|\p{N}{1,3}|")
)
DEEPSEEK3 = (
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + SPACES
)
HAN = r"[[一-龥ࠀ-一가-퟿]&&\S]+"  # llama.cpp sees white space of these ranges as such alone
SIGNS = "!-/:-~！-／：-～‘-‟　-。"
LETTERS = (  # escaped where another normal form would be another letter
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ"
    "\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)

DEFAULT = Words((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))
KINDS = {  # the first name of each is the one that a file is written with
    "default": DEFAULT,
    "gpt-2 phi-2 mpt olmo trillion gigachat a.x-4.0 mellum exaone4": Words((GPT2,)),
    "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2": Words(
        (r"\p{N}", GPT2)
    ),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2": Words(
        (LLAMA3,), whole=True, bos=True
    ),
    "smaug-bpe dbrx": Words((LLAMA3,)),
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2": Words(
        (QWEN2,)
    ),
    "qwen35": Words((QWEN35,)),
    "seed-coder": Words((SEED,)),
    "ufakzeka": Words((QWEN2.removeprefix(SHORT + "|"),)),
    "minicpm5": Words(
        (r"\p{N}{1,3}", QWEN2.replace(r"\p{N}|", r"\p{N}+|")), whole=True
    ),
    "gpt-4o llama4 kanana2 talkie minimax-m2": Words((GPT4O,)),
    "tekken": Words((TEKKEN,), whole=True, bos=True),
    "poro-chat bloom gpt3-finnish": Words((BLOOM,)),
    "viking": Words((BLOOM, r"\p{N}")),
    "deepseek-llm": Words(
        (r"[\r\n]", rf"\s?[{LETTERS}]+", rf"\s?[[{SIGNS}]&&\S]+", r"\s+$", HAN, r"\p{N}+")
    ),
    "deepseek-v3 hunyuan-dense joyai-llm": Words(
        (r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3)
    ),
    "deepseek-coder": Words((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN, r"\p{N}")),
}  # fmt: skip
WORDS = {name: kind for names, kind in KINDS.items() for name in names.split()}
