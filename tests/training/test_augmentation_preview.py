from dataclasses import replace

import numpy as np
import pytest

from pneumothorax.training.augmentation import augment, make_augmentation
from pneumothorax.training.augmentation_preview import INGREDIENTS, draw_extremes, draw_views

ALL = {name: True if name == "flip" else 0.2 for name in INGREDIENTS} | {
    "rotation_degrees": 20.0,
    "elastic": 0.02,
}
SHARES = {"geometry_share": 0.5, "tone_share": 0.5}
# Smooth, so that what moves further differs more.
ROWS, COLUMNS = np.mgrid[:32, :32] / 31
IMAGES = np.stack([80 + 90 * np.exp(-8 * ((ROWS - y) ** 2 + (COLUMNS - 0.4) ** 2)) for y in (0.3, 0.5, 0.7)])
IMAGES = IMAGES.round().astype(np.uint8)[..., None]
MASKS = np.zeros(IMAGES.shape, np.float32)
MASKS[1:, 10:20, 8:14] = 1


def test_views_are_what_training_makes_of_the_images(tiny):
    recipe = replace(tiny, **ALL, **SHARES)
    views = draw_views(recipe, IMAGES, MASKS, 4)
    assert [len(draws) for draws in views] == [4, 4, 4]
    images, masks = augment(make_augmentation(recipe), IMAGES, MASKS, [recipe.seed, 3])
    for row, draws in enumerate(views):
        np.testing.assert_array_equal(draws[3].image, images[row, ..., 0])
        np.testing.assert_array_equal(draws[3].mask, masks[row, ..., 0])


def test_each_ingredient_that_is_on_is_shown_alone_and_both_ways(tiny):
    recipe = replace(tiny, **ALL, **SHARES)
    extremes = draw_extremes(recipe, IMAGES[1], MASKS[1])
    assert list(extremes) == list(INGREDIENTS)
    original, mask = IMAGES[1, ..., 0], MASKS[1, ..., 0]
    np.testing.assert_array_equal(extremes.pop("flip")[0].image, original[:, ::-1])
    for name, (one, other) in extremes.items():
        assert not np.array_equal(one.image, original)
        assert not np.array_equal(one.image, other.image)
        if name in ("brightness", "contrast", "gamma"):
            np.testing.assert_array_equal(one.mask, mask)
    dark, bright = sorted(float(view.image.mean()) for view in extremes["brightness"])
    assert dark < original.mean() - 20
    assert bright > original.mean() + 20
    small, large = sorted(float(view.mask.sum()) for view in extremes["zoom"])
    assert small < 0.8 * mask.sum()
    assert large > 1.3 * mask.sum()


@pytest.mark.parametrize("name", INGREDIENTS)
def test_what_is_off_is_not_shown(name, tiny):
    value = {name: ALL[name]}
    assert list(draw_extremes(replace(tiny, **value), IMAGES[1], MASKS[1])) == [name]
