import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.maps import SHAPE, make_predictions, predictions_of, smooth_map

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.decision import (
    Decision,
    decide,
    encode_all,
    keep_large,
    read_decision,
    write_decision,
)
from pneumothorax.inference.pixel_counts import count, judge
from pneumothorax.inference.rule import Rule

EVIDENCE = (
    *("score", "low", "high", "fitted", "all_empty", "threshold_alone", "without_classification_threshold"),
    *("ceiling", "auc", "sensitivity", "specificity"),
)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 224, 512])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_a_probability_is_upsampled_before_it_is_cut(size, threshold):
    probability = smooth_map(np.random.default_rng(size), size, level=600)
    full = cv2.resize(probability.astype(np.float32) / 255, (1024, 1024), interpolation=cv2.INTER_LINEAR)
    mask = decide(probability, Rule(threshold))
    assert mask.dtype == bool
    assert mask.shape == SHAPE
    clear = np.abs(full - threshold) > 1e-6  # the same arithmetic in another order
    np.testing.assert_array_equal(mask[clear], full[clear] > threshold)
    cut_first = cv2.resize((probability > threshold * 255).astype(np.uint8), (1024, 1024)).astype(bool)
    assert (mask != cut_first).any()


def test_upsampling_keeps_the_order_of_height_and_width():
    probability = np.zeros((64, 64), np.uint8)
    probability[:32] = 255
    mask = decide(probability, Rule(), (200, 100))
    assert mask.shape == (200, 100)
    assert mask[:100].all()
    assert not mask[100:].any()


@pytest.mark.parametrize(("delta", "kept"), [(0, True), (1, False), (-1, True)])
def test_the_area_is_counted_at_full_size_and_kept_when_just_reached(delta, kept):
    probability = np.zeros((64, 64), np.uint8)
    probability[20:24, 30:36] = 255
    area = int(decide(probability, Rule()).sum())
    assert area > 24 * 200  # 24 pixels at 64x64 are some 6,000 at 1024x1024
    assert decide(probability, Rule(min_area=area + delta)).any() == kept


@pytest.mark.parametrize(("share", "kept"), [(0.9, True), (1.1, False)])
def test_the_least_area_is_scaled_to_an_image_of_another_size(share, kept):
    probability = np.zeros((64, 64), np.uint8)
    probability[20:30, 30:40] = 255
    least = round(share * decide(probability, Rule()).sum())
    for shape in ((1024, 1024), (512, 512), (2048, 1500)):
        assert decide(probability, Rule(min_area=least), shape).any() == kept


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
    rule = Rule(threshold)
    assert decide(probability, rule).all() == full
    assert decide(probability, rule).any() == full
    counts = count(predictions_of([probability], [np.ones(SHAPE, bool)]), np.array([threshold]))
    assert counts.area[0, 0] == counts.overlap[0, 0] == full * 1024**2


@pytest.mark.parametrize(
    "values",
    [{"score": "0.8"}, {"score": float("nan")}, {"low": True}, {"images": None}, {"images": 1.5}],
)
def test_evidence_that_is_no_number_is_refused(values):
    with pytest.raises(UserError, match=next(iter(values))):
        Decision(**values)


def test_every_image_is_decided_and_encoded_in_order():
    part = make_predictions(1)
    rows = list(encode_all(part, Rule(0.3, min_area=100)))
    assert [image_id for image_id, _ in rows] == part.studies["ImageId"].tolist()
    for (_, code), probability in zip(rows, part.probabilities, strict=True):
        np.testing.assert_array_equal(rle.decode(code), decide(probability, Rule(0.3, min_area=100)))


def test_images_of_another_size_are_no_submission():
    predictions = predictions_of(
        [np.zeros((32, 32), np.uint8)] * 2, [np.ones(SHAPE, bool), np.ones((512, 256), bool)]
    )
    with pytest.raises(UserError, match="image 0-1 of 512x256 pixels; expected the competition's 1024x1024"):
        list(encode_all(predictions, Rule()))


@st.composite
def decisions(draw):
    threshold = draw(st.floats(0, 1))
    rule = Rule(
        threshold,
        draw(st.none() | st.floats(threshold, 1)),
        draw(st.integers(0, 2**20)),
        draw(st.integers(0, 2**20)),
        draw(st.floats(0, 1)),
    )
    evidence = {name: draw(st.none() | st.floats(0, 1)) for name in EVIDENCE}
    return Decision(rule, images=draw(st.integers(0, 10**5)), **evidence)


