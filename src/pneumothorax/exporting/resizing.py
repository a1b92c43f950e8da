"""A Keras layer that resizes images of any size to the network's square, as `data.cache.shrink` does.

OpenCV's interpolations are separable and linear, so each is two products with matrices whose entries follow
from the numbers of pixels alone. All positions are kept as whole numbers of 1/(2 S) or 1/S of a pixel, so
that float32 rounds none of them. OpenCV rounds its weights to some bits, so a grey level may differ by one;
with whole numbers of pixels for one, such as 1024 to 512 or 256, 'area' and 'bilinear' are the same.
"""

from typing import Any

import keras
from keras import ops

import pneumothorax.model.devices  # noqa: F401  # pins Keras' settings

Tensor = Any


class Resize(keras.layers.Layer):
    """Resize uint8 images of any size to a square; images of that size pass unchanged.

    Args:
        size: Side of the result in pixels.
        interpolation: 'bilinear', 'bicubic' or 'area'.
        name: Name of the layer.
    """

    def __init__(self, size: int, interpolation: str, name: str = "resize") -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.size, self.interpolation = size, interpolation

    def compute_output_spec(self, images: Tensor) -> keras.KerasTensor:
        """Describe the result: uint8 of shape (N, S, S, 1)."""
        return keras.KerasTensor((images.shape[0], self.size, self.size, 1), dtype="uint8")

    def call(self, images: Tensor) -> Tensor:
        """Resize uint8 images of shape (N, H, W, 1)."""
        shape = ops.shape(images)
        height, width = shape[1], shape[2]
        pixels = ops.cast(ops.squeeze(images, -1), "float32")  # (N, H, W)
        rows, columns = self._weights(height, width), self._weights(width, height)
        resized = ops.matmul(ops.matmul(rows, pixels), ops.transpose(columns))  # (N, S, S)
        levels = ops.clip(self._round(resized, height, width), 0, 255)
        return ops.expand_dims(ops.cast(levels, "uint8"), -1)

    def _round(self, values: Tensor, height: Tensor, width: Tensor) -> Tensor:
        """Round to whole grey levels, halves as OpenCV does: upwards, or to the even one."""
        if self.interpolation == "bicubic":
            return ops.round(values)
        up = ops.floor(values + 0.5)
        if self.interpolation == "bilinear":
            return up
        halves = ops.logical_and(ops.equal(height, 2 * self.size), ops.equal(width, 2 * self.size))
        return ops.where(halves, up, ops.round(values))

    def _weights(self, length: Tensor, other: Tensor) -> Tensor:
        """Return the share of each input pixel in each output pixel along one axis, float32 of shape (S, L).

        Args:
            length: Pixels of the input along the axis.
            other: Pixels along the other axis: 'area' takes means only where both become fewer.
        """
        size = self.size
        places, pixels = ops.arange(size, dtype="int32")[:, None], ops.arange(length, dtype="int32")[None]
        if self.interpolation == "bilinear":
            return _between((2 * places + 1) * length - size, pixels, 2 * size, length)
        if self.interpolation == "bicubic":
            return _cubic((2 * places + 1) * length - size, pixels, 2 * size, length)
        first = places * length // size  # pixel in which an output pixel begins
        passed = ops.maximum((places + 1) * length - (first + 1) * size, 0)
        enlarged = _between(first * length + passed, pixels, length, length)
        shrinks = ops.logical_and(length >= size, other >= size)
        return ops.where(shrinks, _overlaps(places, pixels, size, length), enlarged)


def _between(position: Tensor, pixels: Tensor, unit: Tensor, length: Tensor) -> Tensor:
    """Divide each output pixel between its two neighbours; position is in 1/unit of a pixel."""
    inside = ops.clip(position, 0, (length - 1) * unit)
    distance = ops.cast(ops.absolute(pixels * unit - inside), "float32")
    return ops.maximum(1 - distance / ops.cast(unit, "float32"), 0)


def _overlaps(places: Tensor, pixels: Tensor, size: int, length: Tensor) -> Tensor:
    """Weigh each input pixel by the part of the output pixel that it covers."""
    end = ops.minimum((places + 1) * length, (pixels + 1) * size)
    start = ops.maximum(places * length, pixels * size)
    return ops.cast(ops.maximum(end - start, 0), "float32") / ops.cast(length, "float32")


def _cubic(position: Tensor, pixels: Tensor, unit: int, length: Tensor) -> Tensor:
    """Weigh four neighbours by the cubic of OpenCV (a = -0.75); the border's pixels continue beyond it."""
    first = (position + unit) // unit - 1  # position is above -unit
    x = ops.cast(position - first * unit, "float32") / unit
    a = -0.75
    before = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    here = ((a + 2) * x - (a + 3)) * x * x + 1
    after = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
    total = 0.0
    for step, weight in ((-1, before), (0, here), (1, after), (2, 1 - before - here - after)):
        at = ops.clip(first + step, 0, length - 1)
        total = total + ops.cast(ops.equal(pixels, at), "float32") * weight
    return total
