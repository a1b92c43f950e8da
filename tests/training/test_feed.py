from dataclasses import replace

import numpy as np

from pneumothorax.training.feed import Feed, FixedFeed


def test_a_feed_begun_at_an_epoch_goes_on_like_one_that_came_there(discs, tiny):
    recipe, rows = replace(tiny, flip=True), np.arange(20)
    straight = Feed(discs, rows, recipe)
    straight.begin(1)
    resumed = Feed(discs, rows, recipe, first_epoch=1)
    for number in range(len(resumed)):
        for a, b in zip(straight[number], resumed[number], strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_fixed_feed_keeps_the_order(discs, tiny):
    rows = np.array([7, 3, 5])
    images, masks = FixedFeed(discs, rows, 8)[0]
    np.testing.assert_array_equal(images[..., 0], discs.images[rows])
    np.testing.assert_allclose(masks[..., 0], discs.masks[rows] / 255)