@pytest.mark.slow
@given(decisions())
@settings(max_examples=20, deadline=None)
def test_a_decision_survives_its_file(tmp_path_factory, decision):
    path = tmp_path_factory.getbasetemp() / "decision.json"
    write_decision(path, decision)
    assert read_decision(path) == decision


def test_without_a_file_the_decision_is_a_cut_at_a_half(tmp_path):
    assert read_decision(tmp_path / "decision.json") == Decision(Rule(0.5, min_area=0))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'{"score": 0.8}',
        b'{"rule": null}',
        b'{"rule": {"treshold": 0.5}}',
        b'{"rule": {"threshold": "high"}}',
        b'{"rule": {"threshold": 5}}',
        b'{"rule": {"threshold": null}}',
        b'{"rule": {"min_area": null}}',
        b'{"rule": {"min_area": 1e999}}',
        b'{"rule": {}, "score": "<script>"}',
        b'{"rule": {}, "scoer": 0.8}',
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
    write_decision(tmp_path / "decision.json", Decision(Rule(0.35, 0.7, 800, 100, 0.2), score=0.8, images=10))
    found = json.loads((tmp_path / "decision.json").read_text())
    rule = {"threshold": 0.35, "top_threshold": 0.7, "min_area": 800, "min_component": 100}
    assert found["rule"] == rule | {"classification_threshold": 0.2}
    assert found.keys() == {"rule", "images", *EVIDENCE}


def test_below_the_classification_threshold_an_image_is_empty_whatever_its_map_says():
    part = make_predictions(1, image_probability=True)
    least = float(part.image_probability[1:3].max())
    rule = Rule(0.3, classification_threshold=least)
    codes = dict(encode_all(part, rule))
    plain = dict(encode_all(part, Rule(0.3)))
    for row, image_id in enumerate(part.studies["ImageId"]):
        passes = part.image_probability[row] >= least
        assert codes[image_id] == (plain[image_id] if passes else rle.EMPTY)
        image_probability = float(part.image_probability[row])
        mask = decide(part.probabilities[row], rule, image_probability=image_probability)
        assert mask.any() == passes
    assert 1 <= sum(code == rle.EMPTY for code in codes.values()) < len(codes)
    assert rle.EMPTY not in plain.values()


def test_a_classification_threshold_without_a_head_is_a_mistake_in_one_line():
    with pytest.raises(
        UserError,
        match=r"threshold 0\.2 for .*, which has no classification head.*--classification-threshold 0",
    ):
        list(encode_all(make_predictions(1), Rule(classification_threshold=0.2)))
    with pytest.raises(UserError, match="has no classification head"):
        judge(make_predictions(1), Rule(classification_threshold=0.2))
    with pytest.raises(ValueError, match="expected an image-level probability"):
        decide(np.zeros((32, 32), np.uint8), Rule(classification_threshold=0.2))


def blob(value, rows, columns):
    probability = np.zeros((64, 64), np.uint8)
    probability[rows, columns] = value
    return probability


def test_the_area_is_counted_above_the_top_threshold_and_the_mask_drawn_above_the_threshold():
    probability = np.maximum(blob(100, slice(10, 40), slice(10, 40)), blob(220, slice(20, 24), slice(20, 24)))
    sure = int(decide(probability, Rule(0.7)).sum())
    wide = decide(probability, Rule(0.3))
    assert 0 < sure < wide.sum() / 10
    np.testing.assert_array_equal(decide(probability, Rule(0.3, 0.7, sure)), wide)
    assert not decide(probability, Rule(0.3, 0.7, sure + 1)).any()
    assert not decide(probability, Rule(0.3, 0.9)).any()


@pytest.mark.parametrize("shape", [(1024, 1024), (512, 512), (700, 900)])
def test_small_components_are_left_out_and_large_ones_stay_whole(shape):
    large, small = blob(255, slice(10, 30), slice(10, 30)), blob(255, slice(50, 53), slice(50, 53))
    both = np.maximum(large, small)
    least = int(1.5 * decide(small, Rule()).sum())
    expected = decide(large, Rule(), shape)
    np.testing.assert_array_equal(decide(both, Rule(min_component=least), shape), expected)
    np.testing.assert_array_equal(decide(both, Rule(), shape), decide(small, Rule(), shape) | expected)
    assert not decide(small, Rule(min_component=least), shape).any()


def test_components_that_touch_at_a_corner_are_one():
    stair = np.zeros(SHAPE, bool)
    stair[10:20, 10:20] = stair[20:30, 20:30] = True
    assert keep_large(stair, 200).sum() == 200
    assert not keep_large(stair, 201).any()
