"""Recipes are found by name, in a recipe.json of a run or of one's own, and in JSON text."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe, from_json, to_json
from pneumothorax.recipes import RECIPES, describe, find_recipe, portable


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_bear_their_names_and_survive_json(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert from_json(to_json(recipe)) == recipe


def test_a_named_recipe_is_taken_with_changes():
    assert find_recipe("smoke", size=96) == replace(RECIPES["smoke"], size=96)
    assert RECIPES["smoke"].size == 64


@pytest.mark.parametrize(
    ("text", "remedy"), [("best", ""), ("strnog", "; did you mean strong?"), ("", ""), ("no/recipe.json", "")]
)
def test_an_unknown_recipe_names_the_known_ones(text, remedy):
    with pytest.raises(UserError) as caught:
        find_recipe(text)
    known = ", ".join(RECIPES)
    assert str(caught.value) == f"no recipe {text!r}; expected {known}, or the path of a recipe.json{remedy}"


# Recipes in files


def write(path, values):
    path.write_text(json.dumps(values))
    return str(path)


def make_run(folder, *recipes):
    for number, recipe in enumerate(recipes):
        fold = folder / f"fold{number}"
        fold.mkdir(parents=True)
        (fold / "recipe.json").write_text(to_json(recipe))
    return folder


def test_a_recipe_written_by_hand_has_the_defaults_where_it_says_nothing(tmp_path):
    path = write(
        tmp_path / "mine.json", {"size": 256, "decoder_filters": [64, 32, 16, 8, 8], "loss": "bce+dice"}
    )
    wanted = Recipe(name="mine", size=256, decoder_filters=(64, 32, 16, 8, 8), loss="bce + dice")
    assert find_recipe(path) == wanted
    assert find_recipe(path, size=96) == replace(wanted, size=96)
    assert find_recipe(write(tmp_path / "empty.json", {})) == Recipe(name="empty")


def test_the_name_is_the_file_s_own_or_else_its_stem(tmp_path):
    assert find_recipe(write(tmp_path / "a.json", {"name": "b c"})).name == "b c"
    assert find_recipe(write(tmp_path / "v1.2.json", {})).name == "v1.2"


def test_the_recipe_of_a_file_fold_or_run_is_the_run_s(tmp_path):
    recipe = replace(RECIPES["strong"], encoder="efficientnetlite0")
    run = make_run(tmp_path / "run", recipe, recipe)
    make_run(run / "fold1.bak", RECIPES["smoke"])
    for path in (run, run / "fold1", run / "fold0" / "recipe.json"):
        assert find_recipe(str(path)) == recipe


def test_a_run_of_two_recipes_has_none(tmp_path):
    run = make_run(tmp_path / "run", RECIPES["lite"], replace(RECIPES["lite"], epochs=9))
    with pytest.raises(
        UserError, match=r"fold0/recipe.json and .*fold1/recipe.json differ \(epochs 8 -> 9\)"
    ):
        find_recipe(str(run))


def test_a_file_that_has_the_name_of_a_recipe_is_reached_by_its_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "strong", {"size": 96})
    assert find_recipe("strong") == RECIPES["strong"]
    assert find_recipe("./strong") == Recipe(name="strong", size=96)


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"size": 96}')
    assert find_recipe(str(tmp_path / "a.json")).size == 96


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "text that is not JSON"),
        ("[]", "JSON of type list; expected an object"),
        ('{"sise": 128}', "unknown field 'sise'; expected fields of a recipe; did you mean size?"),
        ('{"size": "128"}', "size '128' in the recipe; expected a whole number"),
        ('{"size": 100}', "size 100 in the recipe; expected a side in pixels divisible by 32"),
        ('{"zoom": 1}', "zoom 1 in the recipe; expected a number, 0 or more and below 1"),
        ('{"clip_norm": NaN}', "clip_norm nan in the recipe; expected a number, 0 or more"),
        ('{"schedule": "linear"}', "schedule 'linear' in the recipe; expected one of plateau, cosine"),
        ('{"loss": "tversky"}', "loss 'tversky' in the recipe; expected a sum of bce"),
        ('{"legs": "sise=512"}', "leg 2: sise in a leg"),
        ('{"warmup_epochs": 1}', "warmup_epochs 1 under the schedule 'plateau'"),
        ('{"name": 7}', "name 7 in the recipe; expected text"),
        *[
            (json.dumps({"name": name}), f"name {name!r}; expected the name of a run, without a path")
            for name in ("", ".", "..", "a/b", "/a", "a\\b", "a\nb", "\0", "\ud800")
        ],
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        find_recipe(str(path))
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_whose_stem_names_no_run_needs_a_name(tmp_path):
    with pytest.raises(UserError, match=r"name 'a\\\\b'; expected the name of a run"):
        find_recipe(write(tmp_path / "a\\b.json", {}))


def test_what_is_no_recipe_file_is_one_line(tmp_path):
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in {
        "picture.json": "is not text in UTF-8",
        "pipe": "is neither a file nor a folder",
        "": "no recipe.json in",
        "x" * 300: "cannot be read (File name too long)",
        "picture.json/recipe.json": "no recipe ",
        "loop": "no recipe ",
    }.items():
        with pytest.raises(UserError) as caught:
            find_recipe(f"{tmp_path}/{name}")
        assert message in str(caught.value)


def test_a_file_that_may_not_be_read_is_one_line(monkeypatch, tmp_path):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    path = write(tmp_path / "mine.json", {})
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        find_recipe(path)


# Recipes as text


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_as_text_is_the_same_on_another_machine(tmp_path, name):
    recipe = replace(RECIPES[name], name="mine", epochs=7)
    (tmp_path / "recipe.json").write_text(to_json(recipe))
    text = portable(str(tmp_path / "recipe.json"))
    (tmp_path / "recipe.json").unlink()
    assert find_recipe(text) == recipe
    assert portable(text) == text
    assert "\n" not in text
    assert portable(name) == name


def test_text_without_a_name_would_name_no_run():
    with pytest.raises(UserError, match="the recipe's JSON text: no field 'name'"):
        find_recipe('{"size": 96}')


def test_a_recipe_is_described_by_its_changes():
    assert describe(RECIPES["smoke"]) == "smoke"
    assert (
        describe(replace(RECIPES["smoke"], size=96, flip=False))
        == "smoke (size 64 to 96; flip True to False)"
    )
    assert describe(Recipe(name="mine", size=96)) == "mine"
