"""The resizing inside an exported file against OpenCV's, which prepared the images of training."""

import keras
import numpy as np
import pytest

from pneumothorax.data.cache import INTERPOLATIONS, shrink
from pneumothorax.exporting.resizing import Resize

SIZE = 32


def resize(image, interpolation):
    """Resize one image by the layer."""
    resized = Resize(SIZE, interpolation)(image[None, ..., None])
    return keras.ops.convert_to_numpy(resized)[0, ..., 0]


def differences(shape, interpolation):
    """Return by how many grey levels the layer and OpenCV differ, for noise."""
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = resize(image, interpolation)
    assert found.dtype == np.uint8
    return np.abs(found.astype(int) - shrink(image, SIZE, interpolation))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 32])
def test_whole_multiples_are_those_of_opencv(interpolation, factor):
    assert differences((factor * SIZE, factor * SIZE), interpolation).max() == 0


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(97, 61), (33, 31), (20, 25), (50, 20), (1, 1), (700, 500), (1, 90)])
def test_any_size_differs_from_opencv_by_one_grey_level_at_most(interpolation, shape):
    assert differences(shape, interpolation).max() <= 1
