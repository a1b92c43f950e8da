from dataclasses import fields
from itertools import product

import numpy as np
import pytest

from pneumothorax.inference.pixel_counts import THRESHOLDS, Counts, count
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.search import (
    CLASSIFICATION_THRESHOLDS,
    GRIDS,
    MIN_AREAS,
    MIN_COMPONENTS,
    Candidate,
    apply,
    search,
    to_candidate,
)


def test_a_candidate_has_a_place_in_a_grid_for_each_part_of_a_rule():
    names = [part.name for part in fields(Rule)]
    assert names == [part.name for part in fields(Candidate)] == list(GRIDS)


def test_the_nearest_candidate_takes_the_threshold_for_a_top_threshold_of_none():
    assert to_candidate(Rule(0.31, min_area=700)) == to_candidate(Rule(0.3, 0.3, 800))


def best_mean(counts):
    """Return what the best of all rules scores, one by one."""
    each = np.where(
        (total := counts.truth[:, None] + counts.area) > 0, 2 * counts.overlap / np.maximum(total, 1), 1.0
    )
    empty, best = (counts.truth == 0).astype(float), -1.0
    for least, top, area in product(CLASSIFICATION_THRESHOLDS, range(len(THRESHOLDS)), MIN_AREAS):
        kept = (counts.area[:, top] >= area) & (counts.area[:, top] > 0)
        if counts.image_probability is not None:
            kept &= counts.image_probability >= least
        means = np.where(kept[:, None], each[:, : top + 1], empty[:, None]).mean(axis=0)
        best = max(best, means.max())
    return best


def test_search_finds_the_best_of_all_rules(whole):
    counts = count(whole)
    found = search(counts)
    assert found.threshold <= found.top_threshold
    assert apply(counts, found).mean() == pytest.approx(best_mean(counts), abs=1e-12)


def random_counts(generator, number=200, image_probability=False):
    area = np.sort(generator.integers(0, 60_000, (number, len(THRESHOLDS))), axis=1)[:, ::-1]
    area[generator.random(number) < 0.4] = 0
    truth = np.where(generator.random(number) < 0.3, generator.integers(1, 60_000, number), 0)
    overlap = np.minimum(area, truth[:, None]) * generator.random((number, 1))
    told = (
        np.clip(generator.normal(0.4 + 0.2 * (truth > 0), 0.2), 0, 1).round(2) if image_probability else None
    )
    return Counts(area.copy(), overlap.astype(np.int64), truth, told)


@pytest.mark.parametrize("image_probability", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_search_by_sums_equals_the_search_one_by_one(seed, image_probability):
    counts = random_counts(np.random.default_rng(seed), image_probability=image_probability)
    found = search(counts)
    assert apply(counts, found).mean() == pytest.approx(best_mean(counts), abs=1e-9)
    assert (found.classification_threshold > 0) == image_probability  # it pays in these counts


def test_an_image_probability_at_the_classification_threshold_is_kept():
    ones = np.full((1, len(THRESHOLDS)), 5000)
    for image_probability, least, kept in ((0.05, 0.05, True), (0.05, 0.1, False), (0.0, 0.0, True)):
        counts = Counts(ones, ones, np.array([5000]), np.array([image_probability]))
        place = int(np.flatnonzero(least == CLASSIFICATION_THRESHOLDS)[0])
        assert apply(counts, Candidate(10, 10, classification_threshold=place))[0] == float(kept)


def test_the_searched_rules_are_ascending_and_in_range():
    for values in GRIDS.values():
        assert (np.diff(values) > 0).all()
    assert MIN_AREAS[0] == MIN_COMPONENTS[0] == CLASSIFICATION_THRESHOLDS[0] == 0
    assert CLASSIFICATION_THRESHOLDS[-1] <= 1
    for values in (THRESHOLDS, CLASSIFICATION_THRESHOLDS):
        assert values.tolist() == [float(f"{value:.2f}") for value in values]
