"""Cache -> batches, in an order that depends on seed and epoch alone; knows nothing of networks."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.recipe import Recipe

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]

HARD = 4.0  # factor on the sampling weight of a hard negative


def epoch_batches(rows: Rows, batch_size: int, *, seed: int, epoch: int) -> list[Rows]:
    """Shuffle rows for one epoch and cut them into full batches.

    The same arguments give the same batches, so a resumed run sees the batches of an uninterrupted one.

    Returns:
        Row numbers of each batch; every row appears once, and the first of the order again in the last batch
        where it would not be full.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return full_batches(order, batch_size)


def full_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """Cut rows into batches of exactly `batch_size`, in their order; the first rows again fill the last one.

    A network is compiled once for each batch shape, which takes up to a minute on a GPU.

    Raises:
        ValueError: There is no row.
    """
    if not len(rows):
        raise ValueError("no row to make batches of")
    return list(np.resize(rows, (-(-len(rows) // batch_size), batch_size)))


def positive_rate(recipe: Recipe, epoch: int) -> float:
    """Return an epoch's share of positives: linear from the first epoch to the last planned one.

    Args:
        recipe: Recipe with a positive rate.
        epoch: Counted from 0.
    """
    last = recipe.positive_rate_end or recipe.positive_rate
    passed = min(epoch / max(recipe.epochs - 1, 1), 1.0)
    return recipe.positive_rate + (last - recipe.positive_rate) * passed


def epoch_size(recipe: Recipe, positives: int, negatives: int, epoch: int) -> int:
    """Count the images of an epoch: all positives, and negatives by its positive rate."""
    if not recipe.positive_rate:
        return positives + negatives
    rate = positive_rate(recipe, epoch)
    return positives + min(negatives, round(positives * (1 - rate) / rate))


def draw_epoch(
    rows: Rows, positive: npt.NDArray[np.bool_], recipe: Recipe, epoch: int, hard: Collection[int] = ()
) -> Rows:
    """Choose the rows of one epoch: all positives, and as many negatives as its positive rate asks for.

    Negatives are drawn without repetition; if there are too few, all are taken. The same arguments give
    the same rows.

    Args:
        rows: Row numbers to train on.
        positive: Whether each row has a pneumothorax, bool of the same shape.
        recipe: Recipe with positive rate, planned epochs and seed; without a rate all rows are taken.
        epoch: Counted from 0.
        hard: Negatives that are drawn four times as often.
    """
    if not recipe.positive_rate:
        return rows
    negatives = rows[~positive]
    count = epoch_size(recipe, int(positive.sum()), len(negatives), epoch) - int(positive.sum())
    weights = np.where(np.isin(negatives, list(hard)), HARD, 1.0)
    drawn = np.random.default_rng([recipe.seed, epoch, 1]).choice(
        negatives, count, replace=False, p=weights / weights.sum() if len(weights) else None
    )
    return np.concatenate([rows[positive], np.sort(drawn)])


def gather(cache: Cache, rows: Rows) -> Batch:
    """Read images and masks of some rows from the cache.

    Returns:
        uint8 images, values 0-255, and float32 masks, values [0, 1]; both of shape (B, S, S, 1).
    """
    images = np.asarray(cache.images[rows])[..., None]  # (B, S, S, 1)
    masks = np.asarray(cache.masks[rows])[..., None].astype(np.float32) / np.float32(255)
    return images, masks
