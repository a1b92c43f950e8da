"""Which networks look at an image, from the run folders alone."""

import os
from dataclasses import replace

import pytest
from tests.inference.echo import PLAIN, headed, make_ensemble

from pneumothorax.errors import UserError
from pneumothorax.inference import plan as planning
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES


def make_run(root, name, recipe=PLAIN, folds=2):
    for number in range(folds):
        fold = root / "runs" / name / f"fold{number}"
        fold.mkdir(parents=True)
        (fold / "best.weights.h5").write_bytes(b"weights")
        (fold / "recipe.json").write_text(to_json(recipe))
    return root / "runs" / name


def test_a_run_looks_with_all_its_folds(tmp_path):
    plan = planning.make_plan(make_run(tmp_path, "one"))
    assert [fold.path.name for fold in plan.folds] == ["fold0", "fold1"]
    assert planning.looks_of(plan) == [(32, "area")]
    assert planning.size_of(plan) == 32


def test_an_ensemble_of_an_ensemble_looks_once_in_each_way_at_the_largest_size(tmp_path):
    make_run(tmp_path, "small")
    make_run(tmp_path, "large", replace(PLAIN, size=64))
    make_run(tmp_path, "sharp", replace(PLAIN, interpolation="bicubic"))
    make_ensemble(tmp_path, {"small": 1, "large": 3}, "inner")
    plan = planning.make_plan(make_ensemble(tmp_path, {"inner": 1, "sharp": 0.5, "small": 2}))
    assert planning.looks_of(plan) == [(32, "area"), (32, "bicubic"), (64, "area")]
    assert planning.size_of(plan) == 64
    assert [one.run.name for one in planning.trained_of(plan)] == ["small", "large", "sharp", "small"]


def test_runs_without_an_empty_head_are_named(tmp_path):
    make_run(tmp_path, "tells", headed(PLAIN))
    make_run(tmp_path, "silent")
    plan = planning.make_plan(make_ensemble(tmp_path, {"tells": 1, "silent": 1}))
    assert planning.silent_runs(plan) == ["silent"]
    assert planning.silent_runs(planning.make_plan(tmp_path / "runs/tells")) == []


def test_a_digest_follows_weights_recipes_and_shares(tmp_path):
    run = make_run(tmp_path, "one")
    make_run(tmp_path, "two")
    both = make_ensemble(tmp_path, {"one": 1, "two": 1})

    def digests():
        return tuple(planning.digest_plan(planning.make_plan(path)) for path in (run, both))

    first = digests()
    assert digests() == first
    os.utime(run / "fold1/best.weights.h5", ns=(1, 1))  # as a copy has it
    assert digests() == first
    (run / "fold1/best.weights.h5").write_bytes(b"other weights")
    second = digests()
    assert not set(first) & set(second)
    for number in (0, 1):
        (run / f"fold{number}/recipe.json").write_text(to_json(replace(PLAIN, flip_tta=True)))
    third = digests()
    assert not set(second) & set(third)
    (both / "ensemble.json").write_text(
        (both / "ensemble.json").read_text().replace('"weight": 1', '"weight": 2')
    )
    assert digests()[0] == third[0]
    assert digests()[1] != third[1]


def test_a_circle_of_ensembles_is_one_line(tmp_path):
    make_ensemble(tmp_path, {"there": 1, "one": 1}, "here")
    make_ensemble(tmp_path, {"here": 1, "one": 1}, "there")
    make_run(tmp_path, "one")
    with pytest.raises(UserError, match="member of itself"):
        planning.make_plan(tmp_path / "runs/here")


@pytest.mark.parametrize(
    "weights", [{}, {"one": 0}, {"one": -1}, {"one": float("nan")}, {"one": float("inf")}, {"one": "1"}]
)
def test_members_that_count_nothing_are_one_line(tmp_path, weights):
    make_run(tmp_path, "one")
    with pytest.raises(UserError, match="weights above 0"):
        planning.make_plan(make_ensemble(tmp_path, weights))


def test_a_missing_member_and_mixed_recipes_are_one_line(tmp_path):
    run = make_run(tmp_path, "one")
    with pytest.raises(UserError, match=r"no run .*gone"):
        planning.make_plan(make_ensemble(tmp_path, {"one": 1, "gone": 1}))
    (run / "fold1/recipe.json").write_text(to_json(RECIPES["smoke"]))
    with pytest.raises(UserError, match="another recipe"):
        planning.make_plan(run)
