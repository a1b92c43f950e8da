import keras
import numpy as np
import pytest

from pneumothorax.model.losses import bce, find_loss, mean_soft_dice, soft_dice
from pneumothorax.recipe import Recipe

GENERATOR = np.random.default_rng(3)
MASK = (GENERATOR.random((4, 8, 8, 1)) < 0.3).astype(np.float32)
MASK[3] = 0
PROBABILITY = GENERATOR.uniform(0.01, 0.99, MASK.shape).astype(np.float32)


def numpy_bce(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=(1, 2, 3))


def numpy_dice(y: np.ndarray, p: np.ndarray, s: float) -> np.ndarray:
    axes = (1, 2, 3)
    return (2 * (y * p).sum(axis=axes) + s) / (y.sum(axis=axes) + p.sum(axis=axes) + s)


def test_bce_is_the_mean_over_pixels():
    np.testing.assert_allclose(bce(MASK, PROBABILITY), numpy_bce(MASK, PROBABILITY), rtol=1e-5)


@pytest.mark.parametrize("smooth", [0.1, 1.0])
def test_soft_dice_per_image_is_the_papers_formula(smooth):
    found = soft_dice(MASK, PROBABILITY, smooth=smooth)
    np.testing.assert_allclose(found, numpy_dice(MASK, PROBABILITY, smooth), rtol=1e-5)


def test_soft_dice_of_a_batch_takes_it_as_one_image():
    whole = numpy_dice(MASK.reshape(1, -1, 1, 1), PROBABILITY.reshape(1, -1, 1, 1), 0.1)
    found = soft_dice(MASK, PROBABILITY, reduction="batch")
    np.testing.assert_allclose(found, np.repeat(whole, 4), rtol=1e-5)


def test_soft_dice_of_two_empties_is_one():
    nothing = np.zeros((2, 8, 8, 1), np.float32)
    np.testing.assert_allclose(soft_dice(nothing, nothing), 1)


def test_soft_masks_count_by_their_value():
    np.testing.assert_allclose(
        soft_dice(MASK * 0.5, PROBABILITY), numpy_dice(MASK * 0.5, PROBABILITY, 0.1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", lambda b, d: b),
        ("dice", lambda b, d: 1 - d),
        ("log_dice", lambda b, d: -np.log(d)),
        ("bce + dice", lambda b, d: b + 1 - d),
        ("bce + log_dice", lambda b, d: b - np.log(d)),
    ],
)
def test_each_loss_agrees_with_numpy(name, expected):
    loss = find_loss(Recipe(loss=name, loss_reduction="image"))
    wanted = expected(numpy_bce(MASK, PROBABILITY), numpy_dice(MASK, PROBABILITY, 0.1))
    np.testing.assert_allclose(loss(MASK, PROBABILITY), wanted, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["batch", "image"])
@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_the_loss_is_finite_where_the_network_is_sure_and_wrong(sure, reduction):
    loss = find_loss(Recipe(loss_reduction=reduction))
    wrong = np.full_like(MASK, sure)
    assert np.isfinite(np.asarray(loss(1 - wrong, wrong))).all()
    assert np.isfinite(np.asarray(loss(np.zeros_like(MASK), wrong))).all()


def test_the_loss_reads_half_precision_as_float32():
    loss = find_loss(Recipe())
    half = keras.ops.cast(PROBABILITY, "bfloat16")
    found = loss(MASK, half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, loss(MASK, keras.ops.cast(half, "float32")))


def test_the_metric_divides_once_whatever_the_batches():
    metric = mean_soft_dice(Recipe())
    for rows in ([0], [1, 2, 3]):
        metric.update_state(MASK[rows], PROBABILITY[rows])
    np.testing.assert_allclose(float(metric.result()), numpy_dice(MASK, PROBABILITY, 0.1).mean(), rtol=1e-5)
