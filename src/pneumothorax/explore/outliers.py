"""Outliers of a set of images: one pass over a cache, then the images that differ from the others.

An image is compared with its own set: a turned or inverted image is unlike the mean of all images, but like
that mean turned or inverted. Knows of no annotation; duplicates are found in `duplicates`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data.plausibility import is_flat, without_borders

SIDE = 64  # pixels, side of the images that are compared
DARK, BRIGHT = 50.0, 190.0  # mean grey levels of 0-255; of 3,205 real images 5 and 2 are beyond
LEAST = 20  # images, so that their mean is typical
# Limits by the correlation with the set's mean. Of 3,205 real images 3 are found, all rightly; of the same
# images turned by a quarter 92 %, upside down 97 %.
TURNED = 0.4  # minimal gain in correlation when turned
INVERTED = 0.3  # minimal correlation when inverted
DOUBT = 0.1  # maximal distance below the best turn: upside down looks a little inverted
TURNS = ("", "turned by a quarter to the left", "upside down", "turned by a quarter to the right")

Images = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Survey:
    """Statistics of N images.

    Attributes:
        small: uint8 array of shape (N, SIDE, SIDE).
        mean: float64 array of shape (N,), grey levels 0-255.
        deviation: float64 array of shape (N,), standard deviation of the grey levels.
        flat: bool array of shape (N,): nearly of one grey.
        first: int64 array of shape (N,): row of the first image with the same pixels, mostly its own.
    """

    small: Images
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]
    flat: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]


class Odd(NamedTuple):
    """One outlier: its row, the reason, and the measure."""

    row: int
    reason: str
    measure: str


def survey_images(parts: Sequence[Images]) -> Survey:
    """Compute the statistics of each image in one pass.

    Args:
        parts: uint8 arrays of shape (n, S, S), which may be memory-mapped; their rows are counted through.
    """
    number = sum(map(len, parts))
    small = np.empty((number, SIDE, SIDE), np.uint8)
    levels = np.empty((number, 2))
    flat, first = np.empty(number, bool), np.empty(number, np.int64)
    seen: dict[bytes, int] = {}
    images = (image for part in parts for image in part)
    for row, image in enumerate(tqdm(images, "look at images", number, unit="image", disable=None)):
        small[row] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        levels[row] = [float(value[0, 0]) for value in cv2.meanStdDev(image)]
        flat[row] = is_flat(image)
        first[row] = seen.setdefault(hashlib.blake2b(image.tobytes()).digest(), row)
    return Survey(small, levels[:, 0], levels[:, 1], flat, first)


def standardise(images: Images, side: int) -> Vectors:
    """Shrink and normalise images, so that their products are correlations.

    Args:
        images: uint8 array of shape (N, H, W).
        side: Side of the shrunk images in pixels.

    Returns:
        float32 array of shape (N, side * side), each row of mean 0 and length 1; of one grey, all zeros.
    """
    vectors = np.empty((len(images), side * side), np.float32)
    for row, image in enumerate(images):
        vectors[row] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).ravel()
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors


def find_odd(survey: Survey) -> list[Odd]:
    """Find outliers, by reason: nearly flat, dark, bright, turned, inverted.

    Turned and inverted images are found only in sets of `LEAST` images or more.
    """
    flat = np.flatnonzero(survey.flat)
    found = [Odd(int(row), "nearly flat", f"standard deviation {survey.deviation[row]:.1f}") for row in flat]
    for reason, rows in (
        ("dark", np.flatnonzero(survey.mean < DARK)),
        ("bright", np.flatnonzero(survey.mean > BRIGHT)),
    ):
        found += [Odd(int(row), reason, f"mean grey {survey.mean[row]:.0f} of 255") for row in rows]
    rows = np.flatnonzero(~survey.flat)
    return found + (_find_turned(survey.small[rows], rows) if len(rows) >= LEAST else [])


def _find_turned(small: Images, rows: npt.NDArray[np.int64]) -> list[Odd]:
    """Find turned or inverted images, the clearest first; rows number them."""
    side = SIDE // 2
    vectors = standardise(np.stack([without_borders(image) for image in small]), side)
    mean = vectors.mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-6)
    turned = [np.rot90(mean.reshape(side, side), quarter).ravel() for quarter in range(len(TURNS))]
    alike = vectors @ np.stack(turned, axis=1)  # (N, 4)
    best, upright = alike.max(axis=1), alike[:, 0]
    inverted = (-upright >= INVERTED) & (-upright > best - DOUBT)
    odd = inverted | (best - upright > TURNED)
    order = np.argsort(upright - best)
    return [
        Odd(
            int(rows[at]),
            "inverted grey levels" if inverted[at] else TURNS[alike[at].argmax()],
            f"likeness to the mean image {-upright[at] if inverted[at] else best[at]:.2f} so, "
            f"{upright[at]:.2f} as it is",
        )
        for at in order[odd[order]]
    ]
