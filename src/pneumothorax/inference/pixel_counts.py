"""Probabilities and truth -> pixels, counted once at 1024x1024: all that the search for a rule needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.inference.decision import decide, image_probabilities, upsample
from pneumothorax.inference.predictions import STEPS, Floats, Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.metric import dice

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """Pixels at full size, counted once for every threshold; all rules are scored from these.

    Attributes:
        area: int64 array of shape (N, T): pixels above each threshold.
        overlap: int64 array of shape (N, T): those of them inside the true mask.
        truth: int64 array of shape (N,): pixels of the true mask.
        image_probability: float64 array of shape (N,), the probability of a pneumothorax; None where it is
        not told.
    """

    area: Integers
    overlap: Integers
    truth: Integers
    image_probability: Floats | None = None

    def take(self, rows: Flags | Integers) -> "Counts":
        """Return the counts of some images."""
        image_probability = None if self.image_probability is None else self.image_probability[rows]
        return Counts(self.area[rows], self.overlap[rows], self.truth[rows], image_probability)


def join(counts: Sequence[Counts]) -> Counts:
    """Return the counts of all images together; all of them have a classification head, or none."""
    area, overlap, truth = (
        np.concatenate([getattr(one, name) for one in counts]) for name in ("area", "overlap", "truth")
    )
    image_probability = [one.image_probability for one in counts if one.image_probability is not None]
    return Counts(area, overlap, truth, np.concatenate(image_probability) if image_probability else None)


@dataclass(frozen=True)
class Components:
    """The connected components of all images' masks at one threshold.

    Attributes:
        image: int64 array of shape (P,): whose.
        area: int64 array of shape (P,): pixels.
        overlap: int64 array of shape (P,): pixels inside the true mask.
    """

    image: Integers
    area: Integers
    overlap: Integers


def count(predictions: Predictions, thresholds: Floats = THRESHOLDS) -> Counts:
    """Upsample each probability once and count its pixels above every threshold, at 1024x1024.

    Args:
        predictions: With the truth in EncodedPixels, at the size that height and width tell.
        thresholds: Shape (T,), rising.
    """
    number = len(predictions.studies)
    area, overlap = np.zeros((2, number, len(thresholds)), dtype=np.int64)
    truth = np.zeros(number, dtype=np.int64)
    edges = np.append(thresholds * STEPS, np.inf).astype(np.float32)
    for row, mask in enumerate(tqdm(true_masks(predictions), "count", number, unit="image", disable=None)):
        above = upsample(predictions.probabilities[row])
        candidates = above > edges[0]
        area[row] = _above(above[candidates], edges)
        if mask is not None:
            truth[row] = np.count_nonzero(mask)
            overlap[row] = _above(above[mask & candidates], edges)
    return Counts(area, overlap, truth, predictions.image_probability)


def find_components(parts: Sequence[Predictions], threshold: float, wanted: Flags) -> Components:
    """Find the connected components of some images' masks.

    Args:
        parts: Probabilities of N images together.
        threshold: Where they are cut.
        wanted: Shape (N,): which of them; the others have no component.
    """
    found = [(np.zeros(0, np.int64),) * 3]
    images = ((probability, mask) for part in parts for probability, mask in _with_truth(part))
    for image, (probability, truth) in enumerate(
        tqdm(images, "components", len(wanted), unit="image", disable=None)
    ):
        if not wanted[image]:
            continue
        mask = (upsample(probability) > threshold * STEPS).astype(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        if not width:  # OpenCV's search for components crashes on an empty box
            continue
        box = (slice(top, top + height), slice(left, left + width))
        number, labels, stats, _ = cv2.connectedComponentsWithStats(mask[box], connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
        inside = np.zeros(number, np.int64)
        if truth is not None:
            inside = np.bincount(labels[truth[box]], minlength=number)
        found.append((np.full(number - 1, image, np.int64), areas, inside[1:]))
    return Components(*map(np.concatenate, zip(*found, strict=True)))


def measure_masks(predictions: Predictions, rule: Rule) -> tuple[Integers, Integers, Integers]:
    """Decide on every image at 1024x1024 and count the pixels of the masks.

    Returns:
        Pixels in both masks, in the true mask and in the predicted mask, each int64 of shape (N,).
    """
    each = []
    images = zip(_with_truth(predictions), image_probabilities(predictions, rule), strict=True)
    for (probability, truth), image_probability in tqdm(
        images, "decide", len(predictions.studies), unit="image", disable=None
    ):
        mask = decide(probability, rule, image_probability=image_probability)
        true = np.zeros_like(mask) if truth is None else truth
        each.append(tuple(map(np.count_nonzero, (mask & true, true, mask))))
    overlap, truths, areas = np.array(each, dtype=np.int64).reshape(-1, 3).T
    return overlap, truths, areas


def judge(predictions: Predictions, rule: Rule) -> Floats:
    """Decide on every image at 1024x1024 and return its Dice, float64 of shape (N,)."""
    return dice(*measure_masks(predictions, rule))


def _with_truth(predictions: Predictions) -> Iterator[tuple[npt.NDArray[np.uint8], Flags | None]]:
    return zip(predictions.probabilities, true_masks(predictions), strict=True)


def true_masks(predictions: Predictions) -> Iterator[Flags | None]:
    """Draw the truth of each image at 1024x1024; None where it is empty."""
    columns = predictions.studies[["EncodedPixels", "height", "width"]]
    for code, height, width in columns.itertuples(index=False, name=None):
        yield true_mask(code, (height, width))


def true_mask(code: str, shape: tuple[int, int]) -> Flags | None:
    """Draw a true mask at 1024x1024, bool of that shape; None where it is empty.

    Args:
        code: Run-length code.
        shape: (H, W) that the code has.
    """
    if code == rle.EMPTY:
        return None
    mask = rle.decode(code, shape)
    if mask.shape != rle.SHAPE:
        mask = cv2.resize(mask, rle.SHAPE[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    return mask.astype(bool)


def _above(values: npt.NDArray[np.float32], edges: npt.NDArray[np.float32]) -> Integers:
    """Count the values above each edge but the last."""
    bins = np.bincount(np.searchsorted(edges[:-1], values, side="left"), minlength=len(edges))
    return np.asarray(bins[::-1].cumsum()[::-1][1:], dtype=np.int64)
