"""Legs as text and as recipes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.legs import last_leg, legs_of, parse_legs, write_legs
from pneumothorax.recipe import from_json, to_json
from pneumothorax.recipes import find_recipe

WORDS = st.text("abcz_019.*+- ", min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.dictionaries(WORDS, WORDS, min_size=1), max_size=4))
def test_reading_is_the_inverse_of_writing(legs):
    assert parse_legs(write_legs(legs)) == legs


def test_a_leg_takes_from_the_one_before_what_it_does_not_change():
    last = "positive_rate=1, loss=bce+dice + 0.1*classification,flip=False"
    recipe = find_recipe("strong", legs=f"size=512,epochs=15, learning_rate=1e-4 ; {last}")
    first, second, third = legs_of(recipe)
    assert (first.size, first.epochs, first.legs) == (256, 40, "")
    assert (second.size, second.epochs, second.learning_rate, second.flip) == (512, 15, 1e-4, True)
    assert (third.size, third.epochs, third.positive_rate, third.flip) == (512, 15, 1.0, False)
    assert third.loss == "bce + dice + 0.1 * classification"
    assert last_leg(recipe) == third
    assert len({leg.seed for leg in (first, second, third)}) == 3


def test_a_recipe_of_one_leg_is_its_own_first_and_last():
    recipe = find_recipe("seed")
    assert legs_of(recipe) == [recipe]


def test_legs_are_spelled_one_way_and_survive_json():
    recipe = find_recipe("strong", legs="size=512,epochs=15")
    assert recipe.legs == "size=512, epochs=15"
    assert recipe == find_recipe("strong", legs=" size = 512 , epochs = 15")
    assert from_json(to_json(recipe)) == recipe


def test_a_later_leg_does_not_begin_with_the_other_run():
    first, second = legs_of(find_recipe("strong", init_from="seed", legs="size=512"))
    assert (first.init_from, second.init_from) == ("seed", "")


@pytest.mark.parametrize(
    ("legs", "words"),
    [
        ("size", "'size' in legs 'size'; expected changes of the recipe"),
        ("size=512;", "'' in legs"),
        ("size=", "expected changes"),
        ("size=512, size=768", "size twice in one leg"),
        ("size=128", "leg 2: size 128 after 256; expected sizes that never fall.*; name other --legs"),
        ("size=512; size=256", "leg 3: size 256 after 512"),
        ("size=500", "leg 2: size 500 .* divisible by 32.*use 480 or 512"),
        ("encoder=vgg16", "leg 2: encoder in a leg; expected a field that may change"),
        ("positives_only=true", "leg 2: positives_only in a leg"),
        ("augments=true", "leg 2: augments in a leg; expected a field of the recipe"),
        ("colour=red", "leg 2: colour in a leg"),
        ("flip=maybe", "leg 2: flip 'maybe'; expected a value such as true"),
        ("epochs=few", "leg 2: epochs 'few'; expected a value such as 40"),
        ("epochs=1", "leg 2: warmup_epochs 1 of 1 epochs"),
        ("learning_rate=0", "leg 2: learning_rate 0"),
        ("loss=bce", "leg 2: a classification head that the loss 'bce' does not train"),
        ("schedule=steps", "leg 2: schedule 'steps'"),
    ],
)
def test_a_wrong_leg_is_one_line_that_names_it(legs, words):
    with pytest.raises(UserError, match=words):
        find_recipe("strong", legs=legs)
