"""Plausibility of a chest image, by its pixels alone: nearly flat, or unlike a frontal chest.

Cheap (it works on 64x64 pixels) and coarse: passing is no proof of a chest radiograph. The
limits are measured; docs/segment.md gives their error rates. Knows of no file and no network.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

FLAT = 12.0  # least standard deviation of the grey levels
LIKENESS, LUNGS, BASE = 0.2, 0.1, 0.2  # least values of `Measures`
LONGEST = 2.0  # longer side of a chest by its shorter one
SIDE = 64  # pixels of the reduced image
LIT, LIT_SHARE = 20, 0.35  # a row or column belongs to the image if this share of its pixels is brighter

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Measures(NamedTuple):
    """Features of a frontal chest radiograph, each higher for more likeness.

    Attributes:
        likeness: Correlation with a drawing of one, from -1 to 1: dark lungs next to a bright middle, bright
            below, dark above the shoulders.
        lungs: Standard deviations by which the middle is brighter than the darkest column of the
            brighter lung.
        base: Standard deviations by which the belly is brighter than the chest.
    """

    likeness: float
    lungs: float
    base: float


def is_flat(image: Image) -> bool:
    """Return whether an image, uint8 of any shape (H, W), is nearly of one grey."""
    return float(cv2.meanStdDev(image)[1][0, 0]) < FLAT


def looks_like_chest(image: Image) -> bool:
    """Return whether an image may be a frontal chest radiograph, upright and with bright bones.

    Args:
        image: uint8 array of shape (H, W); stretching it to a square does not change the answer, except that
            images twice as long as wide are refused.
    """
    if max(image.shape) > LONGEST * min(image.shape):
        return False
    found = measure_chest(image)
    return found.likeness >= LIKENESS and found.lungs >= LUNGS and found.base >= BASE


def measure_chest(image: Image) -> Measures:
    """Measure the likeness of an image, uint8 of shape (H, W), to a frontal chest radiograph."""
    seen = without_borders(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8))
    small = cv2.resize(seen.astype(np.float32), (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    small = ((small - small.mean()) / max(float(small.std()), 1e-6)).astype(np.float32)
    # The darkest column of each lung against the brightest of the middle, in the band with the best contrast.
    sides = ((0.18, 0.42), (0.58, 0.82))
    bands = [_part(small, rows, (0, 1)).mean(axis=0) for rows in ((0.2, 0.35), (0.3, 0.45), (0.4, 0.55))]
    middles = [_part(band[None], (0, 1), (0.38, 0.62)).max() for band in bands]
    depths = [
        max(
            middle - _part(band[None], (0, 1), side).min()
            for band, middle in zip(bands, middles, strict=True)
        )
        for side in sides
    ]
    base = _part(small, (0.7, 1), (0.3, 0.7)).mean() - _part(small, (0.2, 0.5), (0.2, 0.8)).mean()
    return Measures(float((small * _DRAWING).mean()), float(min(depths)), float(base))


def _part(image: Floats, rows: tuple[float, float], columns: tuple[float, float]) -> Floats:
    """Return a part of an image, its ends given as shares of height and width."""
    height, width = image.shape
    (top, bottom), (left, right) = rows, columns
    return image[int(top * height) : max(int(bottom * height), 1), int(left * width) : int(right * width)]


def without_borders(image: Image) -> Image:
    """Cut off the dark rows and columns that a collimator left around an image."""
    lit = image > LIT
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > LIT_SHARE) for axis in (1, 0))
    if min(len(rows), len(columns)) < SIDE // 4:
        return image
    inner = np.ascontiguousarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return cv2.resize(inner, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _draw_chest(side: int) -> Floats:
    """Draw the common shape of frontal radiographs, float32 of shape (side, side), mean 0, variance 1."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side

    def bump(at: np.ndarray, centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((at - centre) / width) ** 2)

    lungs = (bump(x, 0.3, 0.1) + bump(x, 0.7, 0.1)) * bump(y, 0.38, 0.2)
    spine, belly = bump(x, 0.5, 0.1), np.clip((y - 0.5) / 0.3, 0, 1) * bump(x, 0.5, 0.3)
    corners = bump(y, 0, 0.08) * (1 - spine)
    drawn = 1.2 * spine - 1.5 * lungs + 1.6 * belly - 1.2 * corners
    return ((drawn - drawn.mean()) / drawn.std()).astype(np.float32)


_DRAWING = _draw_chest(SIDE // 2)
