"""Images that stand out."""

import numpy as np
import pytest

from pneumothorax.explore.outliers import find_odd, survey_images


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
