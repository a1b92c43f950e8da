"""Metrics of an epoch: Dice of the images, soft, hard and balanced; AUC of the classification head.

Means over images at network size; sums are divided once, at the end of the epoch.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from pneumothorax.model.losses import PIXELS, soft_dice
from pneumothorax.recipe import Recipe

Tensor = Any
MASK_SCORES = ("mean_dice", "hard_dice", "balanced_dice")


def hard_dice(truth: Tensor, probability: Tensor) -> Tensor:
    """Return the Dice of each image's mask, both cut at 0.5; 1 if both are empty, shape (N,)."""
    mask, found = (ops.cast(values > 0.5, "float32") for values in (truth, probability))
    areas = ops.sum(mask, axis=PIXELS) + ops.sum(found, axis=PIXELS)
    overlap = ops.sum(mask * found, axis=PIXELS)
    return ops.where(areas > 0, 2.0 * overlap / ops.maximum(areas, 1.0), 1.0)


class BalancedDice(keras.metrics.Metric):
    """The mean hard Dice of the positives and that of the negatives, each half.

    A network that leaves every image empty scores one half, and so does one that finds every lesion and
    marks every healthy image; the mean over all images would give the first four fifths, and pick it while
    little is learnt. An image is positive if its mask is not empty. If one kind is missing, the other alone
    counts.
    """

    def __init__(self, name: str = "balanced_dice") -> None:
        super().__init__(name=name)
        self.sums = self.add_variable((2,), "zeros", name="sums")
        self.counts = self.add_variable((2,), "zeros", name="counts")

    def update_state(self, truth: Tensor, probability: Tensor, sample_weight: Tensor | None = None) -> None:
        """Add the images of a batch."""
        mask = truth[..., :1]
        positive = ops.cast(ops.max(mask, axis=PIXELS) > 0.5, "float32")
        kinds = ops.stack([positive, 1.0 - positive])  # (2, N)
        if sample_weight is not None:
            kinds = kinds * ops.cast(sample_weight, "float32")
        self.sums.assign_add(ops.sum(kinds * hard_dice(mask, probability), axis=1))
        self.counts.assign_add(ops.sum(kinds, axis=1))

    def result(self) -> Tensor:
        """Return the mean over the kinds present."""
        there = ops.cast(self.counts > 0, "float32")
        return ops.sum(self.sums / ops.maximum(self.counts, 1.0)) / ops.maximum(ops.sum(there), 1.0)


def find_metrics(recipe: Recipe) -> Any:
    """Return the recipe's weighted metrics for `compile`: a list, or one for each output by its name."""
    masks = [
        keras.metrics.MeanMetricWrapper(_of_mask(partial(soft_dice, smooth=recipe.smooth)), name="mean_dice"),
        keras.metrics.MeanMetricWrapper(_of_mask(hard_dice), name="hard_dice"),
        BalancedDice(),
    ]
    if not recipe.classification_head:
        return masks
    return {"probability": masks, "classification": [keras.metrics.AUC(name="auc")]}


def plain_names(logs: dict[str, float]) -> dict[str, float]:
    """Return Keras' logs with the names of a network without a classification head.

    Keras puts the output's name before a score's when there is more than one output.
    """
    names = {f"{part}probability_{name}": f"{part}{name}" for part in ("", "val_") for name in MASK_SCORES}
    return {names.get(name, name): value for name, value in logs.items()}


def _of_mask(function: Any) -> Any:
    """Return a score of the mask alone, without boundary's channel; finite for a `FILLED` image."""
    return lambda truth, probability: function(ops.maximum(truth[..., :1], 0.0), probability)
