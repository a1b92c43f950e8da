import json

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference import decision as deciding
from pneumothorax.inference.decision import (
    MIN_AREAS,
    THRESHOLDS,
    Decision,
    count,
    decide,
    encode_all,
    read_decision,
    scores,
    tune,
    upsample,
    write_decision,
)
from pneumothorax.inference.predictions import Predictions

SHAPE = (1024, 1024)


def smooth_map(generator, size, *, level=300):
    """Draw a smooth probability map with some plateaus at 0 and 255."""
    noise = cv2.GaussianBlur(generator.normal(size=(size, size)), (0, 0), size / 12)
    noise = noise / np.abs(noise).max()
    return np.clip(np.rint(noise * level), 0, 255).astype(np.uint8)


def make_mask(generator, probability):
    """Draw a truth that has something to do with a probability."""
    moved = np.roll(upsample(probability), generator.integers(-60, 60, 2), (0, 1))
    return moved > generator.uniform(20, 240)


def make_predictions(seed, size=64, number=4):
    generator = np.random.default_rng([seed, size])
    maps = [smooth_map(generator, size) for _ in range(number)]
    masks = [make_mask(generator, part) if at % 2 else np.zeros(SHAPE, bool) for at, part in enumerate(maps)]
    return predictions_of(maps, masks, seed)


def predictions_of(maps, masks, seed=0):
    studies = pd.DataFrame(
        {
            "ImageId": [f"{seed}-{row}" for row in range(len(maps))],
            "EncodedPixels": [rle.encode(mask) for mask in masks],
            "area": [int(mask.sum()) for mask in masks],
            "height": [mask.shape[0] for mask in masks],
            "width": [mask.shape[1] for mask in masks],
        }
    )
    return Predictions(None, np.stack(maps), studies)


def brute_force(predictions, threshold, min_area):
    """Return every image's Dice under one rule, from its masks."""
    decision = Decision(float(threshold), int(min_area))
    each = []
    for probability, code in zip(
        predictions.probabilities, predictions.studies["EncodedPixels"], strict=True
    ):
        mask, truth = decide(probability, decision), rle.decode(code).astype(bool)
        total = int(mask.sum()) + int(truth.sum())
        each.append(2 * int((mask & truth).sum()) / total if total else 1.0)
    return np.array(each)


@pytest.fixture(scope="module")
def parts():
    return [make_predictions(1, 64), make_predictions(2, 64), make_predictions(3, 64, number=3)]


@pytest.mark.parametrize("size", [32, 64, 96, 128, 224, 512])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_a_probability_is_upsampled_before_it_is_cut(size, threshold):
    probability = smooth_map(np.random.default_rng(size), size, level=600)
    full = cv2.resize(probability.astype(np.float32) / 255, (1024, 1024), interpolation=cv2.INTER_LINEAR)
    mask = decide(probability, Decision(threshold))
    assert mask.dtype == bool
    assert mask.shape == SHAPE
    clear = np.abs(full - threshold) > 1e-6  # the same arithmetic in another order
    np.testing.assert_array_equal(mask[clear], full[clear] > threshold)
    cut_first = cv2.resize((probability > threshold * 255).astype(np.uint8), (1024, 1024)).astype(bool)
    assert (mask != cut_first).any()


def test_upsampling_keeps_the_order_of_height_and_width():
    probability = np.zeros((64, 64), np.uint8)
    probability[:32] = 255
    mask = decide(probability, Decision(), (200, 100))
    assert mask.shape == (200, 100)
    assert mask[:100].all()
    assert not mask[100:].any()


@pytest.mark.parametrize(("delta", "kept"), [(0, True), (1, False), (-1, True)])
def test_the_area_is_counted_at_full_size_and_kept_when_just_reached(delta, kept):
    probability = np.zeros((64, 64), np.uint8)
    probability[20:24, 30:36] = 255
    area = int(decide(probability, Decision()).sum())
    assert area > 24 * 200  # 24 pixels at 64x64 are some 6,000 at 1024x1024
    assert decide(probability, Decision(min_area=area + delta)).any() == kept


@pytest.mark.parametrize(("share", "kept"), [(0.9, True), (1.1, False)])
def test_the_least_area_is_scaled_to_an_image_of_another_size(share, kept):
    probability = np.zeros((64, 64), np.uint8)
    probability[20:30, 30:40] = 255
    least = round(share * decide(probability, Decision()).sum())
    for shape in ((1024, 1024), (512, 512), (2048, 1500)):
        assert decide(probability, Decision(min_area=least), shape).any() == kept


@pytest.mark.parametrize(
    ("value", "threshold", "full"),
    [
        (0, 0.0, False),
        (0, 0.5, False),
        (1, 0.0, True),
        (255, 0.0, True),
        (255, 0.5, True),
        (255, 0.999, True),
        (255, 1.0, False),
        (51, 0.2, False),  # exactly at the threshold is not above it
        (52, 0.2, True),
    ],
)
@pytest.mark.parametrize("size", [64, 96])
def test_a_level_map_is_all_or_nothing(size, value, threshold, full):
    probability = np.full((size, size), value, np.uint8)
    decision = Decision(threshold)
    assert decide(probability, decision).all() == full
    assert decide(probability, decision).any() == full
    counts = count(predictions_of([probability], [np.ones(SHAPE, bool)]), np.array([threshold]))
    assert counts.area[0, 0] == counts.overlap[0, 0] == full * 1024**2


@pytest.mark.parametrize(
    "values", [{"threshold": 1.5}, {"threshold": -0.1}, {"threshold": float("nan")}, {"min_area": -1}]
)
def test_a_rule_out_of_range_is_refused(values):
    with pytest.raises(UserError, match=next(iter(values))):
        Decision(**values)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([32, 64, 96, 224]))
