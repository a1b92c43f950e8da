from dataclasses import fields, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.inference.maps import SHAPE, make_predictions, predictions_of

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference import tuning
from pneumothorax.inference.decision import decide
from pneumothorax.inference.pixel_counts import THRESHOLDS, Counts, count, find_components, join, judge
from pneumothorax.inference.predictions import Predictions
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
    to_rule,
)
from pneumothorax.inference.tuning import bootstrap, tune


def without_classification(rule):
    return replace(rule, classification_threshold=0.0)


def draw_all(predictions, rule):
    """Yield every image's mask under one rule, and its truth."""
    image_probability = predictions.image_probability
    for row, code in enumerate(predictions.studies["EncodedPixels"]):
        mask = decide(predictions.probabilities[row], without_classification(rule))
        if image_probability is not None and image_probability[row] < rule.classification_threshold:
            mask[:] = False
        yield mask, rle.decode(code).astype(bool)


def brute_force(predictions, rule):
    """Return every image's Dice under one rule, from its masks."""
    each = []
    for mask, truth in draw_all(predictions, rule):
        total = int(mask.sum()) + int(truth.sum())
        each.append(2 * int((mask & truth).sum()) / total if total else 1.0)
    return np.array(each)


def rule_of(candidate):
    return Rule(
        float(THRESHOLDS[candidate.threshold]),
        float(THRESHOLDS[candidate.top_threshold]),
        int(MIN_AREAS[candidate.min_area]),
        int(MIN_COMPONENTS[candidate.min_component]),
        float(CLASSIFICATION_THRESHOLDS[candidate.classification_threshold]),
    )


def score_candidate(part, counts, candidate):
    kept = np.ones(len(counts.truth), bool)
    return apply(counts, candidate, find_components([part], float(THRESHOLDS[candidate.threshold]), kept))


@pytest.fixture(scope="module", params=[False, True], ids=["map alone", "image_probability"])
def parts(request):
    return [make_predictions(seed, 64, number, request.param) for seed, number in ((1, 4), (2, 4), (3, 3))]


@pytest.fixture(scope="module")
def whole(parts):
    return Predictions(
        None,
        np.concatenate([part.probabilities for part in parts]),
        pd.concat([part.studies for part in parts], ignore_index=True),
    )


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


def test_a_candidate_has_a_place_in_a_grid_for_each_part_of_a_rule():
    names = [part.name for part in fields(Rule)]
    assert names == [part.name for part in fields(Candidate)] == list(GRIDS)


def test_the_nearest_candidate_takes_the_threshold_for_a_top_threshold_of_none():
    assert to_candidate(Rule(0.31, min_area=700)) == to_candidate(Rule(0.3, 0.3, 800))


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


def test_the_classification_threshold_is_raised_only_as_far_as_it_pays():
    lung = np.zeros((64, 64), np.uint8)
    lung[10:30, 10:30] = 255
    predictions = predictions_of([lung, lung], [np.zeros(SHAPE, bool), decide(lung, Rule())])
    predictions.studies["image_probability"] = [0.1, 0.9]
    found = tune([predictions])
    assert (found.rule.classification_threshold, found.fitted) == (
        0.15,
        1.0,
    )  # at .1 the first image would pass
    predictions.studies["image_probability"] = [0.9, 0.1]
    assert tune([predictions]).rule.classification_threshold == 0.0


def test_the_best_rules_without_a_classification_threshold_are_scored_too(parts):
    found = tune(parts)
    if parts[0].image_probability is None:
        assert found.without_classification_threshold is None
        return
    silent = [
        Predictions(None, part.probabilities, part.studies.drop(columns="image_probability"))
        for part in parts
    ]
    assert found.without_classification_threshold == tune(silent).score
    assert found.without_classification_threshold != found.score


def test_folds_of_two_kinds_are_refused():
    parts = [make_predictions(1, image_probability=True), make_predictions(2)]
    with pytest.raises(UserError, match="has no classification head, other folds do"):
        tune(parts)


@pytest.mark.parametrize("value", [0, 255])
def test_of_equal_rules_the_simplest_wins(value):
    maps = [np.full((32, 32), value, np.uint8)] * 2
    masks = [np.full(SHAPE, bool(value))] * 2
    predictions = predictions_of(maps, masks)
    predictions.studies["image_probability"] = [0.2, 0.6]
    found = tune([predictions])
    assert found.rule == Rule(0.5, 0.5, 0, 0, 0.0)
    assert found.score == found.fitted == 1.0


def test_tune_raises_the_area_only_where_it_pays():
    speck, lung = np.zeros((2, 64, 64), np.uint8)
    speck[5:8, 5:8] = 255
    lung[10:30, 10:30] = 255
    truth = [np.zeros(SHAPE, bool), decide(lung, Rule())]
    found = tune([predictions_of([speck, lung], truth)])
    assert found.fitted == 1.0
    area = int(decide(speck, Rule(found.rule.top_threshold)).sum())
    assert found.rule.min_area == min(least for least in MIN_AREAS if least > area)


