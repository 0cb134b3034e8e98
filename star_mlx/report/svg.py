"""Convert a chart's SVG for embedding in the page.

The page's policy allows no style attribute, several pictures share one document, and the picture
must be readable on light and dark backgrounds. So styles become presentation attributes, ids get a
prefix, the ink becomes the colour of the surrounding text, and the background is removed.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from star_mlx.report.drawing import INK

_POINTS_AT = re.compile(r"url\(#([^)]+)\)")
_DROPPED = {"style", "metadata"}


def inline(svg: bytes, name: str, title: str, description: str) -> str:
    """The picture as an element of HTML.

    Args:
        svg: what matplotlib wrote.
        name: the prefix of its ids, unique in the page.
        title, description: the texts for screen readers.
    """
    root = ElementTree.fromstring(svg)
    _walk(root)
    used = set(_referenced(root))
    for element in root.iter():
        _rename(element, name, used)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    root.set("stroke-linejoin", "round")  # matplotlib says so in its style element
    root.set("stroke-linecap", "butt")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ElementTree.Element(tag, {"id": f"{name}-{_LONG[tag]}"})
        child.text = text
        root.insert(place, child)
    return ElementTree.tostring(root, encoding="unicode")


_LONG = {"title": "title", "desc": "description"}


def _walk(element: ElementTree.Element) -> None:
    """Simplify an element and its content: no namespaces, no styles, ink as the current colour."""
    element.tag = _local(element.tag)
    for child in list(element):
        if _local(child.tag) in _DROPPED:
            element.remove(child)
        else:
            _walk(child)
    element.attrib.update(_declarations(element.attrib.pop("style", "")))
    for key in list(element.attrib):
        value = element.attrib.pop(key)
        element.attrib[_local(key)] = _paint(value)


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]


def _declarations(style: str) -> dict[str, str]:
    """``"fill: none; stroke: #fff"`` -> a mapping; matplotlib's values hold no semicolon."""
    pairs = (part.partition(":") for part in style.split(";") if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _paint(value: str) -> str:
    if value == INK:
        return "currentColor"
    return "none" if value == "#ffffff" else value


def _referenced(root: ElementTree.Element) -> list[str]:
    """The ids that are referenced in the picture."""
    found = []
    for element in root.iter():
        for key, value in element.attrib.items():
            found += _POINTS_AT.findall(value)
            if key == "href" and value.startswith("#"):
                found.append(value[1:])
    return found


def _rename(element: ElementTree.Element, name: str, used: set[str]) -> None:
    own = element.attrib.pop("id", None)
    for key, value in element.attrib.items():
        if key == "href" and value.startswith("#"):
            value = f"#{name}-{value[1:]}"
        element.attrib[key] = _POINTS_AT.sub(lambda found: f"url(#{name}-{found[1]})", value)
    if own in used:
        element.set("id", f"{name}-{own}")
