"""Strokes for layers of brightness at a fraction of the image's size; it knows nothing of chests."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.phantom.thorax import Points

Image = npt.NDArray[np.uint8]
Layer = npt.NDArray[Any]  # float32 brightness, about [0, 1]


def fixed(outline: Points, shrink: int) -> npt.NDArray[np.int32]:
    """Return points at a fraction of the size, in OpenCV's sixteenths of a pixel."""
    return np.round(((outline + 0.5) / shrink - 0.5) * 16).astype(np.int32)


def paint(outlines: Sequence[Points], size: int, shrink: int) -> Layer:
    """Fill outlines with 1 on a layer of side size / shrink."""
    canvas = np.zeros((size // shrink, size // shrink), dtype=np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [fixed(outline, shrink)], 255, cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def trace(lines: Sequence[Points], size: int, shrink: int, width: float, *, closed: bool = False) -> Layer:
    """Draw lines with 1 on a layer of side size / shrink, `width` of its own pixels wide."""
    canvas = np.zeros((size // shrink, size // shrink), dtype=np.uint8)
    steps = [fixed(line, shrink) for line in lines]
    cv2.polylines(canvas, steps, closed, 255, max(1, round(width)), cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def blur(layer: Layer, sigma: float) -> Layer:
    """Blur by a Gaussian of `sigma` of the layer's own pixels."""
    return cv2.GaussianBlur(layer, (0, 0), max(sigma, 0.3))


def enlarge(layer: Layer, size: int) -> Layer:
    """Enlarge a layer to half the size."""
    return cv2.resize(layer, (size // 2, size // 2), interpolation=cv2.INTER_LINEAR)


def noise(rng: np.random.Generator, side: int, cells: int) -> Layer:
    """Draw smooth noise of standard deviation near 1 with about `cells` humps along a side."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
