from dataclasses import replace

import numpy as np
import pytest
from tests.inference.maps import SHAPE, brute_force, draw_all, make_predictions, predictions_of, rule_of

from pneumothorax.errors import UserError
from pneumothorax.inference import tuning
from pneumothorax.inference.decision import decide
from pneumothorax.inference.pixel_counts import count, join
from pneumothorax.inference.predictions import Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.inference.search import (
    MIN_AREAS,
    MIN_COMPONENTS,
    search,
)
from pneumothorax.inference.tuning import bootstrap, tune


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


@pytest.mark.slow
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
