"""The colours of the screens.

They are among the fixed 256, with a contrast above 3.5 on black and on white (WCAG 2 requires 3 for
bold text and graphics): a terminal's own 16 are made for one background or the other. If there are
only those, they become bright blue, red and grey. Blue and red can be told apart with any colour
vision. Still, nothing is shown by colour alone: there are also words, signs or bold, which remain
without colours (NO_COLOR).
"""

from __future__ import annotations

GOOD = "color(26)"  # #005fd7
BAD = "color(160)"  # #d70000
REST = "color(243)"  # #767676: the empty part of a bar, borders
