"""Which images have a pneumothorax at all: figures of images, where the rest of the package counts pixels."""

from dataclasses import dataclass

import numpy as np

from pneumothorax.inference.pixel_counts import Flags
from pneumothorax.inference.predictions import STEPS, Floats, Predictions


@dataclass(frozen=True)
class Screening:
    """How well images with a pneumothorax are separated from those without; None if there is only one kind.

    Attributes:
        auc: Area under the ROC curve of the images' scores: how often one with a pneumothorax has the higher
            score of the two.
        sensitivity: Share of the images with a pneumothorax whose mask is not empty.
        specificity: Share of those without whose mask is empty.
    """

    auc: float | None
    sensitivity: float | None
    specificity: float | None


def image_scores(predictions: Predictions) -> Floats:
    """Return each image's score, shape (N,): its image-level probability, else its map's highest."""
    if predictions.image_probability is not None:
        return predictions.image_probability
    return np.array([part.max() for part in predictions.probabilities], np.float64) / STEPS


def screen(positive: Flags, scores: Floats, found: Flags) -> Screening:
    """Compare images with the truth.

    Args:
        positive: Which images have a pneumothorax, shape (N,).
        scores: Their `image_scores`.
        found: Whose predicted mask is not empty.
    """
    from sklearn.metrics import roc_auc_score

    return Screening(
        auc=float(roc_auc_score(positive, scores)) if positive.any() and not positive.all() else None,
        sensitivity=float(found[positive].mean()) if positive.any() else None,
        specificity=float((~found[~positive]).mean()) if not positive.all() else None,
    )


def describe(screening: Screening) -> str:
    """Write the three figures in one line, for a person to read."""
    figures = (screening.auc, screening.sensitivity, screening.specificity)
    shown = ("-" if value is None else f"{value:.4f}" for value in figures)
    return "ROC AUC {}, sensitivity {}, specificity {}".format(*shown)
