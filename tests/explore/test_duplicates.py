"""Images that are alike, and what their tables say of them."""

import numpy as np
from tests.explore.tables import make_studies

from pneumothorax.explore.duplicates import compare_pairs, find_pairs
from pneumothorax.explore.outliers import survey_images


def test_copies_are_identical_and_a_saved_again_one_nearly(chests):
    noise = np.random.default_rng(0).integers(-3, 4, chests[1].shape)
    near = (chests[1] + noise).clip(0, 255).astype(np.uint8)
    images = np.concatenate([chests, chests[:1], near[None]])
    number = len(chests)
    pairs = find_pairs(survey_images([images[:number], images[number:]]))
    found = {(*map(int, rows), bool(same)) for rows, same in zip(pairs.rows, pairs.identical, strict=True)}
    assert (0, number, True) in found
    assert (1, number + 1, False) in found
    assert sum(same for *_, same in found) == 1
    assert pairs.left_out == 0


def test_pairs_say_what_they_share_and_what_matters_comes_first(chests):
    images = np.concatenate([chests[:3], chests[:3]])
    studies = make_studies(
        6,
        patient=["a", "b", "", "a", "c", ""],
        area=[5, 0, 0, 5, 9, 0],
        part=["train"] * 5 + ["test"],
        fold=[0, 1, 2, 0, 1, -1],
    )
    told = compare_pairs(find_pairs(survey_images([images])), studies)
    told = told[told["identical"]].set_index("one")
    assert told.loc[0, ["patient", "label", "place", "matters"]].tolist() == [
        "same",
        "same",
        "same fold",
        False,
    ]
    assert told.loc[1, ["patient", "label", "matters"]].tolist() == ["other", "differs", True]
    assert told.loc[2, ["patient", "label", "place"]].tolist() == ["unknown", "unknown", "train and test"]
    assert told.index[-1] == 0


def test_a_wrong_label_comes_before_a_leak_and_folds_before_the_test_set(chests):
    images = np.concatenate([chests[:4], chests[:4]])
    studies = make_studies(
        8,
        area=[0, 0, 0, 1, 0, 0, 0, 0],
        part=["train"] * 4 + ["test", "train", "train", "train"],
        fold=[0, 0, 0, 0, -1, 0, 1, 0],
    )
    told = compare_pairs(find_pairs(survey_images([images])), studies)
    assert told[told["identical"]]["one"].tolist() == [3, 2, 0, 1]
