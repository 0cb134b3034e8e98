"""The colours of the screens.

They are of the fixed 256, with a contrast above 3.5 on black and on white (WCAG 2 asks for 3 of
bold text and graphics): a terminal's own 16 are made for one background or the other. Where there
are only those, they become bright blue, red and grey. Blue and red differ for people of whatever
colour vision; all the same nothing is said by colour alone: words, signs or bold stand with it, and
remain without colours (NO_COLOR).
"""

from __future__ import annotations

GOOD = "color(26)"  # #005fd7
BAD = "color(160)"  # #d70000
REST = "color(243)"  # #767676: what of a bar is still empty, borders
