"""Gain: the best decision rule's score over the score of leaving every image empty.

The mean Dice over all images, and any mean of positives and negatives, reward a network that finds nothing;
its gain is 0. So is that of an untrained network, for any maps. The rules are a small grid of
those that `inference.search` searches after training, at the network's own size.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from pneumothorax.model.losses import PIXELS

Tensor = Any
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MIN_AREAS = (0, 200, 800, 1600, 3200, 6400, 12800, 25600)  # pixels at 1024x1024
CLASSIFICATION = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


class Gain(keras.metrics.Metric):
    """The gain of the best rule over all-empty, in mean Dice, with its standard error; 0 if none beats it.

    A rule leaves an image empty if fewer than a least area of its pixels exceed a top threshold, or if the
    image-level probability is below a classification threshold; else its mask is all pixels above a
    threshold.
    Only sums over images are kept, one for each rule, so that batches and devices add up.

    Args:
        size: Side of the network's maps, in pixels.
        headed: Whether the network has a classification head.
    """

    def __init__(self, size: int, *, headed: bool, name: str = "gain") -> None:
        super().__init__(name=name)
        self.areas = np.maximum(np.array(MIN_AREAS) * (size / 1024) ** 2, 1).astype(np.float32)
        self.classification = np.array(CLASSIFICATION if headed else (0.0,), np.float32)
        tops = np.repeat(THRESHOLDS, len(self.areas) * len(self.classification))
        self.allowed = (tops[:, None] >= np.array(THRESHOLDS)).astype(np.float32)  # as `tune` does
        self.sums = self.add_variable(self.allowed.shape, "zeros", name="sums")
        self.squares = self.add_variable(self.allowed.shape, "zeros", name="squares")
        self.weights = self.add_variable((2,), "zeros", name="weights")  # sum and sum of squares

    def update_state(
        self,
        truth: Tensor,
        probability: Tensor,
        image_probability: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> None:
        """Add the images of a batch.

        Args:
            truth: Masks, shape (N, S, S, 1), cut at 0.5.
            probability: Maps of the same shape.
            image_probability: Image-level probability of a pneumothorax, shape (N, 1); None without a head.
            sample_weight: Weight of each image, shape (N,).
        """
        mask = ops.cast(truth[..., :1] > 0.5, "float32")
        areas, overlaps = [], []
        for threshold in THRESHOLDS:
            found = ops.cast(probability > threshold, "float32")
            areas.append(ops.sum(found, axis=PIXELS))
            overlaps.append(ops.sum(found * mask, axis=PIXELS))
        area, overlap = ops.stack(areas, axis=1), ops.stack(overlaps, axis=1)  # (N, T)
        true_area = ops.sum(mask, axis=PIXELS)[:, None]  # (N, 1)
        empty = ops.cast(true_area == 0, "float32")  # the Dice of leaving an image empty
        total = area + true_area
        dice = ops.where(total > 0, 2.0 * overlap / ops.maximum(total, 1.0), 1.0)
        kept = ops.cast(area[:, :, None] >= self.areas, "float32")  # (N, T, A)
        if image_probability is None:
            kept = kept[..., None]
        else:
            passes = ops.cast(ops.cast(image_probability, "float32") >= self.classification, "float32")
            kept = kept[..., None] * passes[:, None, None, :]  # (N, T, A, C)
        kept = ops.reshape(kept, (-1, self.sums.shape[0]))
        weight = (
            ops.ones_like(true_area[:, 0]) if sample_weight is None else ops.cast(sample_weight, "float32")
        )
        gained = dice - empty  # (N, T)
        self.sums.assign_add(ops.matmul(ops.transpose(kept), gained * weight[:, None]))
        self.squares.assign_add(ops.matmul(ops.transpose(kept), gained**2 * weight[:, None]))
        self.weights.assign_add(ops.stack([ops.sum(weight), ops.sum(weight**2)]))

    def result(self) -> dict[str, Tensor]:
        """Return the best rule's mean Dice less that of all-empty, 0 or more, and its standard error."""
        total = ops.maximum(self.weights[0], 1e-9)
        sums = ops.reshape(self.sums * self.allowed, (-1,))
        best = ops.argmax(sums)
        mean = (ops.maximum(sums[best], 0.0) + 0.0) / total  # no -0.0
        variance = ops.maximum(ops.reshape(self.squares, (-1,))[best] / total - mean**2, 0.0)
        error = ops.sqrt(variance * self.weights[1]) / total
        return {"gain": mean, "gain_error": ops.where(mean > 0, error, 0.0)}


class GainModel(keras.Model):
    """A network that also measures the gain when it is evaluated.

    Keras' metrics see one output each; the rules need the map and the image-level probability together.

    Attributes:
        gain: A `Gain`, to be set before training.
    """

    gain: Gain

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return Keras' loss, and update the gain when evaluating."""
        if not training:
            if isinstance(y_pred, dict):
                weight = None if sample_weight is None else sample_weight["probability"]
                self.gain.update_state(
                    y["probability"], y_pred["probability"], y_pred["classification"], weight
                )
            else:
                self.gain.update_state(y, y_pred, sample_weight=sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)
