"""The paper's Table 1 for a trained fold: total and mean Dice, soft at network size and hard at 1024x1024.

Beside it, how well the fold tells images with a pneumothorax from those without.
"""

from dataclasses import asdict, dataclass

import numpy as np

from pneumothorax.inference.classification import Screening, image_scores, screen, tell
from pneumothorax.inference.pixel_counts import count
from pneumothorax.inference.predictions import STEPS, Predictions
from pneumothorax.inference.rule import Rule
from pneumothorax.metric import dice, soft_dice, total_dice

PAPER = {"total": 0.3785, "mean": 0.3003}


@dataclass(frozen=True)
class Scores:
    """What a fold reached on one part; every Dice is in [0, 1], or None without an image.

    Attributes:
        images: Number of images.
        positives: Number of them with a pneumothorax.
        soft_total: Soft Dice of all positives as one image, at network size (the paper's).
        soft_mean: Mean soft Dice of the positives, at network size (the paper's).
        hard_total: Dice of the positives' masks as one image, at 1024x1024, cut at 0.5.
        hard_mean: Mean Dice of the positives' masks, at 1024x1024, cut at 0.5.
        metric: The competition's metric over all images, at 1024x1024, cut at 0.5.
        all_empty: What leaving every image empty would score.
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


def evaluate(predictions: Predictions, masks: np.ndarray, smooth: float) -> Scores:
    """Score probabilities against the truth.

    Args:
        predictions: Probabilities of N studies, 1 or more, and their true run-length codes.
        masks: uint8 array of shape (N, S, S): the true soft masks at network size, 0-255.
        smooth: Of the soft Dice.
    """
    positive = predictions.studies["area"].to_numpy() > 0
    chosen = np.flatnonzero(positive)
    soft, total = soft_dice(
        np.asarray(masks)[chosen].astype(np.float32) / 255,
        np.asarray(predictions.probabilities)[chosen].astype(np.float32) / STEPS,
        smooth,
    )
    counts = count(predictions, np.array([Rule().threshold]))
    area, overlap, truth = counts.area[:, 0], counts.overlap[:, 0], counts.truth
    hard = dice(overlap, truth, area)
    return Scores(
        images=len(positive),
        positives=len(chosen),
        soft_total=total if len(chosen) else None,
        soft_mean=_mean(soft),
        hard_total=total_dice(overlap[chosen], truth[chosen], area[chosen]) if len(chosen) else None,
        hard_mean=_mean(hard[chosen]),
        metric=float(hard.mean()),
        all_empty=float((~positive).mean()),
        **asdict(screen(positive, image_scores(predictions), area > 0)),
    )


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
            + tell(Screening(scores.auc, scores.sensitivity, scores.specificity)),
        )
    )


def _row(name: str, *values: float | None) -> str:
    return f"{name:<28}" + "".join(f"{'-' if value is None else f'{value:.2%}':>9}" for value in values)


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
