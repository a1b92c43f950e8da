"""What Keras reports of an epoch is the mean over images, whatever the batches and the heads."""

import numpy as np
import pytest

from pneumothorax.metric import dice
from pneumothorax.model.metrics import MASK_SCORES, BalancedDice, find_metrics, hard_dice, plain_names
from pneumothorax.recipe import Recipe

GENERATOR = np.random.default_rng(5)
MASK = (GENERATOR.random((4, 8, 8, 1)) < 0.3).astype(np.float32)
MASK[2:] = 0
PROBABILITY = GENERATOR.random(MASK.shape).astype(np.float32)
PROBABILITY[3] *= 0.4  # a negative that stays empty
HEADED = Recipe(classification_head=True, loss="bce + 0.1 * classification")


def test_hard_dice_counts_the_masks_cut_at_one_half():
    found, truth = PROBABILITY > 0.5, MASK > 0.5
    counts = [values.sum(axis=(1, 2, 3)) for values in (found & truth, truth, found)]
    np.testing.assert_allclose(hard_dice(MASK, PROBABILITY), dice(*counts), rtol=1e-6)
    assert hard_dice(MASK, PROBABILITY)[2] == 0
    assert hard_dice(MASK, PROBABILITY)[3] == 1


def test_a_distance_map_behind_the_mask_changes_no_score():
    truth = np.concatenate([MASK, GENERATOR.random(MASK.shape)], axis=-1).astype(np.float32)
    for plain, behind in zip(find_metrics(Recipe()), find_metrics(Recipe()), strict=True):
        plain.update_state(MASK, PROBABILITY)
        behind.update_state(truth, PROBABILITY)
        assert float(plain.result()) == float(behind.result())


def test_with_an_empty_head_each_output_has_its_own():
    metrics = find_metrics(HEADED)
    assert [metric.name for metric in metrics["probability"]] == list(MASK_SCORES)
    assert [metric.name for metric in metrics["classification"]] == ["auc"]


def test_balanced_dice_gives_each_kind_half_whatever_the_batches_and_all_empty_one_half():
    def score(probability, *rows):
        metric = BalancedDice()
        for some in rows:
            metric.update_state(MASK[some], probability[some])
        return float(metric.result())

    each = np.asarray(hard_dice(MASK, PROBABILITY))
    expected = (each[:2].mean() + each[2:].mean()) / 2
    assert score(PROBABILITY, [0, 1, 2, 3]) == pytest.approx(expected, rel=1e-6)
    assert score(PROBABILITY, [0], [1, 2, 3]) == pytest.approx(expected, rel=1e-6)
    assert score(np.zeros_like(MASK), [0, 1, 2, 3]) == 0.5
    assert score(np.zeros_like(MASK), [2, 3]) == 1.0
    assert score(PROBABILITY, [0, 1]) == pytest.approx(each[:2].mean(), rel=1e-6)


def test_names_are_plain_whatever_the_heads():
    logs = {
        "loss": 3.0,
        "probability_mean_dice": 1.0,
        "val_probability_hard_dice": 2.0,
        "classification_auc": 4.0,
    }
    assert plain_names(logs) == {
        "loss": 3.0,
        "mean_dice": 1.0,
        "val_hard_dice": 2.0,
        "classification_auc": 4.0,
    }
