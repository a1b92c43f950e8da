import numpy as np
import pytest

from pneumothorax.data.warp import warp
from pneumothorax.recipe import Recipe


def places(recipe, size, margin=0, count=60):
    """Find where pixels come from by warping their own coordinates.

    Returns:
        x and y where they were found, NaN beyond the frame, and x and y where they are.
    """
    y, x = np.mgrid[:size, :size].astype(np.float32)
    grids = [np.repeat(grid[None, ..., None], count, 0) for grid in (x, y, np.ones_like(x))]
    images = np.zeros(grids[0].shape, np.uint8)
    found = [warp(recipe, images, grid, np.random.default_rng(0))[1][..., 0] for grid in grids]
    inner = slice(margin, size - margin)
    whole = np.where(found[2] > 0.9999, 1, np.nan)
    return *((part * whole)[:, inner, inner] for part in found[:2]), x[inner, inner], y[inner, inner]


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("elastic", [0.01, 0.03])
def test_elastic_is_the_root_mean_square_length_of_a_displacement_at_every_size(size, elastic):
    x, y, x0, y0 = places(Recipe(elastic=elastic), size)
    length = np.sqrt(np.nanmean((x - x0) ** 2 + (y - y0) ** 2)) / size
    assert length == pytest.approx(elastic, rel=0.05)


def test_bending_goes_every_way():
    x, y, x0, y0 = places(Recipe(elastic=0.02), 64, margin=8)
    assert abs(np.corrcoef((x - x0).ravel(), (y - y0).ravel())[0, 1]) < 0.2


def test_bending_never_folds():
    x, y, _, _ = places(Recipe(elastic=0.05), 128, margin=20)
    down, right = (1, 2)
    area = np.gradient(x, axis=right) * np.gradient(y, axis=down)
    area -= np.gradient(x, axis=down) * np.gradient(y, axis=right)
    assert area.min() > 0.05


def test_a_rotation_is_rigid_and_within_its_range():
    x, y, _, _ = places(Recipe(rotation_degrees=30.0), 128, margin=30)
    angles = np.degrees(np.arctan2(np.gradient(y, axis=2), np.gradient(x, axis=2))).mean(axis=(1, 2))
    assert angles.min() < -25
    assert angles.max() > 25
    assert np.abs(angles).max() < 30.1
    np.testing.assert_allclose(np.hypot(np.gradient(x, axis=2), np.gradient(y, axis=2)), 1, atol=0.05)
    np.testing.assert_allclose(x[:, 33:35, 33:35].mean(axis=(1, 2)), 63.5, atol=0.05)


def test_shifts_go_every_way_and_no_further_than_their_share():
    x, y, x0, y0 = places(Recipe(shift=0.1), 100, margin=15)
    shifts = np.stack([(x - x0).mean(axis=(1, 2)), (y - y0).mean(axis=(1, 2))])
    assert 9 < np.abs(shifts).max() < 10.1
    assert abs(np.corrcoef(shifts)[0, 1]) < 0.3
    assert set(map(tuple, np.sign(shifts).T.astype(int).tolist())) == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_zoom_keeps_proportions_and_goes_both_ways():
    x, y, _, _ = places(Recipe(zoom=0.2), 100, margin=15)
    across, down = np.gradient(x, axis=2).mean(axis=(1, 2)), np.gradient(y, axis=1).mean(axis=(1, 2))
    np.testing.assert_allclose(across, down, atol=0.01)
    assert 0.8 <= across.min() < 0.85
    assert 1.15 < across.max() <= 1.2


def test_a_part_leaves_the_others_draws_alone():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 1), dtype=np.uint8)
    masks = (images > 200).astype(np.float32)

    def warped(**fields):
        return warp(Recipe(flip=True, **fields), images, masks, np.random.default_rng(0))[1]

    with_shift, with_both = (warped(shift=0.1, elastic=elastic) for elastic in (0.0, 1e-6))
    np.testing.assert_allclose(with_shift, with_both, atol=0.05)


def test_soft_masks_keep_their_area_when_turned():
    masks = np.zeros((20, 64, 64, 1), np.float32)
    masks[:, 20:40, 30:33] = 0.5
    _, turned = warp(Recipe(rotation_degrees=45.0), masks.astype(np.uint8), masks, np.random.default_rng(0))
    np.testing.assert_allclose(turned.sum(axis=(1, 2, 3)), masks.sum(axis=(1, 2, 3)), rtol=0.03)
