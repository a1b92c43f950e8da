"""Probability -> mask at full size, and the search for the rule that scores best.

Probabilities are upsampled first and cut then, so every area is in pixels at 1024x1024. The rule: a mask is
where the probability exceeds `threshold`; a mask of fewer than `min_area` pixels becomes empty. An image of
another size is decided at its own, with the area in proportion.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.errors import UserError
from pneumothorax.inference.predictions import STEPS, Predictions
from pneumothorax.model.metrics import dice
from pneumothorax.workspace import write_text

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
MIN_AREAS = np.array(
    [0, 50, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800, 19200, 25600, 38400, 51200]
)  # pixels


@dataclass(frozen=True)
class Decision:
    """How a probability becomes a mask.

    Attributes:
        threshold: A pixel is foreground above this probability.
        min_area: A mask of fewer pixels, at 1024x1024, becomes empty.
        score: Mean Dice that the rule earned on the out-of-fold images it was chosen on, or None.
        all_empty: What leaving every one of them empty would have scored, or None.
        images: How many images it was chosen on.
    """

    threshold: float = 0.5
    min_area: int = 0
    score: float | None = None
    all_empty: float | None = None
    images: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UserError(f"threshold {self.threshold}", "a probability from 0 to 1")
        if self.min_area < 0:
            raise UserError(f"min_area {self.min_area}", "0 or more pixels at 1024x1024")


@dataclass(frozen=True)
class Counts:
    """Pixels at full size, counted once for every threshold; all rules are scored from these.

    Attributes:
        area: int64 array of shape (N, T): pixels above each threshold.
        overlap: int64 array of shape (N, T): those of them inside the true mask.
        truth: int64 array of shape (N,): pixels of the true mask.
    """

    area: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]


def upsample(
    probability: npt.NDArray[np.uint8], shape: tuple[int, int] = rle.SHAPE
) -> npt.NDArray[np.float32]:
    """Bring a stored probability to full size, by bilinear interpolation.

    Args:
        probability: uint8 array of shape (S, S), values 255 p.
        shape: (H, W) in pixels.

    Returns:
        float32 array of shape (H, W), values 0 to 255 (not rounded).
    """
    full = cv2.resize(probability.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return full.astype(np.float32, copy=False)


def decide(
    probability: npt.NDArray[np.uint8], decision: Decision, shape: tuple[int, int] = rle.SHAPE
) -> npt.NDArray[np.bool_]:
    """Turn a stored probability into a mask at full size.

    Args:
        probability: uint8 array of shape (S, S), values 255 p.
        decision: The rule.
        shape: (H, W) of the mask in pixels.

    Returns:
        bool array of shape (H, W).
    """
    cut = decision.threshold * STEPS
    if probability.max(initial=0) <= cut:  # interpolation stays between its neighbours
        return np.zeros(shape, dtype=bool)
    mask = upsample(probability, shape) > cut
    if np.count_nonzero(mask) * math.prod(rle.SHAPE) < decision.min_area * math.prod(shape):
        return np.zeros(shape, dtype=bool)
    return mask


def encode_all(predictions: Predictions, decision: Decision) -> Iterator[tuple[str, str]]:
    """Decide on every image; yield its ImageId and run-length text.

    Raises:
        UserError: An image is not of the competition's size.
    """
    sizes = predictions.studies[["height", "width"]].to_numpy()
    if (strange := (sizes != rle.SHAPE).any(axis=1)).any():
        row = int(strange.argmax())
        name, found = predictions.studies["ImageId"].iloc[row], "x".join(map(str, sizes[row]))
        raise UserError(f"image {name} of {found} pixels", "the competition's 1024x1024")
    ids = tqdm(predictions.studies["ImageId"], desc="decide", unit="image")
    for image_id, probability in zip(ids, predictions.probabilities, strict=True):
        yield image_id, rle.encode(decide(probability, decision))


def count(predictions: Predictions, thresholds: npt.NDArray[np.float64] = THRESHOLDS) -> Counts:
    """Upsample each probability once and count its pixels above every threshold, at 1024x1024.

    Args:
        predictions: With the truth in EncodedPixels, at the size that height and width tell.
        thresholds: Shape (T,), rising.
    """
    number = len(predictions.studies)
    area, overlap = np.zeros((2, number, len(thresholds)), dtype=np.int64)
    truth = np.zeros(number, dtype=np.int64)
    edges = np.append(thresholds * STEPS, np.inf).astype(np.float32)
    columns = predictions.studies[["EncodedPixels", "height", "width"]].itertuples(index=False, name=None)
    for row, (code, *shape) in enumerate(tqdm(columns, "count", number, unit="image", disable=None)):
        above = upsample(predictions.probabilities[row])
        candidates = above > edges[0]
        area[row] = _above(above[candidates], edges)
        if code != rle.EMPTY:
            mask = _true_mask(code, (shape[0], shape[1]))
            truth[row] = np.count_nonzero(mask)
            overlap[row] = _above(above[mask & candidates], edges)
    return Counts(area, overlap, truth)


def _true_mask(code: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Draw the truth of an image of some shape at 1024x1024."""
    mask = rle.decode(code, shape)
    if shape != rle.SHAPE:
        mask = cv2.resize(mask, rle.SHAPE[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    return mask.astype(bool)


def _above(values: npt.NDArray[np.float32], edges: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count the values above each edge but the last."""
    bins = np.bincount(np.searchsorted(edges[:-1], values, side="left"), minlength=len(edges))
    return bins[::-1].cumsum()[::-1][1:]


def scores(counts: Counts, min_areas: npt.NDArray[np.int64] = MIN_AREAS) -> npt.NDArray[np.float64]:
    """Score every rule on every image.

    Returns:
        float64 array of shape (A, T, N): the Dice of each image under each minimum area and threshold.
    """
    kept = counts.area[None] >= np.maximum(min_areas, 1)[:, None, None]  # (A, N, T)
    each = dice(counts.overlap * kept, counts.truth[None, :, None], counts.area * kept)
    return each.transpose(0, 2, 1)


def tune(parts: list[Predictions]) -> Decision:
    """Choose threshold and minimum area by the competition's metric on out-of-fold probabilities.

    Of rules that score the same the one with the smaller area wins, then the one with the threshold nearer
    to 0.5. The score is that of the images it was chosen on, and so a little too high.

    Args:
        parts: Out-of-fold probabilities of one or more folds, with the truth in EncodedPixels.
    """
    counted = [count(part) for part in parts]
    counts = Counts(
        np.concatenate([part.area for part in counted]),
        np.concatenate([part.overlap for part in counted]),
        np.concatenate([part.truth for part in counted]),
    )
    table = scores(counts).mean(axis=2)  # (A, T)
    order = np.argsort(np.abs(THRESHOLDS - 0.5), kind="stable")
    area, place = np.unravel_index(table[:, order].argmax(), table.shape)
    return Decision(
        threshold=float(THRESHOLDS[order[place]]),
        min_area=int(MIN_AREAS[area]),
        score=float(table[area, order[place]]),
        all_empty=float((counts.truth == 0).mean()),
        images=len(counts.truth),
    )


def write_decision(path: Path, decision: Decision) -> None:
    """Write a decision as JSON; the inverse of `read_decision`."""
    write_text(path, json.dumps(asdict(decision), indent=2) + "\n")


def read_decision(path: Path) -> Decision:
    """Read a decision; the default where `tune` has not run. The inverse of `write_decision`.

    Raises:
        UserError: The file is damaged.
    """
    if not path.is_file():
        return Decision()
    try:
        return Decision(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{path} is no decision ({error})", "the output of `pneumothorax tune`") from None
