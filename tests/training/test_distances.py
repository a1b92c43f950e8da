import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import distance_transform_edt

from pneumothorax.training.distances import signed_distance, signed_distances

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def reference(mask):
    """Kervadec's definition, by SciPy, in pixels."""
    inside = mask >= 0.5
    return distance_transform_edt(~inside) * ~inside - (distance_transform_edt(inside) - 1) * inside


@given(arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))
def test_distances_are_those_of_the_paper(mask):
    found = signed_distance(mask)
    inside = mask >= 0.5
    assert found.dtype == np.float32
    assert found.shape == mask.shape
    if inside.any() and not inside.all():
        np.testing.assert_allclose(found * max(mask.shape), reference(mask), atol=1e-4)
    else:
        assert not found.any()


@pytest.mark.parametrize("size", [512, 1024])
def test_distances_across_a_large_image_are_exact(size):
    mask = np.zeros((size, size), np.float32)
    mask[0, 0] = 1
    np.testing.assert_allclose(signed_distance(mask) * size, reference(mask), rtol=1e-5)
    np.testing.assert_allclose(signed_distance(1 - mask) * size, reference(1 - mask), rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.49, 0.5, 1.0])
def test_a_mask_without_a_border_is_zero_everywhere(value):
    assert not signed_distance(np.full((8, 8), value, np.float32)).any()


@given(st.integers(0, 6), st.integers(2, 8))
def test_a_distance_is_the_same_share_of_the_side_at_every_size(last, times):
    mask = np.zeros((8, 8), np.float32)
    mask[: last + 1, : last + 1] = 1
    large = np.kron(mask, np.ones((times, times), np.float32))
    expected = np.sqrt(2) * (7 - last) / 8
    for one in (mask, large):
        assert signed_distance(one)[-1, -1] == pytest.approx(expected, rel=1e-5)


def test_the_border_is_zero_inside_and_one_pixel_outside():
    mask = np.zeros((9, 9), np.float32)
    mask[3:6, 3:6] = 1
    np.testing.assert_allclose(signed_distance(mask)[4] * 9, [3, 2, 1, 0, -1, 0, 1, 2, 3], atol=1e-6)


def test_a_batch_is_its_masks_one_by_one():
    masks = (np.random.default_rng(0).random((3, 16, 16, 1)) < 0.1).astype(np.float32)
    masks[1] = 0
    found = signed_distances(masks)
    assert found.shape == masks.shape
    assert found.dtype == np.float32
    for one, mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(one[..., 0], signed_distance(mask[..., 0]))
    assert not found[1].any()
