"""The paper's Table 1 for a trained fold: total and mean Dice, soft at network size and hard at 1024x1024.

Next to it, how well the fold separates images with a pneumothorax from those without.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from pneumothorax.data import rle
from pneumothorax.data.cache import shrink
from pneumothorax.data.laterality import side_of
from pneumothorax.inference.classification import Screening, describe, image_scores, screen
from pneumothorax.inference.decision import decide, image_probabilities, upsample
from pneumothorax.inference.pixel_counts import (
    THRESHOLDS,
    Counts,
    Flags,
    Integers,
    at_full_size,
    count_above,
    true_codes,
)
from pneumothorax.inference.predictions import STEPS, Floats, Maps, Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.metric import dice, soft_dice, soft_sums, total_dice

PAPER = {"total": 0.3785, "mean": 0.3003}


@dataclass(frozen=True)
class Scores:
    """Scores of a fold on one part; every Dice is in [0, 1], or None without an image.

    Attributes:
        images: Number of images.
        positives: Number of them with a pneumothorax.
        soft_total: Soft Dice of all positives as one image, at network size (the paper's).
        soft_mean: Mean soft Dice of the positives, at network size (the paper's).
        hard_total: Dice of the positives' masks as one image, at 1024x1024, cut at 0.5.
        hard_mean: Mean Dice of the positives' masks, at 1024x1024, cut at 0.5.
        metric: The competition's metric over all images, at 1024x1024, cut at 0.5.
        all_empty: Score of leaving every image empty.
        auc: Area under the ROC curve of the images' scores; see `Screening`.
        sensitivity: Share of the positives whose mask, cut at 0.5, is not empty.
        specificity: Share of the others whose mask is empty.
    """

    images: int
    positives: int
    soft_total: float | None
    soft_mean: float | None
    hard_total: float | None
    hard_mean: float | None
    metric: float
    all_empty: float
    auc: float | None
    sensitivity: float | None
    specificity: float | None


@dataclass(frozen=True)
class Measures:
    """Counts of N images by one rule, from one pass over their probabilities and true masks.

    Attributes:
        thresholds: Float array of shape (T,).
        counts: Pixels above each threshold, at 1024x1024.
        overlap: int64 of shape (N,): pixels in the rule's mask and in the true mask, at 1024x1024.
        area: int64 of shape (N,): pixels in the rule's mask.
        soft: float64 of shape (N, 2): sum(y p) and sum y + sum p at network size (see `metric.soft_sums`); 0
            where the true mask is empty.
        sides: Patient's side of each true mask; where it is empty, of the rule's mask.
        pixels: float64 of shape (256, 2): pixels at network size by their stored probability, and the part of
            them that is pneumothorax.
    """

    thresholds: Floats
    counts: Counts
    overlap: Integers
    area: Integers
    soft: Floats
    sides: list[str]
    pixels: Floats


def evaluate(predictions: Predictions, interpolation: str, smooth: float) -> Scores:
    """Score probabilities against the truth, cut at 0.5.

    Args:
        predictions: Probabilities of N studies, 1 or more, and their true run-length codes.
        interpolation: Method that resized the images to network size; the soft masks are resized by it too.
        smooth: Smoothing term of the soft Dice, in pixels.
    """
    rule = Rule()
    measures = measure([predictions], rule, interpolation, np.array([rule.threshold]))
    return score([predictions], measures, smooth)


def measure(
    parts: Sequence[Predictions], rule: Rule, interpolation: str, thresholds: Floats = THRESHOLDS
) -> Measures:
    """Count and decide every image in one pass; each true mask is decoded once.

    Args:
        parts: Probabilities of N images together, all with a classification head or none.
        rule: Decision rule.
        interpolation: See `evaluate`.
        thresholds: Shape (T,), rising.

    Raises:
        UserError: The rule has a classification threshold and the parts have no classification head.
    """
    rows, soft, pixels = [], [], np.zeros((STEPS + 1, 2))
    number = sum(len(part.studies) for part in parts)
    with tqdm(total=number, desc="evaluate", unit="image", disable=None) as bar:
        for part in parts:
            images = zip(part.probabilities, true_codes(part), image_probabilities(part, rule), strict=True)
            for probability, (code, shape), image_score in images:
                mask = None if code == rle.EMPTY else rle.decode(code, shape)
                found = decide(probability, rule, image_probability=image_score)
                # Interpolation stays between its neighbours. The map lives until the next, as freeing 4 MB
                # takes as long as counting.
                is_counted = probability.max(initial=0) > thresholds[0] * STEPS
                full = upsample(probability) if is_counted else None
                rows.append(_measure_full_size(full, mask, found, thresholds))
                soft.append(_measure_network_size(probability, mask, interpolation, pixels))
                bar.update()
    above, inside, truth, overlap, area, sides = zip(*rows, strict=True)
    image_probability = [part.image_probability for part in parts if part.image_probability is not None]
    counts = Counts(
        np.array(above),
        np.array(inside),
        np.array(truth, np.int64),
        np.concatenate(image_probability) if image_probability else None,
    )
    return Measures(
        thresholds,
        counts,
        np.array(overlap, np.int64),
        np.array(area, np.int64),
        np.array(soft),
        list(sides),
        pixels,
    )


def score(parts: Sequence[Predictions], measures: Measures, smooth: float) -> Scores:
    """Return the paper's measures and the image-level ones, cut at 0.5.

    Args:
        parts: Probabilities of N images together, 1 or more.
        measures: What `measure` returns of them; 0.5 is among its thresholds.
        smooth: Smoothing term of the soft Dice, in pixels.
    """
    counts = measures.counts
    half = int(np.abs(measures.thresholds - Rule().threshold).argmin())
    area, overlap, truth = counts.area[:, half], counts.overlap[:, half], counts.truth
    positive, hard = truth > 0, dice(overlap, truth, area)
    sums = measures.soft[positive]
    scores = np.concatenate([image_scores(part) for part in parts])
    return Scores(
        images=len(positive),
        positives=len(sums),
        soft_total=float(soft_dice(sums[:, 0].sum(), sums[:, 1].sum(), smooth)) if len(sums) else None,
        soft_mean=_mean(soft_dice(sums[:, 0], sums[:, 1], smooth)),
        hard_total=total_dice(overlap[positive], truth[positive], area[positive]) if len(sums) else None,
        hard_mean=_mean(hard[positive]),
        metric=float(hard.mean()),
        all_empty=float((~positive).mean()),
        **asdict(screen(positive, scores, area > 0)),
    )


def _measure_full_size(
    probability: npt.NDArray[np.float32] | None, mask: rle.Mask | None, found: Flags, thresholds: Floats
) -> tuple[Integers, Integers, int, int, int, str]:
    """Return one image's row of `Measures`, at 1024x1024: counts, truth, overlap, area and side.

    The probability is None where no pixel exceeds the least threshold.
    """
    truth = None if mask is None else at_full_size(mask)
    if probability is None:
        above = inside = np.zeros(len(thresholds), np.int64)
    else:
        above, inside = count_above(probability, truth, thresholds)
    pixels, overlap = (0, 0) if truth is None else map(np.count_nonzero, (truth, found & truth))
    area = int(np.count_nonzero(found))
    side = side_of(mask) if mask is not None else side_of(found) if area else ""
    return above, inside, int(pixels), int(overlap), area, side


def _measure_network_size(
    probability: Maps, mask: rle.Mask | None, interpolation: str, pixels: Floats
) -> tuple[float, float]:
    """Return one image's row of `Measures.soft`, and add it to `Measures.pixels`."""
    pixels[:, 0] += np.bincount(probability.ravel(), minlength=STEPS + 1)
    if mask is None:
        return 0.0, 0.0
    p = probability.astype(np.float32) / STEPS
    y = shrink(mask * np.uint8(255), len(probability), interpolation).astype(np.float32) / 255
    pixels[:, 1] += np.bincount(probability.ravel(), y.ravel(), STEPS + 1)
    return soft_sums(y, p)


def table_1(scores: Scores, part: str) -> str:
    """Write the scores beside the paper's, for a person to read."""
    return "\n".join(
        (
            f"{part}: {scores.positives} positives of {scores.images} images",
            f"{'Dice on positives':<28}{'total':>9}{'mean':>9}",
            _row("soft, at network size", scores.soft_total, scores.soft_mean),
            _row("hard, at 1024x1024", scores.hard_total, scores.hard_mean),
            _row("the paper (2019), soft", PAPER["total"], PAPER["mean"]),
            f"competition metric at a cut of 0.5: {scores.metric:.4f} (all-empty: {scores.all_empty:.4f})",
            "image by image, at a cut of 0.5: "
            + describe(Screening(scores.auc, scores.sensitivity, scores.specificity)),
        )
    )


def _row(name: str, *values: float | None) -> str:
    return f"{name:<28}" + "".join(f"{'-' if value is None else f'{value:.2%}':>9}" for value in values)


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
