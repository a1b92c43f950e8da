"""A loss is read from its text and written back the one way; what is none of ours is one clear line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.loss_text import EXAMPLE, TERMS, parse_loss, write_loss
from pneumothorax.recipe import Recipe, differences

weights = st.floats(0, 1e18, exclude_min=True)


@given(
    st.lists(st.sampled_from(TERMS), min_size=1, unique=True).flatmap(
        lambda names: st.tuples(*[weights] * len(names)).map(
            lambda values: dict(zip(names, values, strict=True))
        )
    )
)
def test_text_and_back(sum_of_terms):
    text = write_loss(sum_of_terms)
    assert parse_loss(text) == sum_of_terms
    assert list(parse_loss(text)) == list(sum_of_terms)
    assert write_loss(parse_loss(text)) == text


@pytest.mark.parametrize(
    ("text", "weights", "written"),
    [
        ("bce + log_dice", {"bce": 1, "log_dice": 1}, "bce + log_dice"),
        ("log_dice", {"log_dice": 1}, "log_dice"),
        ("3*bce+1*dice+ 4 *focal", {"bce": 3, "dice": 1, "focal": 4}, EXAMPLE),
        (" .5 * lovasz\t+\tbce ", {"lovasz": 0.5, "bce": 1}, "0.5 * lovasz + bce"),
        ("1e-3 * focal", {"focal": 0.001}, "0.001 * focal"),
        ("1e16 * focal", {"focal": 1e16}, "10000000000000000 * focal"),
    ],
)
def test_each_term_has_its_weight_and_one_spelling(text, weights, written):
    assert parse_loss(text) == weights
    assert write_loss(weights) == written
    assert Recipe(loss=text).loss == written


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a term is missing"),
        (" ", "a term is missing"),
        ("+ bce", "a term is missing"),
        ("bce +", "a term is missing"),
        ("bce + + dice", "a term is missing"),
        ("2 *", "a term is missing"),
        ("tversky", "there is no term 'tversky'"),
        ("BCE", "there is no term 'BCE'"),
        ("bce dice", "there is no term 'bce dice'"),
        ("bce * 3", "there is no term '3'"),
        ("bce - dice", "there is no term 'bce - dice'"),
        ("3 bce", "there is no term '3 bce'"),
        ("1e+3 * bce", "there is no term '1e'"),
        ("bce\n+ x", "there is no term 'x'"),
        ("bce + 2 * bce", "bce stands in it twice"),
        ("* bce", "the weight '' is no positive number"),
        ("0 * bce", "the weight '0' is no positive number"),
        ("-1 * bce", "the weight '-1' is no positive number"),
        ("nan * bce", "the weight 'nan' is no positive number"),
        ("inf * bce", "the weight 'inf' is no positive number"),
        ("1e-999 * bce", "the weight '1e-999' is no positive number"),
        ("two * bce", "the weight 'two' is no positive number"),
        ("2 * 3 * bce", "the weight '2 * 3' is no positive number"),
        ("2 ** bce", "the weight '2 *' is no positive number"),
    ],
)
def test_what_is_no_loss_is_one_line_with_the_terms_there_are(text, why):
    with pytest.raises(UserError) as caught:
        Recipe(loss=text)
    line = str(caught.value)
    assert line.startswith(f"loss {text!r} in the recipe; expected a sum of {', '.join(TERMS)}")
    assert line.endswith(f"; {why}")
    assert "\n" not in line


def test_another_loss_is_a_difference_and_another_spelling_is_none():
    assert differences(Recipe(), Recipe(loss="bce+log_dice")) == []
    assert differences(Recipe(), Recipe(loss="bce + 2*log_dice")) == [
        "loss 'bce + log_dice' -> 'bce + 2 * log_dice'"
    ]
