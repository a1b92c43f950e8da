import numpy as np
import pytest
from tests.inference.maps import SHAPE, predictions_of

from pneumothorax.inference.classification import Screening, describe, image_scores, screen


def test_an_image_is_scored_by_its_probability_else_by_its_highest_pixel():
    maps = np.zeros((2, 32, 32), np.uint8)
    maps[0, 3, 4], maps[1, 5, 6] = 51, 255
    predictions = predictions_of(list(maps), [np.zeros(SHAPE, bool)] * 2)
    assert image_scores(predictions).tolist() == [0.2, 1.0]
    predictions.studies["image_probability"] = [0.9, 0.1]
    assert image_scores(predictions).tolist() == [0.9, 0.1]


def test_screening_counts_pairs_and_marked_images():
    positive = np.array([True, True, False, False, False])
    scores = np.array([0.9, 0.4, 0.5, 0.4, 0.1])  # of six pairs: four in order, one equal
    found = np.array([True, False, True, False, False])
    screening = screen(positive, scores, found)
    assert screening.auc == pytest.approx(4.5 / 6)
    assert (screening.sensitivity, screening.specificity) == (0.5, pytest.approx(2 / 3))


@pytest.mark.parametrize("kind", [True, False])
def test_images_of_one_kind_have_half_the_figures(kind):
    found = np.array([True, False])
    screening = screen(np.array([kind] * 2), np.array([0.2, 0.8]), found)
    assert screening == Screening(None, 0.5 if kind else None, None if kind else 0.5)
    assert describe(screening).count("0.5000") == 1
