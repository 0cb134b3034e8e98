"""Numbers with units, and numbers with other marks than 1,234.50."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.answers import Notation, final_number, final_quantity, number, quantity, same_quantity
from star_mlx.answers.units import in_base, unit_after, unit_around

VARIANTS = [
    ["m", "meters", "metres", "meter"], ["km", "kilometers", "KM", "kilometre", "Kilometer"],
    ["cm", "centimeters", "Zentimeter"], ["kg", "kilograms", "kilos", "kgs"], ["g", "grams"],
    ["%", "percent", "per cent", "Prozent", "pct"], ["s", "seconds", "sec"], ["h", "hours", "hrs"],
    ["min", "minutes", "mins"], ["m^2", "m²", "m2", "square meters", "sq m", "meters squared"],
    ["cm^3", "cm³", "cubic centimeters", "cc"], ["km/h", "km per hour", "kph", "kilometers/hour"],
    ["mph", "miles per hour", "mi/h"], ["m/s", "meters per second"], ["m/s^2", "m/s²"],
    ["dollars", "USD", "US dollars", "dollar"], ["€", "euros", "EUR"], ["°C", "degrees Celsius"],
    ["degrees", "°"], ["ml", "mL", "milliliters"], ["kWh"], ["mA", "milliamps"], ["MW"], ["mW"],
    ["in", "inches"], ["ft", "feet"], ["lb", "lbs"], ["£", "GBP"], ["fl oz", "fluid ounces"],
    ["g/cm³", "grams per cubic centimeter"], ["MB", "megabytes"], ["µm", "micrometers"],
]  # fmt: skip
ALL = [(unit, number) for number, group in enumerate(VARIANTS) for unit in group]
FORMS = ["The answer is {}.", "The answer is: {}", "**{}**", "{}", "#### {}", "\\boxed{{{}}}",
         "3 * 2 = {}", "He has 5. So it is **{}**.",
         "The answer is {}, because it is."]  # fmt: skip


@pytest.mark.parametrize(("unit", "group"), ALL)
def test_a_quantity_is_read_back_in_every_spelling_of_its_unit(unit, group):
    for form in FORMS:
        read = final_quantity(form.format(f"6 {unit}"))
        assert read is not None and same_quantity(read, f"6 {unit}"), form
        assert not same_quantity(read, f"7 {unit}"), form
        assert same_quantity(read, "6") and not same_quantity("6", f"6 {unit}")
    for other, number_ in ALL:
        assert same_quantity(read, f"6 {other}") == (group == number_), (read, other)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The answer is $18.", "$18"),
        ("The answer is -$18.50 per day.", "-$18.5 per day"),
        ("It costs €5/day", "€5/day"),
        ("It costs 18 dollars and 50 cents.", "$18.5"),
        ("It costs 4 million dollars.", "4 million dollars"),
        ("The answer is $18$.", "18"),
        ("The answer is $6\\text{ km}$.", "6 km"),
        ("\\boxed{6} km", "6 km"),
        ("\\boxed{6\\ \\mathrm{km}}", "6 km"),
        ("The answer is 50\\%", "50%"),
        ("The answer is six km", "6 km"),
        ("The answer is 6 in total.", "6"),
        ("The answer is 6 in.", "6 in"),
        ("The answer is 6 apples", "6"),
        ("The answer is 6 m per apple", "6"),
        ("3 m. The answer is 25^\\circ C", "25°C"),
        ("The answer is 1/2 mile", "1/2 mile"),
        ("The answer is 6-km", "6 km"),
        ("nothing", None),
        ("The answer is unknown. 6 m", None),
    ],
)
def test_a_quantity_as_it_is_written(text, read):
    assert final_quantity(text) == read


@given(st.text())
def test_the_number_of_a_quantity_is_the_final_number(text):
    read, found = final_quantity(text), final_number(text)
    assert (read is None) == (found is None)
    if read is not None and found is not None and number(found) is not None:
        assert number(read) in (number(found), None)
    quantity(text), unit_after(text), unit_around("$", text)


@pytest.mark.parametrize(
    ("answer", "gold", "same", "converted"),
    [
        ("6 km", "6 m", False, False),
        ("6000 m", "6 km", False, True),
        ("90 km/h", "25 m/s", False, True),
        ("60 minutes", "1 hour", False, True),
        ("100 cents", "$1", False, True),
        ("212 °F", "100 °C", False, True),
        ("0 °C", "0 K", False, False),
        ("1 l", "1000 cm³", False, True),
        ("1 m", "1 s", False, False),
        ("1 kg/m^3", "0.001 g/cm^3", False, True),
        ("5 pounds", "£5", True, True),
        ("5 pounds", "5 lb", True, True),
        ("£5", "5 lb", False, False),
        ("18 apples", "18 pears", True, True),
        ("18 km", "18 apples", False, False),
        ("18", "18 apples", True, True),
        ("18 apples", "18", True, True),
        ("$5", "$5 per day", False, False),
        ("many", "6 m", False, False),
        ("6 m", "many", False, False),
    ],
)
def test_units_are_converted_only_if_asked(answer, gold, same, converted):
    assert same_quantity(answer, gold) is same
    assert same_quantity(answer, gold, convert=True) is converted


@pytest.mark.parametrize(
    "text",
    [
        " kmx",
        " in total",
        " m per apple",
        " m^20",
        " a day",
        " foo",
        "",
        " m2,5",
        " xkm",
        " d of x",
    ],
)
def test_what_is_no_unit(text):
    assert unit_after(text) is None


def test_values_in_the_units_of_their_kind():
    assert in_base(Fraction(2), (("km", 1),)) == (2000, (("m", 1),))
    assert in_base(Fraction(2), (("ha", 1),)) == (20_000, (("m", 2),))
    assert in_base(Fraction(3), (("km", 1), ("m", -1))) == (3000, ())


# ------------------------------------------------------------------ marks


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "standard"),
    [
        (",", None, "1.234,50", "1234.50"),
        (",", None, "2,5 und 1.234.567", "2.5 und 1234567"),
        (",", None, "3.14", "3.14"),
        (",", None, "0.500", "0.500"),
        (",", None, "1.2345", "1.2345"),
        (",", None, "1,234.50", "1,234.50"),
        (",", None, "1,234,567", "1,234,567"),
        (",", None, "12.05.2024, 2,3,4", "12.05.2024, 2,3,4"),
        (",", None, "12,50.", "12.50."),
        (",", "none", "1.234", "1.234"),
        (",", "'", "1'234,50 1’234", "1234.50 1234"),
        (",", " ", "1 234,5 und 12 345", "1234.5 und 12345"),
        (".", " ", "12 345.6", "12345.6"),
        (".", "'", "1'234.50", "1234.50"),
        (".", "none", "1,234.5", "1, 234.5"),
        (".", "none", "1.5.2", "1.5.2"),
        (".", "'", "1,234", "1,234"),
        (",", "none", "1,2,3", "1,2,3"),
        (",", None, "1234.567", "1234.567"),
        (".", None, "1,234.5", "1,234.5"),
        (".", ",", "1.234,5", "1.234,5"),
    ],
)
def test_numbers_with_other_marks(decimal, thousands, text, standard):
    assert Notation(decimal, thousands).standard(text) == standard


@given(st.integers(0, 10**9), st.integers(0, 999), st.sampled_from([".", "'", " ", None]))
def test_a_number_is_read_as_it_was_written(whole, places, thousands):
    grouped = f"{whole:,}".replace(",", thousands or ".")
    written = Notation(",", thousands)
    assert number(written.standard(f"{grouped},{places:03d}")) == whole + Fraction(places, 1000)
    assert number(written.standard(grouped)) == whole
    assert written.local(f"{whole}.{places}") == f"{whole},{places}"
    assert Notation(".", " ").local(f"{whole}.{places}") == f"{whole}.{places}"


@pytest.mark.parametrize("text", ["1'234.50", "1’234.50", "$1'234.50"])
def test_swiss_thousands_need_no_option(text):
    assert number(text) == Fraction("1234.5") and final_number(f"It is {text}.") == "1234.5"
    assert number("5'10") is None
