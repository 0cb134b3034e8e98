"""The scratchpad text of the arithmetic task, and nothing else.

The format is that of the paper's arithmetic data (Zelikman et al. 2022, section 4.2, after
Nye et al. 2021): digits are separated by spaces so that each is a token. For 624 + 259::

    Input:
    6 2 4 + 2 5 9
    Target:
    <scratch>
    6 2 4 + 2 5 9 , C: 0
    2 + 5 , 3 C: 1
    6 + 2 , 8 3 C: 0
    , 8 8 3 C: 0
    0 8 8 3
    </scratch>
    8 8 3

Numbers of unequal length are aligned from the right in the first line of the scratchpad, where
the shorter gets zeros in front: ``1 2 + 3 4 5`` is worked from ``0 1 2 + 3 4 5 , C: 0`` on.
"""

from __future__ import annotations

from zlib import crc32


def spaced(digits: object) -> str:
    """``spaced(624)`` is ``"6 2 4"``."""
    return " ".join(str(digits))


def question(a: int, b: int) -> str:
    """The sum as the model reads it: ``"6 2 4 + 2 5 9"``."""
    return f"{spaced(a)} + {spaced(b)}"


def scratchpad(a: int, b: int) -> str:
    """The worked sum of two numbers, with its ``<scratch>`` tags.

    Lines: the full sum, its numbers padded to one length, and carry 0; for every digit but the last
    from the right, the two digits that come next, the running sum and the carry out; the running
    sum and carry; the final carry and digits.
    """
    digits = max(len(str(a)), len(str(b)))
    left, right = f"{a:0{digits}}", f"{b:0{digits}}"
    lines = [f"{spaced(left)} + {spaced(right)} , C: 0"]
    carry, done = 0, ""
    for i in reversed(range(digits)):
        carry, digit = divmod(int(left[i]) + int(right[i]) + carry, 10)
        done = f"{digit}{done}"
        following = f"{left[i - 1]} + {right[i - 1]} , " if i else ", "
        lines.append(f"{following}{spaced(done)} C: {carry}")
    lines.append(spaced(f"{carry}{done}"))
    return "<scratch>\n" + "\n".join(lines) + "\n</scratch>"


def held_out(a: int, b: int) -> bool:
    """Whether the sum is kept out of every training set, the base's pretraining included.

    A stable tenth of the pairs, chosen by a checksum of their text, so that no list of them has
    to be kept. Sums of one digit are too few to hold any out.
    """
    return max(a, b) > 9 and crc32(f"{a}+{b}".encode()) % 10 == 0
