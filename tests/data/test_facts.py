"""What the texts of a DICOM file's elements mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.data.facts import spacing_of, years_of


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *[("64", 64), ("064Y", 64), ("18M", 1), ("011M", 0), ("052W", 0), ("053W", 1), ("366D", 1)],
        *[("000", 0), ("120", 120), ("121", None), ("", None), ("Y", None), ("-5", None), ("6 4", None)],
        *[("64X", None), ("6.5", None), ("\u0664", None)],
    ],
)
def test_age_in_every_form(text, years):
    assert years_of(text) == years


@given(st.integers(0, 9999), st.sampled_from(["", "Y", "M", "W", "D"]))
def test_age_is_plausible_or_none(number, unit):
    years = years_of(f"{number:03d}{unit}")
    assert years is None or 0 <= years <= 120
    if unit in ("", "Y"):
        assert years == (number if number <= 120 else None)
    if unit == "M":
        assert years == (number // 12 if number // 12 <= 120 else None)


@given(st.text())
def test_any_text_is_an_age_or_none(text):
    assert years_of(text) is None or text[0].isdigit()


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_spacing_survives_its_text(row, column):
    assert spacing_of(f"{row!r}\\{column!r}") == (row, column)


@given(st.text())
def test_any_text_is_a_spacing_or_none(text):
    spacing = spacing_of(text)
    assert spacing is None or min(spacing) > 0
