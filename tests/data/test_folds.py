"""No patient on both sides, positives everywhere, the same split every time."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumothorax.data.folds import assign_folds, divide, paper_split
from pneumothorax.errors import UserError
from pneumothorax.recipe import Recipe


def make_table(patients: list[str], areas: list[int]) -> pd.DataFrame:
    ids = [f"image{number}" for number in range(len(patients))]
    return pd.DataFrame({"ImageId": ids, "patient": patients, "area": areas})


def random_table(images: int, patients: int, seed: int = 0) -> pd.DataFrame:
    """As the real ones: some patients with many images, 22 % positives."""
    rng = np.random.default_rng(seed)
    owners = np.minimum((rng.pareto(1.2, images) * patients / 10).astype(int), patients - 1)
    areas = np.where(rng.random(images) < 0.22, rng.integers(55, 160_000, images), 0)
    return make_table([f"p{owner}" for owner in owners], areas.tolist())


def positives_only_table(positive: int, negative: int = 0) -> pd.DataFrame:
    areas = [100] * positive + [0] * negative
    return make_table([""] * len(areas), areas)


rows = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d", "e", "f"]), st.integers(0, 3)), min_size=1)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(2, 4), st.integers(0, 5))
def test_no_patient_is_in_two_folds_and_every_row_is_in_one(drawn, folds, seed):
    table = make_table([patient for patient, _ in drawn], [area for _, area in drawn])
    groups = table["patient"].where(table["patient"] != "", table["ImageId"])
    if groups.nunique() < folds:
        with pytest.raises(UserError, match=f"patients?; expected at least {folds} for {folds} folds"):
            assign_folds(table, folds, seed)
        return
    assigned = assign_folds(table, folds, seed)
    assert assigned.shape == (len(table),)
    assert ((assigned >= 0) & (assigned < folds)).all()
    assert (pd.Series(assigned).groupby(groups).nunique() == 1).all()


def test_positives_and_their_areas_are_balanced():
    table = random_table(900, 400)
    assigned = assign_folds(table, 5, seed=0)
    by_fold = table.groupby(assigned)["area"]
    assert by_fold.size().between(170, 190).all()
    positives = by_fold.agg(lambda area: (area > 0).sum())
    assert positives.max() - positives.min() <= 4
    means = by_fold.agg(lambda area: area[area > 0].mean())
    assert means.max() < 1.25 * means.min()


def test_folds_follow_from_the_seed():
    table = random_table(200, 90)
    first = assign_folds(table, 5, seed=3)
    np.testing.assert_array_equal(first, assign_folds(table, 5, seed=3))
    assert (first != assign_folds(table, 5, seed=4)).any()


@pytest.mark.parametrize("unknown", ["", None, np.nan])
def test_images_of_unknown_patients_are_patients_of_their_own(unknown):
    table = make_table([unknown] * 40, [0, 5] * 20)
    assigned = assign_folds(table, 5, seed=0)
    np.testing.assert_array_equal(np.bincount(assigned), [8] * 5)


@pytest.mark.parametrize(
    ("positive", "negative", "folds"),
    [(3, 97, 5), (1, 9, 5), (3, 3, 5), (4, 0, 4), (0, 10, 5), (2, 4, 4)],
    ids=["few positives", "one positive", "few of both", "positives only", "negatives only", "tiny"],
)
def test_few_images_are_divided_without_a_warning(positive, negative, folds):
    assigned = assign_folds(positives_only_table(positive, negative), folds, seed=0)
    sizes = np.bincount(assigned, minlength=folds)
    assert sizes.sum() == positive + negative
    assert sizes.min() >= 1


def test_few_positives_are_still_spread():
    table = positives_only_table(3, 97)
    assigned = assign_folds(table, 5, seed=0)
    assert np.bincount(assigned[:3]).max() == 1


@pytest.mark.parametrize(
    ("patients", "found"), [([], "0 patients"), (["a"] * 9, "1 patient"), (["a", "b"] * 9, "2 patients")]
)
def test_too_few_patients_are_an_error(patients, found):
    with pytest.raises(UserError, match=f"^{found}; expected at least 3 for 3 folds"):
        assign_folds(make_table(patients, [1] * len(patients)), 3, seed=0)


def sizes_of(parts: np.ndarray) -> list[int]:
    return [int((parts == part).sum()) for part in ("train", "validation", "test")]


def test_paper_split_is_the_paper_s_exactly():
    table = positives_only_table(2379, 8296)
    parts = paper_split(table, seed=0)
    assert sizes_of(parts[:2379]) == [1802, 200, 377]
    assert sum(sizes_of(parts[2379:])) == 8296


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 40, 100, 2378, 2669])
def test_paper_split_keeps_its_proportions_on_other_counts(count):
    train, validation, test = sizes_of(paper_split(positives_only_table(count, 5), seed=1)[:count])
    assert train + validation + test == count
    assert abs(train - count * 1802 / 2379) <= 0.5
    assert abs(validation - count * 200 / 2379) <= 0.5
    assert abs(test - count * 377 / 2379) <= 1


def test_paper_split_follows_from_the_seed_and_shuffles():
    table = positives_only_table(100, 50)
    first = paper_split(table, seed=0)
    np.testing.assert_array_equal(first, paper_split(table, seed=0))
    assert (first != paper_split(table, seed=1)).any()
    assert set(first[:20]) != {"train"}


def test_divide_by_folds_holds_each_row_out_once():
    table, recipe = random_table(200, 90), Recipe(split="folds", positives_only=False, fold_count=4)
    splits = [divide(table, recipe, fold) for fold in range(4)]
    np.testing.assert_array_equal(np.sort(np.concatenate([split.validation for split in splits])), range(200))
    for split in splits:
        np.testing.assert_array_equal(np.union1d(split.train, split.validation), range(200))
        assert not set(table["patient"][split.train]) & set(table["patient"][split.validation])
        np.testing.assert_array_equal(split.validation, split.out_of_fold)
        assert len(split.test) == 0


def test_divide_by_folds_tunes_on_negatives_too_when_positives_alone_train():
    table = random_table(200, 90)
    split = divide(table, Recipe(split="folds", positives_only=True), 2)
    whole = divide(table, Recipe(split="folds", positives_only=False), 2)
    assert (table["area"][split.train] > 0).all()
    assert (table["area"][split.validation] > 0).all()
    np.testing.assert_array_equal(split.out_of_fold, whole.out_of_fold)
    assert (table["area"][split.out_of_fold] == 0).any()
    assert set(split.train) < set(whole.train)


@pytest.mark.parametrize("positives_only", [True, False])
def test_divide_as_the_paper_has_three_parts(positives_only):
    table = positives_only_table(100, 60)
    split = divide(table, Recipe(split="paper", positives_only=positives_only), 0)
    parts = paper_split(table, 0)
    wanted = np.arange(160) < 100 if positives_only else np.ones(160, bool)
    np.testing.assert_array_equal(split.train, np.flatnonzero((parts == "train") & wanted))
    np.testing.assert_array_equal(split.validation, np.flatnonzero((parts == "validation") & wanted))
    np.testing.assert_array_equal(split.out_of_fold, np.flatnonzero(parts == "validation"))
    np.testing.assert_array_equal(split.test, np.flatnonzero(parts == "test"))


@pytest.mark.parametrize(
    ("split", "fold", "message"),
    [
        ("folds", 5, "fold 5; expected 0 to 4 under the split 'folds'"),
        ("folds", -1, "fold -1; expected 0 to 4 under the split 'folds'"),
        ("paper", 1, "fold 1; expected 0 to 0 under the split 'paper'; use --split folds"),
    ],
)
def test_a_fold_that_is_not_is_an_error(split, fold, message):
    with pytest.raises(UserError) as caught:
        divide(random_table(50, 20), Recipe(split=split), fold)
    assert str(caught.value) == message


@pytest.mark.parametrize(("positive", "negative"), [(0, 50), (1, 50), (2, 0)])
def test_a_part_without_images_to_learn_from_is_an_error(positive, negative):
    with pytest.raises(
        UserError, match="positive studies to train on and 0 to validate in fold 0; expected at least one"
    ):
        divide(positives_only_table(positive, negative), Recipe(), 0)