def test_counts_and_scores_equal_brute_force_for_any_rule(seed, size):
    predictions = make_predictions(seed, size, number=2)
    thresholds, areas = THRESHOLDS[[0, 5, 9, 18]], MIN_AREAS[[0, 1, 8, 13]]
    table = scores(count(predictions, thresholds), areas)
    assert table.shape == (4, 4, 2)
    for place, least in enumerate(areas):
        for at, threshold in enumerate(thresholds):
            np.testing.assert_array_equal(table[place, at], brute_force(predictions, threshold, least))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_search_keeps_a_mask_that_just_reaches_the_least_area_as_decide_does(parts, delta):
    counts = count(parts[0], np.array([0.4]))
    area = counts.area[0, 0] + delta
    found = scores(counts, np.array([area]))[0, 0]
    np.testing.assert_array_equal(found, brute_force(parts[0], 0.4, area))


def test_counts_take_the_truth_at_its_own_size_to_full_size():
    probability = np.zeros((64, 64), np.uint8)
    probability[10:20, 20:40] = 255
    masks = [cv2.resize(probability, (width, height)) > 127 for height, width in ((512, 512), (1024, 1024))]
    counts = count(predictions_of([probability, probability], masks), np.array([0.5]))
    small, full = counts.truth
    assert abs(small - full) < 0.03 * full
    assert counts.overlap[0] > 0.95 * full


def test_tune_finds_the_best_rule_of_all_folds_together(parts):
    table = np.array(
        [
            [np.concatenate([brute_force(part, t, a) for part in parts]).mean() for t in THRESHOLDS[::3]]
            for a in MIN_AREAS[::3]
        ]
    )
    found = tune(parts)
    chosen = np.concatenate([brute_force(part, found.threshold, found.min_area) for part in parts])
    assert found.score == pytest.approx(chosen.mean(), rel=1e-12)
    assert found.score >= table.max() - 1e-12
    assert found.images == len(chosen) == 11
    assert found.all_empty == 6 / 11


def test_tune_weighs_images_and_not_folds(parts):
    whole = Predictions(
        None,
        np.concatenate([part.probabilities for part in parts]),
        pd.concat([part.studies for part in parts], ignore_index=True),
    )
    assert tune(parts) == tune([whole])


@pytest.mark.parametrize("value", [0, 255])
def test_tune_prefers_the_smaller_area_then_the_threshold_nearer_to_a_half(value):
    maps = [np.full((32, 32), value, np.uint8)] * 2
    masks = [np.full(SHAPE, bool(value))] * 2
    found = tune([predictions_of(maps, masks)])
    assert (found.min_area, found.threshold, found.score) == (0, 0.5, 1.0)


def test_tune_raises_the_area_only_where_it_pays():
    speck, lung = np.zeros((2, 64, 64), np.uint8)
    speck[5, 5] = 255
    lung[10:30, 10:30] = 255
    truth = [np.zeros(SHAPE, bool), decide(lung, Decision())]
    found = tune([predictions_of([speck, lung], truth)])
    assert found.score == 1.0
    area = int(decide(speck, Decision(found.threshold)).sum())
    assert found.min_area == min(least for least in MIN_AREAS if least > area)


def test_every_image_is_decided_and_encoded_in_order(parts):
    rows = list(encode_all(parts[0], Decision(0.3, 100)))
    assert [image_id for image_id, _ in rows] == parts[0].studies["ImageId"].tolist()
    for (_, code), probability in zip(rows, parts[0].probabilities, strict=True):
        np.testing.assert_array_equal(rle.decode(code), decide(probability, Decision(0.3, 100)))


def test_images_of_another_size_are_no_submission():
    predictions = predictions_of(
        [np.zeros((32, 32), np.uint8)] * 2, [np.ones(SHAPE, bool), np.ones((512, 256), bool)]
    )
    with pytest.raises(UserError, match="image 0-1 of 512x256 pixels; expected the competition's 1024x1024"):
        list(encode_all(predictions, Decision()))


@given(
    st.builds(
        Decision,
        st.floats(0, 1),
        st.integers(0, 2**20),
        st.none() | st.floats(0, 1),
        st.none() | st.floats(0, 1),
        st.integers(0, 10**5),
    )
)
@settings(max_examples=20, deadline=None)
def test_a_decision_survives_its_file(tmp_path_factory, decision):
    path = tmp_path_factory.getbasetemp() / "decision.json"
    write_decision(path, decision)
    assert read_decision(path) == decision


def test_without_a_file_the_decision_is_a_cut_at_a_half(tmp_path):
    assert read_decision(tmp_path / "decision.json") == Decision(0.5, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'{"treshold": 0.5}',
        b'{"threshold": "high"}',
        b'{"threshold": 5}',
        b'{"min_area": null}',
        b"\xff\xfe{}",
    ],
)
def test_a_damaged_decision_names_its_file(tmp_path, content):
    path = tmp_path / "decision.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"decision\.json is no decision") as caught:
        read_decision(path)
    assert "tune" in str(caught.value)


def test_decision_file_is_readable_json(tmp_path):
    write_decision(tmp_path / "decision.json", Decision(0.35, 800, 0.8, 0.7, 10))
    text = (tmp_path / "decision.json").read_text()
    assert json.loads(text) == {
        "threshold": 0.35,
        "min_area": 800,
        "score": 0.8,
        "all_empty": 0.7,
        "images": 10,
    }


def test_the_searched_rules_are_ascending_and_in_range():
    for values in (THRESHOLDS, MIN_AREAS):
        assert (np.diff(values) > 0).all()
    assert deciding.MIN_AREAS[0] == 0
    assert THRESHOLDS.tolist() == [float(f"{value:.2f}") for value in THRESHOLDS]
