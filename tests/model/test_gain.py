"""The gain: against a brute-force search of the same rules, and what it must be 0 for."""

import itertools

import keras
import numpy as np
import pytest

from pneumothorax.metric import dice
from pneumothorax.model.gain import CLASSIFICATION, MIN_AREAS, THRESHOLDS, Gain

SIZE = 32
GENERATOR = np.random.default_rng(0)


def make_maps(count, positives=0.5, skill=0.8):
    """Return masks, maps that find some of them, and image-level probabilities."""
    masks = np.zeros((count, SIZE, SIZE, 1), np.float32)
    maps = GENERATOR.beta(0.6, 6, masks.shape).astype(np.float32)
    for number in range(int(count * positives)):
        y, x = GENERATOR.integers(0, SIZE - 10, 2)
        masks[number, y : y + 9, x : x + 7] = 1
        if GENERATOR.random() < skill:
            maps[number, y + 1 : y + 10, x : x + 8] += np.float32(0.5)
    image_probability = GENERATOR.random((count, 1)).astype(np.float32) * 0.5
    image_probability[masks.any(axis=(1, 2))] += np.float32(0.3)
    return masks, np.clip(maps, 0, 1), image_probability


def measure(*arrays, **options):
    return measure_both(*arrays, **options)["gain"]


def measure_both(masks, maps, image_probability=None, batch=7, weights=None):
    gain = Gain(SIZE, headed=image_probability is not None)
    for at in range(0, len(masks), batch):
        part = slice(at, at + batch)
        gain.update_state(
            masks[part],
            maps[part],
            None if image_probability is None else image_probability[part],
            None if weights is None else weights[part],
        )
    return {name: float(value) for name, value in gain.result().items()}


def search(masks, maps, image_probability=None):
    """Try each rule on each image; return the gain of each image under the best."""
    all_empty = ~masks.any(axis=(1, 2, 3))
    best = np.zeros(len(masks))
    for top, bottom, area, least in itertools.product(
        THRESHOLDS, THRESHOLDS, MIN_AREAS, (0.0,) if image_probability is None else CLASSIFICATION
    ):
        if bottom > top:
            continue
        scores = []
        for number, (mask, found) in enumerate(zip(masks > 0.5, maps, strict=True)):
            enough = (found > np.float32(top)).sum() >= max(area * (SIZE / 1024) ** 2, 1)
            shows = image_probability is None or image_probability[number, 0] >= np.float32(least)
            seen = (found > np.float32(bottom)) & (enough and shows)
            scores.append(dice((seen & mask).sum(), mask.sum(), seen.sum()))
        best = max(best, np.array(scores) - all_empty, key=np.mean)
    return best


@pytest.mark.slow
@pytest.mark.parametrize("headed", [False, True])
def test_the_gain_is_that_of_a_search_of_all_rules(headed):
    masks, maps, image_probability = make_maps(12)
    image_probability = image_probability if headed else None
    each = search(masks, maps, image_probability)
    expected = {"gain": np.mean(each), "gain_error": np.std(each) / np.sqrt(len(each))}
    assert expected["gain"] > 0.05
    for batch in (7, 12):
        assert measure_both(masks, maps, image_probability, batch=batch) == pytest.approx(expected, abs=1e-5)


def test_images_of_weight_nothing_count_for_nothing_and_equal_weights_change_nothing():
    masks, maps, image_probability = make_maps(16)
    weights = np.where(np.arange(16) < 11, np.float32(16 / 11), np.float32(0))
    filled = np.where(weights[:, None, None, None] > 0, masks, np.float32(-1))
    expected = measure_both(masks[:11], maps[:11], image_probability[:11])
    assert expected["gain_error"] > 0
    assert measure_both(filled, maps, image_probability, weights=weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.01, 0.3, 1.0])
def test_a_network_that_says_the_same_of_every_image_gains_nothing(level):
    masks, _, image_probability = make_maps(20, positives=0.2)
    maps = np.full_like(masks, level)
    assert measure(masks, maps) == 0.0
    assert measure(masks, maps, np.full_like(image_probability, level)) == 0.0


def test_without_positives_nothing_is_gained_and_without_negatives_the_dice_itself():
    masks, maps, image_probability = make_maps(10, positives=1.0, skill=1.0)
    assert measure(np.zeros_like(masks), maps, image_probability) == 0.0
    assert measure(masks, masks) == pytest.approx(1.0)


def test_nothing_measured_is_no_gain():
    assert {float(value) for value in Gain(SIZE, headed=True).result().values()} == {0.0}


def test_it_starts_again():
    masks, maps, _ = make_maps(10)
    gain = Gain(SIZE, headed=False)
    gain.update_state(masks, maps)
    assert float(gain.result()["gain"]) > 0
    gain.reset_state()
    assert keras.ops.convert_to_numpy(gain.sums).sum() == 0
