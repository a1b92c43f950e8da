"""A rule's fields: their ranges and text, and the flags and words that are made from them."""

from argparse import ArgumentParser
from dataclasses import fields

import pytest

from pneumothorax import flags
from pneumothorax.errors import UserError
from pneumothorax.inference.rule import Rule, range_of


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"threshold": None},
        {"threshold": True},
        {"threshold": "0.5"},
        {"top_threshold": 1.5},
        {"top_threshold": 0.4, "threshold": 0.5},
        {"min_area": -1},
        {"min_area": float("inf")},
        {"min_area": 10**400},
        {"min_area": 1024**2 + 1},
        {"min_component": -1},
        {"min_component": 1.5},
        {"classification_threshold": -0.1},
        {"classification_threshold": 1.5},
        {"classification_threshold": float("nan")},
    ],
)
def test_a_rule_out_of_range_is_refused(values):
    with pytest.raises(UserError, match=next(iter(values))):
        Rule(**values)


@pytest.mark.parametrize("part", fields(Rule), ids=lambda part: part.name)
def test_the_ends_of_each_range_are_allowed_and_told_where_they_are_passed(part):
    low, high = part.metadata["low"], part.metadata["high"]
    for value in (low, high):
        top = {"top_threshold": 1.0} if part.name != "top_threshold" else {"threshold": 0.0}
        assert getattr(Rule(**{**top, part.name: value}), part.name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(UserError) as caught:
            Rule(**{part.name: value})
        assert caught.value.expected == f"a {range_of(part)}"


def test_ranges_are_told_with_their_units():
    assert [range_of(part) for part in fields(Rule)[1:3]] == [
        "probability from 0 to 1",
        "whole number of pixels at 1024x1024 from 0 to 1,048,576",
    ]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(0.35, min_area=800), "threshold 0.35, minimum area 800 pixels"),
        (Rule(0.35, 0.35, 800), "threshold 0.35, minimum area 800 pixels"),
        (
            Rule(0.35, 0.7, 800, 100),
            "threshold 0.35, minimum area 800 pixels above 0.7, components of 100 pixels or more",
        ),
        (
            Rule(0.35, classification_threshold=0.05),
            "threshold 0.35, minimum area 0 pixels, image-level probability 0.05 or more",
        ),
    ],
)
def test_a_rule_is_described_in_one_line(rule, words):
    assert str(rule) == words


def test_each_part_has_a_flag_of_its_type_with_its_help_and_range():
    parser = ArgumentParser()
    flags.rule(parser)
    words = ["--threshold=0.25", "--min-area=800", "--classification-threshold", "0.5"]
    found = vars(parser.parse_args(words))
    assert found == {
        "threshold": 0.25,
        "top_threshold": None,
        "min_area": 800,
        "min_component": None,
        "classification_threshold": 0.5,
    }
    text = " ".join(parser.format_help().split())
    for part in fields(Rule):
        assert f"{part.metadata['help']}; {range_of(part)} (default: tuned)" in text
