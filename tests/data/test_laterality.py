import numpy as np
import pytest

from pneumothorax.data.laterality import side_of


@pytest.mark.parametrize(
    ("columns", "side"),
    [((0, 3), "right"), ((5, 8), "left"), ((2, 6), "both"), ((4, 5), "left"), ((0, 0), "")],
)
def test_the_left_of_the_picture_is_the_patients_right(columns, side):
    mask = np.zeros((6, 8), np.uint8)
    mask[:, slice(*columns)] = 1
    assert side_of(mask) == side


def test_a_speck_on_the_other_side_does_not_count():
    mask = np.zeros((10, 11), bool)
    mask[:, :5] = True  # 50 pixels; the middle column belongs to neither half
    mask[:5, 6] = True
    assert side_of(mask) == "right"
    mask[:, 6] = True
    assert side_of(mask) == "both"
