import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pneumothorax.loss_text import TERMS
from pneumothorax.model.losses import bce, boundary_weight, find_loss, find_losses, focal, lovasz, soft_dice
from pneumothorax.model.metrics import find_metrics
from pneumothorax.recipe import Recipe
from pneumothorax.training.distances import signed_distances

MASK_TERMS = [term for term in TERMS if term not in ("boundary", "classification")]
GENERATOR = np.random.default_rng(3)
MASK = (GENERATOR.random((4, 8, 8, 1)) < 0.3).astype(np.float32)
MASK[3] = 0
PROBABILITY = GENERATOR.uniform(0.01, 0.99, MASK.shape).astype(np.float32)


def numpy_bce(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=(1, 2, 3))


def numpy_dice(y: np.ndarray, p: np.ndarray, s: float) -> np.ndarray:
    axes = (1, 2, 3)
    return (2 * (y * p).sum(axis=axes) + s) / (y.sum(axis=axes) + p.sum(axis=axes) + s)


def numpy_focal(y: np.ndarray, p: np.ndarray, gamma: float) -> np.ndarray:
    """Weigh each pixel's cross-entropy by how wrong it is, by the two cases that a hard mask has."""
    right = np.where(y == 1, p, 1 - p)
    return ((1 - right) ** gamma * -np.log(right)).mean(axis=(1, 2, 3))


def jaccard_loss(lesion: set[int], wrong: set[int]) -> float:
    """1 - |G and P| / |G or P|, where P differs from G in the wrong pixels: their share of the union."""
    return len(wrong) / len(lesion | wrong) if wrong else 0.0


def lovasz_hinge(logits: np.ndarray, lesion: np.ndarray) -> float:
    """Lovasz extension by its definition: sum of sorted errors, each times what its pixel adds to the set."""
    errors = np.maximum(0, 1 - np.where(lesion, logits, -logits)).ravel()
    lesion_pixels = set(np.flatnonzero(lesion.ravel()).tolist())
    total, wrong = 0.0, set()
    for pixel in np.argsort(-errors).tolist():
        before = jaccard_loss(lesion_pixels, wrong)
        wrong = wrong | {pixel}
        total += errors[pixel] * (jaccard_loss(lesion_pixels, wrong) - before)
    return total


def numpy_lovasz(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    logits = np.log(p) - np.log(1 - p)
    pairs = zip(logits, y > 0.5, strict=True)
    return np.array([(lovasz_hinge(z, g) + lovasz_hinge(-z, ~g)) / 2 for z, g in pairs])


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
        ("0.5 * bce + 4 * dice", lambda b, d: b / 2 + 4 * (1 - d)),
        (
            "3*bce + 1*dice + 4*focal",
            lambda b, d: 3 * b + 1 - d + 4 * numpy_focal(MASK, PROBABILITY.astype(float), 2),
        ),
        ("2 * lovasz + bce", lambda b, d: b + 2 * numpy_lovasz(MASK, PROBABILITY.astype(float))),
    ],
)
def test_each_loss_agrees_with_numpy(name, expected):
    loss = find_loss(Recipe(loss=name, loss_reduction="image"))
    wanted = expected(numpy_bce(MASK, PROBABILITY), numpy_dice(MASK, PROBABILITY, 0.1))
    np.testing.assert_allclose(loss(MASK, PROBABILITY), wanted, rtol=1e-5)


def test_a_sum_without_weights_keeps_its_bits():
    terms = (bce(MASK, PROBABILITY), -keras.ops.log(soft_dice(MASK, PROBABILITY, reduction="batch")))
    found = find_loss(Recipe(loss="bce + log_dice"))(MASK, PROBABILITY)
    np.testing.assert_array_equal(found, terms[0] + terms[1])


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_weighs_pixels_by_how_wrong_they_are(gamma):
    wanted = numpy_focal(MASK, PROBABILITY.astype(float), gamma)
    np.testing.assert_allclose(focal(MASK, PROBABILITY, gamma=gamma), wanted, rtol=1e-5)
    loss = find_loss(Recipe(loss="focal", focal_gamma=gamma))
    np.testing.assert_allclose(loss(MASK, PROBABILITY), wanted, rtol=1e-5)


def test_focal_without_gamma_is_bce_for_soft_masks_too():
    for mask in (MASK, MASK * 0.3):
        np.testing.assert_allclose(
            focal(mask, PROBABILITY, gamma=0.0), numpy_bce(mask, PROBABILITY), rtol=1e-5
        )


