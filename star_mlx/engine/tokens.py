"""Count the tokens of texts without loading a model. Imports no mlx if it can do without."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from star_mlx.engine import tokenizer_json
from star_mlx.engine.resolve import Found
from star_mlx.errors import ModelError

Counter = Callable[[Sequence[str]], list[int]]  # texts -> the number of tokens of each


def counter(found: Found, *, trust_remote_code: bool = False) -> Counter:
    """A function that counts the tokens of texts as a model's tokenizer makes them, without special
    tokens.

    Raises:
        ModelError: the tokenizer cannot be loaded.
    """
    file = found.folder / "tokenizer.json"
    if file.is_file():
        from tokenizers import Tokenizer  # a tenth of a second; mlx-lm's way takes several

        try:
            plain = Tokenizer.from_file(str(file))
        except BaseException as error:
            if not tokenizer_json.raised(error):
                raise
            raise ModelError(f"{file} cannot be loaded: {' '.join(str(error).split())}") from None
        plain.no_padding()
        plain.no_truncation()
        return lambda texts: [
            len(made.ids) for made in plain.encode_batch(list(texts), add_special_tokens=False)
        ]
    from star_mlx.engine import open_tokenizer

    text = open_tokenizer(found, trust_remote_code=trust_remote_code)
    return lambda texts: [len(text.encode(one)) for one in texts]
