"""A recipe is written and read back exactly, and refuses in one line what cannot be trained."""

import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumothorax.errors import UserError
from pneumothorax.recipe import RECIPES, Recipe, differences, find_recipe, from_json, to_json

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


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_bear_their_names_and_survive_json(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert from_json(to_json(recipe)) == recipe


def test_defaults_are_the_paper_s():
    recipe = find_recipe("seed")
    assert recipe == Recipe()
    assert (recipe.size, recipe.encoder, recipe.batch_size) == (128, "xception", 16)
    assert not recipe.augments


def test_every_field_has_a_help_text_and_a_default_among_its_choices():
    for part in fields(Recipe):
        assert part.metadata["help"]
        assert not part.metadata["choices"] or part.default in part.metadata["choices"]


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


def test_a_size_that_does_not_divide_says_which_do():
    with pytest.raises(UserError, match=r"size 100 in the recipe; .* divisible by 32.*; use 96 or 128"):
        Recipe(size=100)


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


def test_a_named_recipe_is_taken_with_changes():
    assert find_recipe("smoke", size=96) == replace(RECIPES["smoke"], size=96)
    assert RECIPES["smoke"].size == 64


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(UserError, match="recipe 'best'; expected one of " + ", ".join(RECIPES)):
        find_recipe("best")


@pytest.mark.parametrize(
    ("size", "sizes"), [(128, "96 or 144"), (32, "48 or 96"), (100, "96 or 144"), (0, "48 or 96")]
)
def test_a_size_that_pspnet_cannot_cut_says_which_it_can(size, sizes):
    with pytest.raises(
        UserError, match=rf"size {size} in the recipe; .* divisible by 48.* pspnet .*; use {sizes}"
    ):
        Recipe(architecture="pspnet", size=size)
    assert Recipe(architecture="pspnet", size=144).size == 144


@pytest.mark.parametrize("missing", [["architecture"], ["focal_gamma"], ["architecture", "focal_gamma"]])
def test_a_recipe_from_before_a_field_means_what_it_meant(missing):
    recipe = Recipe(size=256, loss="bce + dice")
    values = {name: value for name, value in asdict(recipe).items() if name not in missing}
    assert from_json(json.dumps(values)) == recipe
    assert (recipe.architecture, recipe.focal_gamma) == ("unet", 2.0)


VALUES = asdict(Recipe())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "no JSON", id="nothing"),
        pytest.param(to_json(Recipe())[:50], "no JSON", id="cut short"),
        pytest.param("null", "another version .*NoneType", id="null"),
        pytest.param("[1, 2]", "another version .*list", id="a list"),
        pytest.param(
            json.dumps(VALUES | {"dropout": 0.5}), "fields that differ: .*dropout", id="unknown field"
        ),
        pytest.param(json.dumps({"size": 128}), "fields that differ: .*'epochs'", id="missing fields"),
        pytest.param(json.dumps(VALUES | {"size": None}), "size None in the recipe", id="null for a number"),
        pytest.param(json.dumps(VALUES | {"decoder_filters": 5}), "decoder_filters 5", id="no list"),
    ],
)
def test_what_is_no_recipe_of_this_version_is_one_line(text, message):
    with pytest.raises(UserError, match=message) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_a_recipe_of_before_a_field_was_added_has_its_default():
    older = {name: value for name, value in VALUES.items() if name != "flip_tta"}
    assert from_json(json.dumps(older)) == Recipe()


def test_differences_name_each_field_with_both_values():
    old = Recipe()
    assert differences(old, old) == []
    new = replace(old, size=256, flip=True)
    assert differences(old, new) == ["size 128 -> 256", "flip False -> True"]
    assert differences(new, old) == ["size 256 -> 128", "flip True -> False"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "bce + classification"}, "--classification-head"),
        ({"classification_head": True}, "bce \\+ log_dice \\+ 0.1 \\* classification"),
        ({"loss": "boundary"}, "judges every mask"),
        ({"loss": "boundary + classification", "classification_head": True}, "judges every mask"),
        ({"loss": "bce + boundary", "boundary_schedule": "rebalanced"}, "a weight below 1"),
        ({"positive_rate": 0.5}, "--no-positives-only"),
        ({"positives_only": False, "positive_rate_end": 0.5}, "--positive-rate 0.8"),
        ({"positives_only": False, "hard_negatives": True}, "--positive-rate 0.8"),
        ({"schedule": "cosine", "epochs": 3, "warmup_epochs": 3.0}, "ends before training"),
        ({"warmup_epochs": 1.0}, "--schedule cosine"),
    ],
    ids=str,
)
def test_fields_that_need_each_other_are_refused_apart(changes, words):
    with pytest.raises(UserError, match=words):
        replace(Recipe(), **changes)


def test_a_recipe_from_before_the_strong_one_reads_as_trained_without_it():
    old = {name: value for name, value in asdict(Recipe()).items() if name not in LATER}
    assert from_json(json.dumps(old)) == Recipe()


LATER = (
    *(
        "architecture",
        "flip_tta",
        "focal_gamma",
        "positive_rate",
        "positive_rate_end",
        "hard_negatives",
        "gamma",
    ),
    *(
        "elastic",
        "tone_share",
        "geometry_share",
        "classification_head",
        "init_from",
        "boundary_schedule",
        "boundary_rise",
    ),
    *("accumulate", "clip_norm", "schedule", "warmup_epochs", "ema", "average_best", "monitor"),
)
