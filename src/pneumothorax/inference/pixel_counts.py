"""Probabilities and truth -> pixels, counted once at 1024x1024: all that the search for a rule needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.data.columns import TRUTH
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
        image_probability: float64 array of shape (N,), the image-level probability; None without a
        classification head.
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
        predictions: With the truth in EncodedPixels, at the size of height and width.
        thresholds: Shape (T,), rising.
    """
    number = len(predictions.studies)
    area, overlap = np.zeros((2, number, len(thresholds)), dtype=np.int64)
    truth = np.zeros(number, dtype=np.int64)
    for row, code in enumerate(tqdm(true_codes(predictions), "count", number, unit="image", disable=None)):
        mask = true_mask(*code)
        full = upsample(predictions.probabilities[row])
        area[row], overlap[row] = count_above(full, mask, thresholds)
        truth[row] = 0 if mask is None else np.count_nonzero(mask)
    return Counts(area, overlap, truth, predictions.image_probability)


def find_components(parts: Sequence[Predictions], threshold: float, wanted: Flags) -> Components:
    """Find the connected components of some images' masks.

    Args:
        parts: Probabilities of N images together.
        threshold: Where they are cut.
        wanted: Shape (N,): which of them; the others have no component.
    """
    found = [(np.zeros(0, np.int64),) * 3]
    images = chain.from_iterable(zip(part.probabilities, true_codes(part), strict=True) for part in parts)
    for image, (probability, code) in enumerate(
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
        if (truth := true_mask(*code)) is not None:
            inside = np.bincount(labels[truth[box]], minlength=number)
        found.append((np.full(number - 1, image, np.int64), areas, inside[1:]))
    return Components(*map(np.concatenate, zip(*found, strict=True)))


def measure_masks(predictions: Predictions, rule: Rule) -> tuple[Integers, Integers, Integers]:
    """Decide on every image at 1024x1024 and count the pixels of the masks.

    Returns:
        Pixels in both masks, in the true mask and in the predicted mask, each int64 of shape (N,).
    """
    each = []
    scores = image_probabilities(predictions, rule)
    images = zip(predictions.probabilities, true_codes(predictions), scores, strict=True)
    for probability, code, image_probability in tqdm(
        images, "decide", len(predictions.studies), unit="image", disable=None
    ):
        truth = true_mask(*code)
        mask = decide(probability, rule, image_probability=image_probability)
        true = np.zeros_like(mask) if truth is None else truth
        each.append(tuple(map(np.count_nonzero, (mask & true, true, mask))))
    overlap, truths, areas = np.array(each, dtype=np.int64).reshape(-1, 3).T
    return overlap, truths, areas


def judge(predictions: Predictions, rule: Rule) -> Floats:
    """Decide on every image at 1024x1024 and return its Dice, float64 of shape (N,)."""
    return dice(*measure_masks(predictions, rule))


def true_codes(predictions: Predictions) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the run-length code of each image's truth and the size (H, W) that it has, for `true_mask`."""
    columns = predictions.studies[[*TRUTH]]
    return ((code, (height, width)) for code, height, width in columns.itertuples(index=False, name=None))


def true_mask(code: str, shape: tuple[int, int]) -> Flags | None:
    """Draw a true mask at 1024x1024, bool of that shape; None where it is empty.

    Args:
        code: Run-length code.
        shape: (H, W) that the code has.
    """
    return None if code == rle.EMPTY else at_full_size(rle.decode(code, shape))


def at_full_size(mask: rle.Mask) -> Flags:
    """Resize a true mask to 1024x1024, bool of that shape."""
    if mask.shape != rle.SHAPE:
        mask = cv2.resize(mask, rle.SHAPE[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    return mask.astype(bool)


def count_above(
    probability: npt.NDArray[np.float32], mask: Flags | None, thresholds: Floats = THRESHOLDS
) -> tuple[Integers, Integers]:
    """Count the pixels of one image above every threshold.

    Args:
        probability: float32 array of shape (H, W), values 0 to 255 (see `decision.upsample`).
        mask: True mask, bool array of the same shape; None where it is empty.
        thresholds: Probabilities of shape (T,), rising.

    Returns:
        Pixels above each threshold, and those of them inside the true mask; int64 arrays of shape (T,).
    """
    edges = np.append(thresholds * STEPS, np.inf).astype(np.float32)
    candidates = probability > edges[0]
    area = _above(probability[candidates], edges)
    return area, np.zeros_like(area) if mask is None else _above(probability[mask & candidates], edges)


def _above(values: npt.NDArray[np.float32], edges: npt.NDArray[np.float32]) -> Integers:
    """Count the values above each edge but the last."""
    bins = np.bincount(np.searchsorted(edges[:-1], values, side="left"), minlength=len(edges))
    return np.asarray(bins[::-1].cumsum()[::-1][1:], dtype=np.int64)
