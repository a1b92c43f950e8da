"""BCE, Dice and log-dice in `keras.ops`, so that every Keras backend can run them.

Masks and probabilities are float tensors of shape (N, H, W, 1), values [0, 1]; masks may be soft. Formulas:
Steinberger Eriksson 2019. Under `tf.distribute` the sums over a batch are sums over all replicas, so that
several devices compute the loss of one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from pneumothorax.model.devices import count_replicas
from pneumothorax.recipe import Recipe

Tensor = Any
PIXELS = (1, 2, 3)


def bce(mask: Tensor, probability: Tensor) -> Tensor:
    """Return an image's binary cross-entropy, the mean of -(y log p + (1 - y) log(1 - p)), shape (N,)."""
    return ops.mean(ops.binary_crossentropy(mask, probability), axis=PIXELS)


def soft_dice(mask: Tensor, probability: Tensor, *, smooth: float = 0.1, reduction: str = "image") -> Tensor:
    """Return the soft Dice, (2 sum(y p) + s) / (sum y + sum p + s); 1 where both are empty.

    Args:
        mask: Truth y, shape (N, H, W, 1).
        probability: Prediction p, shape (N, H, W, 1).
        smooth: s, in pixels.
        reduction: 'image' for one value an image; 'batch' for the whole batch taken as one image.

    Returns:
        Shape (N,); under 'batch' all N values are the same.
    """
    overlap = ops.sum(mask * probability, axis=PIXELS)
    areas = ops.sum(mask, axis=PIXELS) + ops.sum(probability, axis=PIXELS)
    if reduction == "batch":
        overlap, areas = (ops.zeros_like(areas) + _sum_of_batch(part) for part in (overlap, areas))
    return (2.0 * overlap + smooth) / (areas + smooth)


def find_loss(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the recipe's loss: masks and probabilities -> one value an image, shape (N,)."""
    terms = [_TERMS[name.strip()] for name in recipe.loss.split("+")]
    dice = partial(soft_dice, smooth=recipe.smooth, reduction=recipe.loss_reduction)

    def loss(mask: Tensor, probability: Tensor) -> Tensor:
        mask = ops.cast(mask, "float32")
        probability = ops.cast(probability, "float32")
        return sum(term(mask, probability, dice) for term in terms)

    return loss


def mean_soft_dice(recipe: Recipe) -> keras.metrics.Metric:
    """Return the mean of the per-image soft Dice; its sum is divided once, at the end of the epoch."""
    return keras.metrics.MeanMetricWrapper(partial(soft_dice, smooth=recipe.smooth), name="mean_dice")


def _sum_of_batch(values: Tensor) -> Tensor:
    """Sum over the batch, on every device that has a part of it."""
    total = ops.sum(values)
    if count_replicas() == 1:
        return total
    import tensorflow as tf

    context = tf.distribute.get_replica_context()  # None while Keras builds the model
    return total if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, total)


_TERMS: dict[str, Callable[[Tensor, Tensor, Callable[..., Tensor]], Tensor]] = {
    "bce": lambda mask, probability, dice: bce(mask, probability),
    "dice": lambda mask, probability, dice: 1.0 - dice(mask, probability),
    "log_dice": lambda mask, probability, dice: -ops.log(dice(mask, probability)),
}
