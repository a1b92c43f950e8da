import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pneumothorax import metric
from pneumothorax.metric import dice, soft_sums, total_dice

PAIRS = hnp.arrays(bool, st.tuples(st.just(2), *[st.integers(1, 6)] * 3))


def count_pixels(truth, prediction):
    """Count, pixel by pixel, the overlap and both areas of each image."""
    rows = []
    for true, predicted in zip(truth, prediction, strict=True):
        overlap = area = predicted_area = 0
        for y, x in np.ndindex(true.shape):
            overlap += bool(true[y, x] and predicted[y, x])
            area += bool(true[y, x])
            predicted_area += bool(predicted[y, x])
        rows.append((overlap, area, predicted_area))
    return np.array(rows).T


def soft_dice(masks, probabilities, smooth=0.1):
    """Return the soft Dice of each image, and of all together."""
    sums = np.array([soft_sums(*pair) for pair in zip(masks, probabilities, strict=True)])
    each = metric.soft_dice(sums[:, 0], sums[:, 1], smooth)
    return each, float(metric.soft_dice(*sums.sum(0), smooth))


def naive_dice(true, predicted):
    total = int(true.sum()) + int(predicted.sum())
    return 1.0 if total == 0 else 2 * int((true & predicted).sum()) / total


@pytest.mark.parametrize(
    ("overlap", "truth", "prediction", "expected"),
    [
        pytest.param(0, 0, 0, 1.0, id="both empty"),
        pytest.param(0, 7, 0, 0.0, id="empty prediction"),
        pytest.param(0, 0, 7, 0.0, id="empty truth"),
        pytest.param(0, 5, 7, 0.0, id="apart"),
        pytest.param(5, 5, 5, 1.0, id="equal"),
        pytest.param(5, 10, 10, 0.5, id="half overlap"),
        pytest.param(1, 1, 3, 0.5, id="one pixel of three"),
        pytest.param(1 << 20, 1 << 20, 1 << 20, 1.0, id="full"),
    ],
)
def test_dice_follows_the_competition(overlap, truth, prediction, expected):
    assert dice(np.int64(overlap), np.int64(truth), np.int64(prediction)) == expected


@given(PAIRS)
@settings(deadline=None)
def test_dice_equals_a_count_pixel_by_pixel(pair):
    truth, prediction = pair
    counts = count_pixels(truth, prediction)
    expected = [naive_dice(*masks) for masks in zip(truth, prediction, strict=True)]
    np.testing.assert_array_equal(dice(*counts), expected)
    assert total_dice(*counts) == naive_dice(truth, prediction)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_dice_does_not_overflow_in_small_types(dtype):
    counts = np.array([200], dtype)
    assert dice(counts, counts, counts) == 1.0


def test_dice_broadcasts():
    assert dice(np.zeros((2, 1, 3)), np.zeros((1, 4, 1)), np.ones((2, 1, 3))).shape == (2, 4, 3)


def test_total_divides_sums_once_and_is_no_mean():
    overlap, truth, prediction = np.array([100, 0]), np.array([100, 1]), np.array([100, 1])
    assert total_dice(overlap, truth, prediction) == 200 / 202
    assert dice(overlap, truth, prediction).mean() == 0.5


def test_soft_dice_is_the_papers_formula():
    masks = np.zeros((2, 4, 4), np.float32)
    masks[0, 0, :2] = 1
    probabilities = np.full((2, 4, 4), 0.25, np.float32)
    each, total = soft_dice(masks, probabilities)
    np.testing.assert_allclose(each, [(2 * 0.5 + 0.1) / (2 + 4 + 0.1), 0.1 / 4.1], rtol=1e-12)
    assert total == pytest.approx((2 * 0.5 + 0.1) / (2 + 8 + 0.1), rel=1e-12)


@pytest.mark.parametrize("smooth", [0.1, 1.0, 0.0])
def test_soft_dice_of_two_empties_is_one(smooth):
    empty = np.zeros((3, 2, 2), np.float32)
    each, total = soft_dice(empty, empty, smooth)
    assert each.tolist() == [1.0, 1.0, 1.0]
    assert total == 1.0


def test_soft_dice_without_smoothing_is_zero_where_one_is_empty():
    empty, full = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    for masks, probabilities in ((empty, full), (full, empty)):
        assert soft_dice(masks, probabilities, smooth=0.0) == ([0.0], 0.0)


@given(PAIRS)
@settings(deadline=None)
def test_soft_dice_of_hard_masks_without_smoothing_is_dice(pair):
    truth, prediction = pair
    each, total = soft_dice(truth.astype(float), prediction.astype(float), smooth=0.0)
    counts = count_pixels(truth, prediction)
    np.testing.assert_allclose(each, dice(*counts), rtol=1e-12)
    assert total == pytest.approx(total_dice(*counts), rel=1e-12)


def test_soft_dice_sums_in_double_precision():
    masks = np.ones((1, 4100, 4100), np.float32)  # more pixels than float32 counts one by one
    each, total = soft_dice(masks, masks)
    assert each[0] == total == 1.0