def test_tune_leaves_out_small_components_where_it_pays():
    maps = np.zeros((6, 64, 64), np.uint8)
    maps[:, 10:40, 10:40] = 255
    clean = decide(maps[0], Rule())
    maps[:, 50, 50] = 255  # a speck beside every lesion, above any threshold
    found = tune([predictions_of(list(maps), [clean] * 6)])
    assert found.rule.min_component > 0
    assert found.fitted == 1.0


def test_no_image_judges_a_rule_that_it_has_chosen(parts):
    counts = [count(part) for part in parts]
    expected, drawn = [], []
    for held_out, part in enumerate(parts):
        others = [at for at in range(len(parts)) if at != held_out]
        chosen = search(join([counts[at] for at in others]))
        rules = [rule_of(replace(chosen, min_component=at)) for at in range(len(MIN_COMPONENTS))]
        means = [np.concatenate([brute_force(parts[at], rule) for at in others]).mean() for rule in rules]
        best = rules[next(at for at, mean in enumerate(means) if mean >= max(means) - 1e-9)]
        expected.append(brute_force(part, best))
        drawn += [(mask.any(), truth.any()) for mask, truth in draw_all(part, best)]
    found = tune(parts)
    assert found.score == pytest.approx(np.concatenate(expected).mean(), abs=1e-12)
    assert found.low <= found.score <= found.high
    marked, positive = np.array(drawn).T
    assert found.sensitivity == pytest.approx(marked[positive].mean())
    assert found.specificity == pytest.approx((~marked[~positive]).mean())


def test_what_tune_tells_of_a_rule_is_what_its_masks_earn(parts, whole):
    found = tune(parts)
    assert found.fitted == pytest.approx(brute_force(whole, found.rule).mean(), abs=1e-12)
    plain = brute_force(whole, Rule(found.rule.threshold))
    empty = (whole.studies["area"] == 0).to_numpy()
    assert found.threshold_alone == pytest.approx(plain.mean(), abs=1e-12)
    assert found.ceiling == pytest.approx(np.where(empty, 1.0, plain).mean(), abs=1e-12)
    assert found.all_empty == pytest.approx(empty.mean())
    assert found.images == len(empty)


def test_a_single_fold_is_judged_by_groups_of_patients(monkeypatch):
    part = make_predictions(5, 64, number=8)
    part.studies["patient"] = ["a", "a", "b", "b", "c", "c", "", ""]
    seen = []
    apply_rule = tuning.search
    monkeypatch.setattr(tuning, "search", lambda counts: seen.append(len(counts.truth)) or apply_rule(counts))
    tune([part])
    assert seen[-1] == 8
    assert sorted(seen[:-1]) == [6, 6, 6, 7, 7]  # a patient's images choose or judge together


def test_one_patient_alone_is_tuned_without_an_honest_judge():
    part = make_predictions(5, 64, number=2)
    part.studies["patient"] = "a"
    found = tune([part])
    assert found.score == found.fitted


@pytest.mark.parametrize(("kind", "positive"), [("with", True), ("without", False)])
def test_a_choice_among_images_of_one_kind_is_warned_of(capsys, kind, positive):
    lung = np.zeros((32, 32), np.uint8)
    lung[8:16, 8:16] = 255
    mask = decide(lung, Rule())
    mixed, same = [mask, ~mask & False], [mask & (not positive)] * 2
    parts = [predictions_of([lung, lung], masks, seed) for seed, masks in enumerate((mixed, same))]
    tune(parts)
    assert f"all images {kind} a pneumothorax lie in one of 2 parts" in capsys.readouterr().err
    tune([parts[0], parts[0]])
    assert "warning" not in capsys.readouterr().err


def test_the_interval_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        patients = np.repeat(np.arange(60), 3)
        values = np.repeat(generator.normal(size=60), 3) + generator.normal(size=180) / 3
        low, high = bootstrap(values, patients, seed=trial, resamples=300)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_images_of_one_patient_are_drawn_together():
    values = np.repeat([0.0, 1.0] * 20, 25)
    alone = bootstrap(values, np.arange(len(values)))
    together = bootstrap(values, np.repeat(np.arange(40), 25))
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])


def test_the_searched_rules_are_ascending_and_in_range():
    for values in GRIDS.values():
        assert (np.diff(values) > 0).all()
    assert MIN_AREAS[0] == MIN_COMPONENTS[0] == CLASSIFICATION_THRESHOLDS[0] == 0
    assert CLASSIFICATION_THRESHOLDS[-1] <= 1
    for values in (THRESHOLDS, CLASSIFICATION_THRESHOLDS):
        assert values.tolist() == [float(f"{value:.2f}") for value in values]
