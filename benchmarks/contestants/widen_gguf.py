"""A GGUF file -> the same weights in another format, by llama.cpp's own quantizer.

widen_gguf.py FILE OUT FORMAT        FORMAT: bf16, f32 or q8_0
"""

from __future__ import annotations

import os
import sys

import llama_cpp as lib

FORMATS = {
    "bf16": lib.LLAMA_FTYPE_MOSTLY_BF16,
    "f32": lib.LLAMA_FTYPE_ALL_F32,
    "q8_0": lib.LLAMA_FTYPE_MOSTLY_Q8_0,
}


def main(file: str, out: str, form: str) -> None:
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = FORMATS[form], True
    part = out + ".part"
    if code := lib.llama_model_quantize(file.encode(), part.encode(), params):
        sys.exit(f"llama_model_quantize returned {code}")
    os.replace(part, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
