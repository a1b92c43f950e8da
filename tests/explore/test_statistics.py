import numpy as np
from tests.explore.tables import make_studies

from pneumothorax.data.rle import encode
from pneumothorax.explore.statistics import (
    count_folds,
    count_leak,
    count_patients,
    count_rows,
    count_shared,
    count_sides,
)


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
