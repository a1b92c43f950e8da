"""A field's type, choices and range stand beside its default, and one loop checks them."""

import json
import math
from dataclasses import dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.recipe_fields import Range, check_fields, describe_values, option, parse_fields

NUMBERS = st.floats(allow_nan=False)


@dataclass(frozen=True)
class Example:
    """One field of each kind."""

    flip: bool = option(False, "")
    count: int = option(3, "", within=Range(1))
    share: float = option(0.5, "", within=Range(0, 1, high_open=True))
    filters: tuple[int, ...] = option((8, 4), "", within=Range(1))
    encoder: str = option("xception", "")
    schedule: str = option("plateau", "", ("plateau", "cosine"))

    def __post_init__(self) -> None:
        check_fields(self)


@given(NUMBERS, NUMBERS, NUMBERS, st.booleans(), st.booleans())
def test_a_range_holds_the_numbers_between_its_ends(value, low, high, low_open, high_open):
    within = Range(low, high, low_open, high_open)
    assert (value in within) == (
        (low < value or (value == low and not low_open))
        and (value < high or (value == high and not high_open))
    )


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (Range(1), "1 or more"),
        (Range(0, low_open=True), "above 0"),
        (Range(0, 4), "0 to 4"),
        (Range(0, 1, high_open=True), "0 or more and below 1"),
        (Range(0, 1, low_open=True), "above 0 and at most 1"),
        (Range(0, 1, low_open=True, high_open=True), "above 0 and below 1"),
        (Range(0, 0.05, reason="above which it folds"), "0 to 0.05, above which it folds"),
    ],
)
def test_a_range_in_words(within, words):
    assert str(within) == words


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flip", 1, "true or false"),
        ("count", True, "a whole number, 1 or more"),
        ("count", 0, "a whole number, 1 or more"),
        ("count", 1.0, "a whole number, 1 or more"),
        ("share", 1, "a number, 0 or more and below 1"),
        ("share", math.nan, "a number, 0 or more and below 1"),
        ("share", 10**400, "a number, 0 or more and below 1"),
        ("share", "0.5", "a number, 0 or more and below 1"),
        ("filters", (8,), "2 whole numbers, each 1 or more"),
        ("filters", (8, 0), "2 whole numbers, each 1 or more"),
        ("filters", (8, True), "2 whole numbers, each 1 or more"),
        ("filters", [8, 4], "2 whole numbers, each 1 or more"),
        ("encoder", None, "text"),
        ("schedule", "linear", "one of plateau, cosine"),
        ("schedule", ["cosine"], "one of plateau, cosine"),
    ],
)
def test_a_value_that_does_not_fit_names_its_field_and_those_that_do(name, value, expected):
    with pytest.raises(UserError) as caught:
        Example(**{name: value})
    assert str(caught.value) == f"{name} {value!r} in the recipe; expected {expected}"
    assert describe_values(next(part for part in fields(Example) if part.name == name)) == expected


def test_a_whole_number_serves_for_a_fraction():
    assert Example(share=0).share == 0


def test_some_fields_are_read_from_json():
    assert parse_fields("{}", Example) == {}
    assert parse_fields('{"filters": [2, 1], "count": 9}', Example) == {"filters": (2, 1), "count": 9}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text that is not JSON (Expecting value: line 1 column 1 (char 0)); expected a JSON object"),
        ("[" * 100_000, "text that is not JSON (maximum recursion depth exceeded"),
        ("9" * 5000, "text that is not JSON (Exceeds the limit"),
        ("[1]", "JSON of type list; expected an object with fields"),
        ("3", "JSON of type int; expected an object with fields"),
        ('{"Count": 1}', "unknown field 'Count'; expected fields of a recipe; did you mean count?"),
        (
            '{"filter": 1, "flap": 1}',
            "unknown fields 'filter', 'flap'; expected fields of a recipe; did you mean filters, flip?",
        ),
        ('{"\\n": 1}', r"unknown field '\n'; expected fields of a recipe; `pneumothorax train --help` lists"),
        ('{"count": 1, "flip": true, "count": 2}', "field 'count' twice; expected each field once"),
    ],
)
def test_text_without_fields_of_ours_is_one_line(text, message):
    with pytest.raises(UserError) as caught:
        parse_fields(text, Example)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_any_json_for_a_field_is_taken_or_refused(value):
    for part in fields(Example):
        values, message = parse_fields(json.dumps({part.name: value}), Example), part.name
        try:
            Example(**values)
        except UserError as error:
            message = str(error)
        assert message.startswith(part.name)
