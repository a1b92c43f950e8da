"""The terms of a loss in `keras.ops`, so that every Keras backend can run them.

Masks and probabilities are float tensors of shape (N, H, W, 1), values [0, 1]; masks may be soft. BCE, Dice
and log-dice: Steinberger Eriksson 2019; focal: Lin et al. 2017; Lovasz: Berman et al. 2018; boundary:
Kervadec et al. 2019.

Under `tf.distribute` the sums over a batch are sums over all replicas, so that several devices compute the
same loss as one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from keras import ops

from pneumothorax.loss_text import parse_loss
from pneumothorax.model.devices import count_replicas
from pneumothorax.recipe import Recipe

Tensor = Any
PIXELS = (1, 2, 3)
# Lower bounds of p and 1 - p in logarithms. A float32 p may be as small as 1e-38, and the gradient
# 1 / p must bear a loss scale; 1 - p has no value between 0 and 2**-24.
LEAST_P, LEAST_REST = 1e-20, 2.0**-24
FILLED = -1.0  # the truth of an image that only fills a batch
MOST_BOUNDARY = 0.99  # of a weight that takes from the other terms


def bce(mask: Tensor, probability: Tensor) -> Tensor:
    """Return an image's binary cross-entropy, the mean of -(y log p + (1 - y) log(1 - p)), shape (N,)."""
    return ops.mean(ops.binary_crossentropy(mask, probability), axis=PIXELS)


def soft_dice(mask: Tensor, probability: Tensor, *, smooth: float = 0.1, reduction: str = "image") -> Tensor:
    """Return the soft Dice, (2 sum(y p) + s) / (sum y + sum p + s); 1 if both are empty.

    Args:
        mask: Truth y, shape (N, H, W, 1).
        probability: Prediction p, shape (N, H, W, 1).
        smooth: s, in pixels.
        reduction: 'image' for one value an image; 'batch' to treat the whole batch as one image.

    Returns:
        Shape (N,); under 'batch' all N values are the same.
    """
    overlap = ops.sum(mask * probability, axis=PIXELS)
    areas = ops.sum(mask, axis=PIXELS) + ops.sum(probability, axis=PIXELS)
    if reduction == "batch":
        overlap, areas = (ops.zeros_like(areas) + _sum_of_batch(part) for part in (overlap, areas))
    return (2.0 * overlap + smooth) / (areas + smooth)


