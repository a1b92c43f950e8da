import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.maps import SHAPE, brute_force, make_predictions, predictions_of, rule_of

from pneumothorax.inference.pixel_counts import THRESHOLDS, count, find_components, judge
from pneumothorax.inference.search import (
    CLASSIFICATION_THRESHOLDS,
    MIN_AREAS,
    MIN_COMPONENTS,
    Candidate,
    apply,
    to_candidate,
    to_rule,
)


def score_candidate(part, counts, candidate):
    kept = np.ones(len(counts.truth), bool)
    return apply(counts, candidate, find_components([part], float(THRESHOLDS[candidate.threshold]), kept))


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.sampled_from([32, 64, 96, 224]), data=st.data())
def test_counts_score_any_rule_as_its_masks_would(seed, size, data):
    predictions = make_predictions(seed, size, number=2, image_probability=True)
    counts = count(predictions)
    for _ in range(4):
        top = data.draw(st.integers(0, len(THRESHOLDS) - 1))
        candidate = Candidate(
            data.draw(st.integers(0, top)),
            top,
            data.draw(st.integers(0, len(MIN_AREAS) - 1)),
            data.draw(st.integers(0, len(MIN_COMPONENTS) - 1)),
            data.draw(st.integers(0, len(CLASSIFICATION_THRESHOLDS) - 1)),
        )
        rule = rule_of(candidate)
        assert to_rule(candidate) == rule
        assert to_candidate(rule) == candidate
        expected = brute_force(predictions, rule)
        np.testing.assert_array_equal(score_candidate(predictions, counts, candidate), expected)
        np.testing.assert_array_equal(judge(predictions, rule), expected)


def test_an_image_with_nothing_above_the_threshold_has_no_component():
    maps = np.zeros((2, 64, 64), np.uint8)
    maps[1, 10:20, 10:20] = 255
    components = find_components(
        [predictions_of(list(maps), [np.zeros(SHAPE, bool)] * 2)], 0.5, np.ones(2, bool)
    )
    assert components.image.tolist() == [1]


def test_counts_take_the_truth_at_its_own_size_to_full_size():
    probability = np.zeros((64, 64), np.uint8)
    probability[10:20, 20:40] = 255
    masks = [np.kron(probability > 0, np.ones((scale, scale), bool)) for scale in (8, 16)]
    counts = count(predictions_of([probability, probability], masks), np.array([0.5]))
    small, full = counts.truth
    assert small == full
    assert counts.overlap[0] > 0.95 * full
