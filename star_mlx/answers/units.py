"""Units of measurement and money as people write them after, or before, a number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

# A unit's own spellings: symbols keep their case, words do not matter in case and number.
# Each line: the symbol by which it is known, its kind, its size in the kind's unit, symbols, words.
_SI = """
m      m     1        m     | meter metre meters metres meters mètre mètres metro metros metern
g      g     1        g gm  | gram grams gramme grammes gramm gramo gramos
s      s     1        s     | sec secs second seconds sekunde sekunden secondes segundo segundos
l      m^3   1/1000   l L   | liter liters litre litres litern litro litros
W      W     1        W     | watt watts
V      V     1        V     | volt volts
A      A     1        A     | amp amps ampere amperes
J      J     1        J     | joule joules
N      N     1        N     | newton newtons
Pa     Pa    1        Pa    | pascal pascals
Hz     Hz    1        Hz    | hertz
Ω      Ω     1        Ω Ω   | ohm ohms
mol    mol   1        mol   | mole moles mols
cal    J     4.184    cal   | calorie calories kalorie kalorien
eV     J     1.602176634e-19 eV |
Wh     J     3600     Wh    |
B      bit   8        B     | byte bytes
bit    bit   1        bit   | bits
t      g     1000000  t     | tonne tonnes
"""
_OTHER = """
in     m     0.0254   in    | inch inches
ft     m     0.3048   ft    | foot feet
yd     m     0.9144   yd    | yard yards yds
mi     m     1609.344 mi    | mile miles
lb     g     453.59237 lb   | lbs pound pounds
oz     g     28.349523125 oz | ounce ounces
ton    g     907184.74 |  ton tons
min    s     60       min   | mins minute minutes minuten minuto minutos
h      s     3600     h     | hr hrs hour hours stunde stunden heure heures hora horas
d      s     86400    |  day days tag tage tagen jour jours día días
week   s     604800   wk    | week weeks woche wochen semaine semaines semana semanas
month  month 1        |  month months monat monate monaten mois mes meses
year   month 12       yr    | yrs year years jahr jahre jahren année années año años
gal    m^3   0.003785411784 gal | gallon gallons
qt     m^3   0.000946352946 qt | quart quarts
pt     m^3   0.000473176473 pt | pint pints
cup    m^3   0.0002365882365 |  cup cups
floz   m^3   0.0000295735295625 |  floz
tbsp   m^3   0.00001478676478125 tbsp | tablespoon tablespoons
tsp    m^3   0.00000492892159375 tsp | teaspoon teaspoons
ha     m^2   10000    ha    | hectare hectares hektar
acre   m^2   4046.8564224 |  acre acres
$      $     1        $ USD | dollar dollars usd dólar dólares
¢      $     1/100    ¢     | cent cents
€      €     1        € EUR | euro euros eur
ct     €     1/100    |  cent cents eurocent eurocents
£      £     1        £ GBP | gbp pound pounds
p      £     1/100    |  penny pence
¥      ¥     1        ¥ JPY CNY | yen yuan
₹      ₹     1        ₹ INR | rupee rupees inr
₩      ₩     1        ₩ KRW | won
CHF    CHF   1        CHF   | chf franken
%      %     1        %     | percent pct prozent pourcent porciento
°      °     1        °     | degree degrees deg
rad    rad   1        rad   | radian radians
°C     K     1        °C    | celsius
°F     K     5/9      °F    | fahrenheit
K      K     1        K     | kelvin kelvins
bar    Pa    100000   bar   |
atm    Pa    101325   atm   | atmospheres
"""
_PREFIXES = {
    "n": ("nano", Fraction(1, 10**9)), "µ": ("micro", Fraction(1, 10**6)),
    "m": ("milli mili", Fraction(1, 1000)), "c": ("centi zenti", Fraction(1, 100)),
    "d": ("deci dezi", Fraction(1, 10)), "k": ("kilo kiló kilò", Fraction(1000)),
    "M": ("mega", Fraction(10**6)), "G": ("giga", Fraction(10**9)), "T": ("tera", Fraction(10**12)),
}  # fmt: skip
_LIKE: dict[str, dict[str, int]] = {  # words for what is written with other units
    "mph": {"mi": 1, "h": -1}, "kph": {"km": 1, "h": -1}, "kmh": {"km": 1, "h": -1},
    "cc": {"cm": 3}, "sqft": {"ft": 2}, "sqm": {"m": 2}, "quadratmeter": {"m": 2},
    "quadratkilometer": {"km": 2}, "quadratzentimeter": {"cm": 2}, "kubikmeter": {"m": 3},
    "kubikzentimeter": {"cm": 3}, "kilo": {"kg": 1}, "kilos": {"kg": 1}, "kgs": {"kg": 1},
    "kms": {"km": 1}, "kb": {"kB": 1}, "KB": {"kB": 1}, "mb": {"MB": 1}, "gb": {"GB": 1},
}  # fmt: skip
_ZERO = {"°C": Fraction("273.15"), "°F": Fraction("459.67") * 5 / 9}

_SEVERAL = [  # words of more than one part, as one
    (re.compile(r"\^?\{?\\circ\}?|º|\bdeg\b"), "°"),
    (re.compile(r"(?:\bdegrees? |°|° )(?:celsius\b|c\b)", re.I), "°C"),
    (re.compile(r"(?:\bdegrees? |°|° )(?:fahrenheit\b|f\b)", re.I), "°F"),
    (re.compile(r"\bfl(?:uid|\.)? ?(?:ounces?|oz)\b", re.I), "floz"),
    (re.compile(r"\bmetric tons?\b", re.I), "tonne"),
    (re.compile(r"\bper ?cent\b", re.I), "percent"),
    (re.compile(r"\bpour cent\b", re.I), "pourcent"),
    (re.compile(r"\bpor ciento\b", re.I), "porciento"),
    (re.compile(r"\b(?:US|U\.S\.) ?(?=dollars?\b|\$)", re.I), ""),
    (re.compile(r"\bpounds? sterling\b", re.I), "gbp"),
    (re.compile(r"\b[sS]q\.? (?=[a-z])"), "square "),
    (re.compile(r"\b[cC]u\.? (?=[a-z])"), "cubic "),
]
_FILLER = re.compile(r"[ ~{}\\$*_)\]]{0,8}-?")
_ONE = re.compile(
    r"(?:(?P<before>square|cubic)[ -])?(?P<name>°[CF]?(?![A-Za-z])|[%$€£¥₹₩¢]|[^\W\d_²³]{1,20})"
    r"(?:\.(?=\w|/))?"
    r"(?:(?:[{} ]{0,2}\^\{?|(?=[23]))(?P<power>[23])\}?(?![0-9]|[.,][0-9])"
    r"|(?P<small>[²³])| (?P<after>squared|cubed)\b)?"
)
_OVER = re.compile(r"[ {}]{0,3}(?:/|\b(?:p[eè]r|pro|por|par)\b)[ {}]{0,2}", re.IGNORECASE)
_TIMES = re.compile(r"[ ]?[*⋅·][ ]?")
_ENDS = re.compile(r"\s*(?:$|[.,;:!?)\]}*$\"'\n])")
_ALNUM = re.compile(r"[^\W_][^\W_²³]|.\^")  # a word that goes on
_DOUBTFUL = ("in", "t", "A", "d")  # words as well: "6 in total"
_POWERS = {"square": 2, "squared": 2, "²": 2, "cubic": 3, "cubed": 3, "³": 3}

_FAR = 120  # characters that a unit may take
_MOST_PARTS = 4

Unit = tuple[tuple[str, int], ...]  # the parts by their symbols, each with its power


@dataclass(frozen=True, slots=True)
class _Part:
    kind: Mapping[str, int]
    size: Fraction


def unit_after(text: str) -> tuple[frozenset[Unit], str] | None:
    """The unit at the beginning of a text, with how it is written; None if there is none.

    A word such as "pounds" stands for more than one unit.

    >>> unit_after(" km per hour, or less")
    (frozenset({(('h', -1), ('km', 1))}), 'km per hour')
    """
    text = _single(text)
    filler = _FILLER.match(text)
    start = filler.end() if filler else 0
    found = _one(text, start)
    if found is None and text[:start].endswith("$"):  # the $ was a currency, and no TeX
        start -= 1
        found = _one(text, start)
    return None if found is None else _whole(text, start, *found)


def whole_unit(text: str) -> frozenset[Unit] | None:
    """The units that a text may mean if it is a unit and nothing else; None if it is none.

    >>> whole_unit("square feet") == whole_unit("ft^2"), whole_unit("feet of rope")
    (True, None)
    """
    found = unit_after(text)
    whole = found is not None and found[1] == _single(text).strip(" .")
    return found[0] if found and whole else None


def unit_around(currency: str, text: str) -> tuple[frozenset[Unit], str] | None:
    """The unit of a number between a currency sign and a text such as "/day", with the latter."""
    text = currency + _single(text)
    found = _one(text, 0)
    whole = _whole(text, 0, *found) if found else None
    return whole and (whole[0], whole[1][1:].strip())


def _single(text: str) -> str:
    """The beginning of a text, with units of several words as one word."""
    text = text[:_FAR]
    for pattern, instead in _SEVERAL:
        text = pattern.sub(instead, text)
    return text


def _whole(
    text: str, start: int, units: frozenset[Unit], end: int
) -> tuple[frozenset[Unit], str] | None:
    """The unit from a place on whose first part is known, with what follows "/", "per" or "·"."""
    for _ in range(_MOST_PARTS):
        over, times = _OVER.match(text, end), _TIMES.match(text, end)
        sign = over or times
        more = _one(text, sign.end()) if sign else None
        if more is None and over:  # "6 m per apple" is not 6 m
            return None
        if more is None:
            break
        units = frozenset(_product(a, b, -1 if over else 1) for a in units for b in more[0])
        end = more[1]
    return units, text[start:end].strip()


def _one(text: str, start: int) -> tuple[frozenset[Unit], int] | None:
    """One part of a unit at a place, and where it ends."""
    match = _ONE.match(text, start)
    if match is None:
        return None
    raised = match["before"] or match["after"] or match["small"]
    power = _POWERS[raised] if raised else int(match["power"] or 1)
    end, units = match.end(), _named(match["name"])
    if not units or _ALNUM.match(text, end - 1):
        return None
    if match["name"] in _DOUBTFUL and power == 1 and not _ENDS.match(text, end):
        return None
    return frozenset(tuple((name, times * power) for name, times in unit) for unit in units), end


def _product(a: Unit, b: Unit, sign: int) -> Unit:
    powers = dict(a)
    for name, power in b:
        powers[name] = powers.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _named(word: str) -> frozenset[Unit]:
    symbols, words = _spellings()
    word = word.replace("μ", "µ")
    return symbols.get(word) or words.get(word.casefold()) or frozenset()


@cache
def _spellings() -> tuple[dict[str, frozenset[Unit]], dict[str, frozenset[Unit]]]:
    """The units by their symbols, whose case matters, and by their words."""
    symbols: dict[str, set[Unit]] = {}
    words: dict[str, set[Unit]] = {}
    for name, own, spelled in _lines():
        for symbol in {*own, name}:
            symbols.setdefault(symbol, set()).add(((name, 1),))
            if len(symbol) > 1 and symbol[0].islower():
                words.setdefault(symbol.casefold(), set()).add(((name, 1),))
        for word in spelled:
            words.setdefault(word, set()).add(((name, 1),))
    for word, parts in _LIKE.items():
        words.setdefault(word.casefold(), set()).add(tuple(sorted(parts.items())))
    for given in (symbols, words):
        given.update({"ct": {(("¢", 1),), (("ct", 1),)}})
    return (
        {symbol: frozenset(units) for symbol, units in symbols.items()},
        {word: frozenset(units) for word, units in words.items()},
    )


def _lines() -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, symbols, words) of every unit, those with prefixes too."""
    for table in (_SI, _OTHER):
        for line in table.strip().splitlines():
            rest, _, spelled = line.partition("|")
            name, _, _, *own = rest.split()
            yield name, own, spelled.split()
            if table is _SI:
                for prefix, (spoken, _size) in _PREFIXES.items():
                    yield (
                        prefix + name,
                        [prefix + symbol for symbol in own],
                        [said + word for said in spoken.split() for word in spelled.split()],
                    )


@cache
def _parts() -> dict[str, _Part]:
    """Every unit's kind and size."""
    found = {}
    for table in (_SI, _OTHER):
        for line in table.strip().splitlines():
            name, kind, size = line.split()[:3]
            base, _, power = kind.partition("^")
            part = _Part({base: int(power or 1)}, Fraction(size))
            found[name] = part
            if table is _SI:
                for prefix, (_, times) in _PREFIXES.items():
                    found[prefix + name] = _Part(part.kind, part.size * times)
    return found


def in_base(value: Fraction, unit: Unit) -> tuple[Fraction, Unit]:
    """A quantity in the units of its kind: 6 km is 6000 m, 90 km/h is 25 m/s.

    A temperature alone counts from absolute zero.
    """
    if len(unit) == 1 and unit[0][1] == 1 and (zero := _ZERO.get(unit[0][0])) is not None:
        return value * _parts()[unit[0][0]].size + zero, (("K", 1),)
    kind: Unit = ()
    for name, power in unit:
        part = _parts()[name]
        value *= part.size**power
        kind = _product(kind, tuple((base, n * power) for base, n in part.kind.items()), 1)
    return value, kind
