"""A recipe is written and read back exactly, and refuses in one line what cannot be trained."""

import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe, differences, from_json, to_json
from pneumothorax.recipe_fields import fits
from pneumothorax.recipes import find_recipe

shares = st.floats(0, 0.99)
recipes = st.builds(
    Recipe,
    name=st.text(),
    size=st.integers(1, 40).map(lambda number: 32 * number),
    interpolation=st.sampled_from(["bilinear", "bicubic", "area"]),
    positives_only=st.booleans(),
    rotation_degrees=st.floats(0, 360),
    zoom=shares,
    contrast=shares,
    encoder=st.text(),
    decoder_filters=st.tuples(*[st.integers(1, 512)] * 5),
    learning_rate=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 2**64),
)


@given(recipes)
def test_json_and_back(recipe):
    text = to_json(recipe)
    assert from_json(text) == recipe
    assert to_json(from_json(text)) == text


def test_defaults_are_the_paper_s():
    recipe = find_recipe("seed")
    assert recipe == Recipe()
    assert (recipe.size, recipe.encoder, recipe.batch_size) == (128, "xception", 16)
    assert not recipe.augments


def test_every_field_has_a_help_text_and_every_number_a_range_that_holds_its_default():
    for part in fields(Recipe):
        assert part.metadata["help"]
        assert fits(part.default, part)
        is_number = not isinstance(part.default, bool | str)
        assert (part.metadata["range"] is not None) == (is_number and part.name != "size")  # architecture's


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 100),
        ("size", 0),
        ("size", 16),
        ("size", -64),
        ("size", 128.0),
        ("size", "128"),
        ("size", True),
        ("interpolation", "cubic"),
        ("interpolation", None),
        ("positives_only", 1),
        ("positives_only", "yes"),
        ("split", "random"),
        ("fold_count", 1),
        ("flip", 0.5),
        ("rotation_degrees", -1),
        ("rotation_degrees", float("nan")),
        ("shift", -0.1),
        ("shift", 1.0),
        ("zoom", -0.1),
        ("zoom", 1),
        ("positive_rate", 1.1),
        ("positive_rate_end", -0.1),
        ("elastic", 1.0),
        ("gamma", -0.1),
        ("gamma", 5.0),
        ("tone_share", 1.5),
        ("ema", 1.0),
        ("accumulate", 0),
        ("clip_norm", -1.0),
        ("average_best", 0),
        ("monitor", "loss"),
        ("schedule", "linear"),
        ("boundary_schedule", "falling"),
        ("brightness", 2.0),
        ("contrast", float("inf")),
        ("encoder", None),
        ("encoder_weights", 3),
        ("decoder_filters", (256, 128, 64, 32)),
        ("decoder_filters", (256, 128, 64, 32, 0)),
        ("decoder_filters", (256, 128, 64, 32, 1.5)),
        ("decoder_filters", ()),
        ("decoder_filters", 5),
        ("decoder_filters", "25612"),
        ("batch_norm_momentum", 1.0),
        ("batch_norm_momentum", 0),
        ("precision", "float16"),
        ("loss", "tversky"),
        ("loss", ""),
        ("loss", None),
        ("focal_gamma", -1.0),
        ("architecture", "unet++"),
        ("loss_reduction", "mean"),
        ("smooth", -0.1),
        ("smooth", float("nan")),
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("learning_rate", 0),
        ("learning_rate", -1e-4),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "1e-4"),
        ("epochs", 0),
        ("plateau_patience", 0),
        ("plateau_factor", 0),
        ("plateau_factor", 1.0),
        ("early_stop_patience", 0),
        ("seed", -1),
        ("seed", 0.5),
        ("deterministic", None),
        ("name", 7),
    ],
)
def test_a_bad_value_is_one_line_that_names_field_and_value(field, value):
    with pytest.raises(UserError) as caught:
        replace(find_recipe("smoke"), **{field: value})
    assert str(caught.value).startswith(f"{field} {value!r} in the recipe; expected ")
    assert "\n" not in str(caught.value)
    values = asdict(Recipe()) | {field: value}
    with pytest.raises(UserError, match=field):
        from_json(json.dumps(values))


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "efficientnetb4"},
        {"encoder": "/a/file"},
        {"encoder_weights": "/weights of mine.h5"},
        {"learning_rate": 1},
        {"rotation_degrees": 10},
        {"smooth": 0},
        {"size": 32},
        {"loss": "0.5 * lovasz + bce"},
        {"focal_gamma": 0},
        {"architecture": "fpn"},
        {"size": 1024},
        {"name": ""},
    ],
)
def test_what_is_unusual_but_right_is_taken(change):
    recipe = replace(find_recipe("seed"), **change)
    assert from_json(to_json(recipe)) == recipe


@pytest.mark.parametrize("part", ["flip", "rotation_degrees", "shift", "zoom", "brightness", "contrast"])
def test_any_part_of_the_augmentation_switches_it_on(part):
    assert Recipe(**{part: True if part == "flip" else 0.25}).augments


def test_differences_name_each_field_with_both_values():
    old = Recipe()
    assert differences(old, old) == []
    new = replace(old, size=256, flip=True)
    assert differences(old, new) == ["size 128 -> 256", "flip False -> True"]
    assert differences(new, old) == ["size 256 -> 128", "flip True -> False"]


VALUES = asdict(Recipe())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "not JSON", id="nothing"),
        pytest.param(to_json(Recipe())[:50], "not JSON", id="cut short"),
        pytest.param("null", "JSON of type NoneType; expected an object", id="null"),
        pytest.param(json.dumps(VALUES | {"dropout": 0.5}), "unknown field 'dropout'", id="unknown field"),
        pytest.param(
            json.dumps({name: value for name, value in VALUES.items() if name not in ("size", "flip_tta")}),
            r"another version \(without size, flip_tta\)",
            id="missing fields",
        ),
        pytest.param(json.dumps(VALUES | {"size": None}), "size None in the recipe", id="null for a number"),
        pytest.param(json.dumps(VALUES | {"deterministic": True}), "deterministic True", id="an old value"),
        pytest.param(json.dumps(VALUES | {"decoder_filters": 5}), "decoder_filters 5", id="no list"),
    ],
)
def test_a_recipe_that_another_version_wrote_or_that_is_damaged_is_one_line(text, message):
    with pytest.raises(UserError, match=message) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
