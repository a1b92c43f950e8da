from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.training.feed import Feed, FixedFeed, augment, make_augmentation

ALL = {"flip": True, "rotation_degrees": 20.0, "shift": 0.1, "zoom": 0.1}
SQUARE = np.zeros((6, 64, 64, 1), np.uint8)
SQUARE[:, 16:36, 8:28] = 255
MASK = (SQUARE / 255).astype(np.float32)


def overlap(images, masks):
    a, b = images > 127, masks > 0.5
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("part", [*({name: value} for name, value in ALL.items()), ALL], ids=str)
def test_image_and_mask_move_together(part, tiny):
    layers = make_augmentation(replace(tiny, **part))
    images, masks = augment(layers, SQUARE, MASK, [1, 2, 3])
    assert overlap(images, masks) > 0.95
    assert not np.array_equal(images, SQUARE)
    assert images.dtype == np.uint8
    assert masks.dtype == np.float32


@pytest.mark.parametrize("part", [{"brightness": 0.3}, {"contrast": 0.5}], ids=str)
def test_grey_levels_change_and_masks_do_not(part, tiny):
    grey = np.random.default_rng(0).integers(0, 256, SQUARE.shape, dtype=np.uint8)
    images, masks = augment(make_augmentation(replace(tiny, **part)), grey, MASK, [1])
    assert not np.array_equal(images, grey)
    np.testing.assert_array_equal(masks, MASK)


def test_the_same_seed_draws_the_same_and_another_does_not(tiny):
    layers = make_augmentation(replace(tiny, **ALL))
    first, again, other = (augment(layers, SQUARE, MASK, seed) for seed in ([5, 0], [5, 0], [5, 1]))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_a_flip_is_a_mirror_image(tiny):
    images, _ = augment(make_augmentation(replace(tiny, flip=True)), SQUARE, MASK, [1])
    kinds = {
        "same" if np.array_equal(image, SQUARE[0]) else "mirrored"
        for image in images
        if np.array_equal(image, SQUARE[0]) or np.array_equal(image, SQUARE[0, :, ::-1])
    }
    assert kinds == {"same", "mirrored"}


def test_the_paper_augments_nothing(tiny):
    assert make_augmentation(tiny) == []
    assert not tiny.augments


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