@pytest.mark.slow
@given(
    hnp.arrays(bool, (2, 3, 4, 1)),
    hnp.arrays(np.float32, (2, 3, 4, 1), elements=st.floats(1 / 64, 63 / 64, width=32)),
)
@settings(deadline=None, max_examples=50)
def test_lovasz_is_the_sum_over_sorted_errors_whatever_the_ties(lesion, probability):
    wanted = numpy_lovasz(lesion, probability.astype(float))
    np.testing.assert_allclose(lovasz(lesion.astype(np.float32), probability), wanted, rtol=1e-4, atol=1e-5)


def test_lovasz_of_hard_predictions_is_the_jaccard_loss():
    """Where every error is 0 or 2 the extension is twice the set function, of lesion and of ground."""
    sure = 1 / (1 + np.exp(-1.0))  # logits of 1 and -1
    predicted = GENERATOR.random(MASK.shape) < 0.3
    wanted = []
    for lesion, guess in zip(MASK > 0, predicted, strict=True):
        unions = [(lesion | guess).sum(), (~lesion | ~guess).sum()]
        wanted.append(sum((lesion ^ guess).sum() / union for union in unions))
    found = lovasz(MASK, np.where(predicted, sure, 1 - sure).astype(np.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_lovasz_is_nothing_where_all_pixels_are_right_with_a_margin():
    np.testing.assert_array_equal(lovasz(MASK, MASK * 0.8 + 0.1), 0)


def test_lovasz_is_the_same_of_lesion_and_ground():
    np.testing.assert_allclose(lovasz(MASK, PROBABILITY), lovasz(1 - MASK, 1 - PROBABILITY), rtol=1e-5)


def test_lovasz_cuts_a_soft_mask_at_one_half():
    soft = np.where(MASK > 0, 0.6, 0.4).astype(np.float32)
    np.testing.assert_array_equal(lovasz(soft, PROBABILITY), lovasz(MASK, PROBABILITY))


def test_lovasz_keeps_its_digits_on_large_images():
    """Where 2**18 pixels are wrong alike the extension is the error times the whole Jaccard loss, 1."""
    mask = np.zeros((1, 512, 512, 1), np.float32)
    mask[0, :8, :8] = 1
    found = lovasz(mask, np.abs(mask - 0.75).astype(np.float32))
    np.testing.assert_allclose(found, 1 + np.log(3), rtol=1e-5)


EXTREMES = {
    "no lesion": np.zeros_like(MASK),
    "lesion alone": np.ones_like(MASK),
    "some": MASK,
    "soft": MASK * 0.5,
}


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["batch", "image"])
@pytest.mark.parametrize("mask", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("sure", [0.0, 1.0, 1e-30, 1 - 2.0**-24, 0.5])
@pytest.mark.parametrize("term", MASK_TERMS)
def test_each_term_and_its_gradient_are_finite_where_the_network_is_sure(term, sure, mask, reduction):
    loss = find_loss(Recipe(loss=term, loss_reduction=reduction))
    probability = tf.constant(np.full_like(MASK, sure))
    with tf.GradientTape() as tape:
        tape.watch(probability)
        values = loss(mask, probability)
    assert values.shape == (len(MASK),)
    assert np.isfinite(values).all()
    assert np.isfinite(tape.gradient(values, probability)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_focal_has_finite_gradients_for_small_gamma(gamma, sure):
    probability = tf.constant(np.full_like(MASK, sure))
    with tf.GradientTape() as tape:
        tape.watch(probability)
        values = focal(MASK, probability, gamma=gamma)
    assert np.isfinite(values).all()
    assert np.isfinite(tape.gradient(values, probability)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("term", MASK_TERMS)
def test_gradients_reach_half_precision_logits_finite_under_a_loss_scale(term, dtype):
    """What mixed precision does: logits of 16 bits, a float32 sigmoid, a loss multiplied by 2**15."""
    loss = find_loss(Recipe(loss=term))
    logits = tf.constant(GENERATOR.normal(0, 30, MASK.shape), dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        scaled = tf.reduce_mean(loss(MASK, tf.sigmoid(tf.cast(logits, "float32")))) * 2.0**15
    gradient = tape.gradient(scaled, logits)
    assert np.isfinite(tf.cast(gradient, "float32")).all()


@pytest.mark.parametrize("term", ["focal", "lovasz"])
def test_a_pixel_that_is_surely_wrong_keeps_its_gradient(term):
    loss = find_loss(Recipe(loss=term))
    logits = tf.fill(MASK.shape, -30.0)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        values = loss(np.ones_like(MASK), tf.sigmoid(logits))
    assert (tape.gradient(values, logits).numpy() < 0).all()


@pytest.mark.parametrize("term", ["focal", "lovasz"])
def test_gradients_are_those_of_differences(term):
    loss = find_loss(Recipe(loss=term))
    logits = GENERATOR.normal(0, 1, MASK.shape).astype(np.float32)
    direction = GENERATOR.normal(0, 1, MASK.shape).astype(np.float32)

    def value(at):
        return tf.reduce_sum(loss(MASK, tf.sigmoid(at)))

    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = value(variable)
    slope = float(tf.reduce_sum(tape.gradient(total, variable) * direction))
    step = 1e-3
    found = float(value(logits + step * direction) - value(logits - step * direction)) / (2 * step)
    assert found == pytest.approx(slope, rel=0.02, abs=0.01)


@pytest.mark.slow
def test_the_loss_runs_in_a_graph_of_unknown_batch():
    loss = find_loss(Recipe(loss=" + ".join(MASK_TERMS)))
    shape = tf.TensorSpec((None, *MASK.shape[1:]), tf.float32)
    graph = tf.function(loss, input_signature=[shape, shape])
    np.testing.assert_allclose(graph(MASK, PROBABILITY), loss(MASK, PROBABILITY), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["bce + log_dice", *MASK_TERMS])
def test_the_loss_reads_half_precision_as_float32(name, dtype):
    loss = find_loss(Recipe(loss=name))
    half = keras.ops.cast(PROBABILITY, dtype)
    found = loss(MASK, half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, loss(MASK, keras.ops.cast(half, "float32")))


def test_the_metric_divides_once_whatever_the_batches():
    metric = find_metrics(Recipe())[0]
    for rows in ([0], [1, 2, 3]):
        metric.update_state(MASK[rows], PROBABILITY[rows])
    np.testing.assert_allclose(float(metric.result()), numpy_dice(MASK, PROBABILITY, 0.1).mean(), rtol=1e-5)


def with_distances(mask: np.ndarray, weight: float) -> np.ndarray:
    return np.concatenate([mask, weight * signed_distances(mask)], axis=-1)


def test_boundary_is_the_mean_of_distance_times_probability_beside_the_other_terms():
    loss = find_loss(Recipe(loss="bce + 0.3 * boundary", loss_reduction="image"))
    wanted = numpy_bce(MASK, PROBABILITY) + 0.3 * (signed_distances(MASK) * PROBABILITY).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(loss(with_distances(MASK, 0.3), PROBABILITY), wanted, rtol=1e-5)


def test_boundary_is_lowest_for_the_true_mask_and_may_be_negative():
    mask = np.zeros((1, 32, 32, 1), np.float32)
    mask[0, 8:20, 10:30] = 1
    distances = signed_distances(mask)
    best = (distances * mask).mean()
    assert best < 0
    for shift in (-3, 3):
        assert (distances * np.roll(mask, shift, axis=1)).mean() > best


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mask", EXTREMES.values(), ids=EXTREMES)
def test_boundary_and_its_gradient_are_finite_in_half_precision(mask, dtype):
    loss = find_loss(Recipe(loss="bce + boundary"))
    logits = tf.constant(GENERATOR.normal(0, 30, MASK.shape), dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        probability = tf.sigmoid(tf.cast(logits, "float32"))
        scaled = tf.reduce_mean(loss(with_distances(mask, 1.0), probability)) * 2.0**15
    assert np.isfinite(tf.cast(tape.gradient(scaled, logits), "float32")).all()


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [(0.1, 1.0), (0.1, 1.0), (0.1, 1.0)]),
        ("rising", [(0.1, 1.0), (0.15, 1.0), (5.1, 1.0)]),
        ("rebalanced", [(0.1, 0.9), (0.15, 0.85), (0.99, 0.01)]),
    ],
)
def test_the_weight_of_boundary_follows_its_schedule(schedule, wanted):
    recipe = Recipe(loss="bce + 0.1 * boundary", boundary_schedule=schedule, boundary_rise=0.05)
    found = [boundary_weight(recipe, epoch) for epoch in (0, 1, 100)]
    np.testing.assert_allclose(found, wanted)


def test_the_empty_head_has_a_weighted_cross_entropy_of_its_own():
    recipe = Recipe(loss="bce + 0.25 * classification", classification_head=True)
    label, image_probability = np.array([[1], [0]], np.float32), np.array([[0.8], [0.3]], np.float32)
    losses = find_losses(recipe)
    np.testing.assert_allclose(
        losses["classification"](label, image_probability), -0.25 * np.log([0.8, 0.7]), rtol=1e-5
    )
    np.testing.assert_allclose(
        losses["probability"](MASK, PROBABILITY), numpy_bce(MASK, PROBABILITY), rtol=1e-5
    )
