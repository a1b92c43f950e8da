"""What stands out among images, and which of them are alike."""

import numpy as np
import pandas as pd
import pytest

from pneumothorax.data.cache import shrink
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.data.rle import encode
from pneumothorax.data.studies import find_studies
from pneumothorax.explore.duplicates import compare_pairs, find_pairs
from pneumothorax.explore.outliers import find_odd, survey_images
from pneumothorax.explore.statistics import (
    count_folds,
    count_leak,
    count_patients,
    count_rows,
    count_shared,
    count_sides,
)


@pytest.fixture(scope="module")
def chests(competition):
    """Radiographs of the artificial competition at 128 pixels, shape (N, 128, 128)."""
    paths = find_studies(competition / "raw").table["path"]
    return np.stack([shrink(read_radiograph(path).pixels, 128, "area") for path in paths])


def odd_of(images):
    return {(one.row, one.reason) for one in find_odd(survey_images([images]))}


def test_usual_images_do_not_stand_out(chests):
    assert odd_of(chests) == set()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: np.rot90(image), "turned by a quarter to the left"),
        (lambda image: np.rot90(image, 2), "upside down"),
        (lambda image: np.rot90(image, 3), "turned by a quarter to the right"),
        (lambda image: 255 - image, "inverted grey levels"),
        (lambda image: image // 6, "dark"),
        (lambda image: 200 + image // 6, "bright"),
        (lambda image: np.full_like(image, 90), "nearly flat"),
    ],
)
def test_what_is_changed_stands_out_for_its_reason(chests, change, reason):
    images = chests.copy()
    images[3] = change(images[3])
    assert (3, reason) in odd_of(images)
    assert {row for row, _ in odd_of(images)} == {3}


def test_few_images_tell_nothing_usual(chests):
    images = chests[:5].copy()
    images[2] = np.rot90(images[2])
    assert odd_of(images) == set()


def make_studies(number, **columns):
    table = {"patient": [f"p{at}" for at in range(number)], "area": 0, "part": "train", "fold": 0}
    names = [f"i{at}" for at in range(number)]
    return pd.DataFrame({"ImageId": names, **table} | columns)


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


def test_rows_of_annotation_and_their_overlaps_are_counted():
    masks = np.zeros((3, 1024, 1024), np.uint8)
    masks[0, :10, :10] = masks[1, 5:20, 5:20] = masks[2, 500:, 500:] = 1
    one, overlapping, apart = map(encode, masks)
    areas = [0, 100, int((masks[0] | masks[1]).sum()), int(masks[0].sum() + masks[2].sum())]
    counts = count_rows([(), (one,), (one, overlapping), (one, apart)], np.array(areas))
    assert counts.images == {1: 1, 2: 2}
    assert counts.overlapping == 1


def test_sides_are_the_patients():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[0, :, :3] = masks[1, :, 6:] = masks[2] = 200
    assert count_sides(masks, np.arange(3)) == {"left": 1, "right": 1, "both": 1}


def test_patients_and_folds_are_counted():
    studies = make_studies(6, patient=["a", "a", "b", "", "", "c"], area=[0, 40, 0, 0, 20, 0])
    counts = count_patients(studies)
    assert counts["patients"] == 3
    assert counts["with and without a pneumothorax"] == 1
    folds = count_folds(studies, np.array([0, 0, 0, 1, 1, 1]))
    assert folds["images"].tolist() == [3, 3]
    assert folds["positive"].tolist() == [1, 1]
    assert folds["median_area"].tolist() == [40, 20]
    assert count_shared(studies, np.array([0, 1, 0, 1, 0, 1])) == 1
    assert count_shared(studies, np.array([0, 0, 1, 1, 0, 1])) == 0


def test_a_split_by_image_leaks_patients_with_many_images():
    studies = make_studies(400, patient=[f"p{at // 40}" for at in range(400)])
    leak = count_leak(studies, 0)
    assert leak.patients == 10
    assert leak.images == leak.held_out > 50
    assert count_leak(make_studies(400), 0)[:2] == (0, 0)