def focal(mask: Tensor, probability: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Return an image's focal loss, the mean of -(y (1 - p)^g log p + (1 - y) p^g log(1 - p)), shape (N,).

    Without the balancing factor alpha; g = 0 is the BCE.
    """
    log_p, log_rest = _logarithms(probability)
    lesion = mask * ops.exp(gamma * log_rest) * log_p
    ground = (1.0 - mask) * ops.exp(gamma * log_p) * log_rest
    return -ops.mean(lesion + ground, axis=PIXELS)


def lovasz(mask: Tensor, probability: Tensor) -> Tensor:
    """Return an image's symmetric Lovasz hinge, (LH(z, g) + LH(-z, 1 - g)) / 2, shape (N,).

    LH is the Lovasz extension of the Jaccard loss 1 - |G and P| / |G or P| at the hinge errors
    m = max(0, 1 - z (2 g - 1)): the sum of m in falling order, times each pixel's increment of the Jaccard
    loss of all before it. It works on the logits z = log p - log(1 - p), as its authors and the competition's
    third place did: there it is convex, and a confidently wrong pixel keeps its gradient, which a Lovasz
    loss of probabilities loses in the sigmoid. The second half swaps lesion and ground and keeps the errors;
    it lets an image without a lesion learn from every pixel instead of its worst one.

    A soft mask is cut at one half, for g is a set.
    """
    size = ops.shape(mask)[1] * ops.shape(mask)[2]
    lesion = ops.reshape(ops.cast(mask > 0.5, "float32"), (-1, size))  # (N, H W)
    log_p, log_rest = _logarithms(probability)
    errors = 1.0 - ops.reshape(log_p - log_rest, (-1, size)) * (2.0 * lesion - 1.0)
    falling = ops.argsort(-ops.stop_gradient(errors), axis=1)
    ranked = ops.take_along_axis(lesion, falling, axis=1)
    shares = (_jaccard_steps(ranked) + _jaccard_steps(1.0 - ranked)) / 2.0
    return ops.sum(ops.relu(ops.take_along_axis(errors, falling, axis=1)) * shares, axis=1)


def boundary(distances: Tensor, probability: Tensor) -> Tensor:
    """Return an image's boundary loss, the mean over pixels of phi p, shape (N,); it may be negative.

    Args:
        distances: phi, the signed distance to the true boundary, negative inside; see `data.distances`.
        probability: Prediction p.
    """
    return ops.mean(distances * probability, axis=PIXELS)


def boundary_weight(recipe: Recipe, epoch: int) -> tuple[float, float]:
    """Return the weight of boundary in an epoch, and the factor on the other terms.

    Args:
        recipe: Recipe with the term boundary in its loss, and the schedule of its weight.
        epoch: Counted from 0.
    """
    weight = parse_loss(recipe.loss)["boundary"]
    if recipe.boundary_schedule == "constant":
        return weight, 1.0
    weight += recipe.boundary_rise * epoch
    if recipe.boundary_schedule == "rising":
        return weight, 1.0
    weight = min(weight, MOST_BOUNDARY)
    return weight, 1.0 - weight


def find_losses(recipe: Recipe) -> Any:
    """Return the recipe's loss as `compile` takes it: a function, or one for each output by its name.

    The function of "classification" takes labels and probabilities of shape (N, 1). That of "probability"
    takes masks of shape (N, H, W, 1); with the term boundary (N, H, W, 2), the signed distances times its
    weight behind them. Each returns one value an image, shape (N,).
    """
    loss = find_loss(recipe)
    if not recipe.classification_head:
        return loss
    weight = parse_loss(recipe.loss)["classification"]

    def classification(label: Tensor, probability: Tensor) -> Tensor:
        entropy = ops.binary_crossentropy(ops.cast(label, "float32"), ops.cast(probability, "float32"))
        return weight * ops.mean(entropy, axis=1)

    return {"probability": loss, "classification": classification}


def find_loss(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of the recipe's masks: truth and probabilities -> one value an image, shape (N,).

    An image whose truth is `FILLED` adds nothing to the sums over a batch; its own value is undefined, and
    must get the weight 0.
    """
    dice = partial(soft_dice, smooth=recipe.smooth, reduction=recipe.loss_reduction)
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "bce": bce,
        "dice": lambda mask, probability: 1.0 - dice(mask, probability),
        "log_dice": lambda mask, probability: -ops.log(dice(mask, probability)),
        "focal": partial(focal, gamma=recipe.focal_gamma),
        "lovasz": lovasz,
    }
    weights = parse_loss(recipe.loss)
    terms = [(weight, functions[name]) for name, weight in weights.items() if name in functions]

    def loss(truth: Tensor, probability: Tensor) -> Tensor:
        truth = ops.cast(truth, "float32")
        there = ops.cast(truth[:, :1, :1, :1] > FILLED, "float32")  # (N, 1, 1, 1)
        mask, probability = truth[..., :1] * there, ops.cast(probability, "float32") * there
        total = sum(weight * term(mask, probability) for weight, term in terms)
        return total + boundary(truth[..., 1:], probability) if "boundary" in weights else total

    return loss


def _sum_of_batch(values: Tensor) -> Tensor:
    """Sum over the batch, on every device that has a part of it."""
    total = ops.sum(values)
    if count_replicas() == 1:
        return total
    import tensorflow as tf

    context = tf.distribute.get_replica_context()  # None while Keras builds the model
    return total if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, total)


def _logarithms(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p), finite with finite gradients for every p of [0, 1]."""
    return ops.log(ops.maximum(probability, LEAST_P)), ops.log(ops.maximum(1.0 - probability, LEAST_REST))


def _jaccard_steps(ranked: Tensor) -> Tensor:
    """Return each pixel's increment of the Jaccard loss over those before it, shape (N, H W).

    With k pixels wrong the loss is 1 - I / U, where I counts the lesion's pixels among the others and U the
    lesion's with those of the ground among the k. A pixel of the lesion takes one from I, one of the ground
    adds one to U; written out, because differences of float32 would lose the digits of large images.

    Args:
        ranked: The mask's pixels, 0 or 1, the worst error first, shape (N, H W).
    """
    ground = ops.cumsum(1.0 - ranked, axis=1)
    area = ops.sum(ranked, axis=1, keepdims=True)
    rest = area - ops.cumsum(ranked, axis=1)  # I
    union = area + ground  # U
    of_ground = ops.where(union > 1.0, rest / (union * ops.maximum(union - 1.0, 1.0)), 1.0)
    return ranked / ops.maximum(union, 1.0) + (1.0 - ranked) * of_ground
