from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.model.losses import FILLED
from pneumothorax.training.distances import signed_distances
from pneumothorax.training.feed import TrainingBatches, ValidationBatches


def test_a_feed_begun_at_an_epoch_goes_on_like_one_that_came_there(discs, tiny):
    recipe, rows = replace(tiny, flip=True), np.arange(20)
    straight = TrainingBatches(discs, rows, recipe)
    straight.begin(1)
    resumed = TrainingBatches(discs, rows, recipe, first_epoch=1)
    for number in range(len(resumed)):
        for a, b in zip(straight[number], resumed[number], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_fixed_feed_keeps_the_order(discs, tiny):
    rows = np.array([7, 3, 5])
    images, masks, weights = ValidationBatches(discs, rows, replace(tiny, batch_size=3))[0]
    np.testing.assert_array_equal(images[..., 0], discs.images[rows])
    np.testing.assert_allclose(masks[..., 0], discs.masks[rows] / 255)
    assert weights.tolist() == [1, 1, 1]


def test_what_fills_a_batch_is_marked_and_the_others_carry_its_weight(discs, tiny):
    feed = ValidationBatches(
        discs,
        np.arange(5),
        replace(tiny, batch_size=4, classification_head=True, loss="bce + classification"),
    )
    images, truth, weights = feed[1]
    np.testing.assert_array_equal(images[..., 0], discs.images[[3, 4, 3, 4]])
    assert (truth["probability"][2:] == FILLED).all()
    assert (truth["probability"][:2] >= 0).all()
    for name in ("probability", "classification"):
        np.testing.assert_allclose(weights[name], [1.6, 1.6, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(feed[0][2]["probability"], [1.6, 1.6, 1.6, 0], rtol=1e-6)


def test_keras_expects_the_longest_epoch_and_gets_each_as_long_as_it_is(discs, tiny):
    recipe = replace(tiny, positive_rate=1.0, positive_rate_end=0.7, batch_size=4)
    feed = TrainingBatches(discs, np.arange(24), recipe)
    assert feed.lengths() == [4, 5, 6]
    assert feed.num_batches == 6
    feed.started = True
    for epoch, length in enumerate(feed.lengths()):
        feed.begin(epoch)
        assert feed.num_batches == len(feed) == length


def test_the_empty_head_is_told_who_has_a_pneumothorax_at_full_size(discs, tiny):
    recipe = replace(tiny, classification_head=True, loss="bce + classification")
    images, truth, _ = ValidationBatches(discs, np.arange(8), recipe)[0]
    assert images.shape == (8, 32, 32, 1)
    np.testing.assert_array_equal(truth["classification"][:3], [[0], [1], [1]])
    np.testing.assert_array_equal(truth["probability"], ValidationBatches(discs, np.arange(8), tiny)[0][1])


def test_distances_are_those_of_the_augmented_mask(discs, tiny):
    recipe = replace(tiny, loss="bce + 0.5 * boundary", flip=True, shift=0.1)
    _, truth = TrainingBatches(discs, np.arange(24), recipe)[0]
    assert truth.shape == (8, 32, 32, 2)
    np.testing.assert_allclose(truth[..., 1:], 0.5 * signed_distances(truth[..., :1]), rtol=1e-6)
    assert truth[..., 1].any()


def test_boundary_counts_for_nothing_when_validating(discs, tiny):
    _, truth, _ = ValidationBatches(discs, np.arange(8), replace(tiny, loss="bce + boundary"))[0]
    assert not truth[..., 1].any()


@pytest.mark.parametrize("headed", [False, True])
def test_rebalanced_terms_share_a_weight_of_one(headed, discs, tiny):
    head = (
        {"classification_head": True, "loss": "bce + 0.2 * boundary + classification"}
        if headed
        else {"loss": "bce + 0.2 * boundary"}
    )
    recipe = replace(tiny, boundary_schedule="rebalanced", boundary_rise=0.1, **head)
    _, truth, weights = TrainingBatches(discs, np.arange(8), recipe, first_epoch=1)[0]
    truth, weights = (truth["probability"], weights["probability"]) if headed else (truth, weights)
    np.testing.assert_allclose(weights, 0.7)
    np.testing.assert_allclose(0.7 * truth[..., 1:], 0.3 * signed_distances(truth[..., :1]), rtol=1e-5)
