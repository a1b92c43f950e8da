"""Cache -> batches, in an order that follows from seed and epoch alone; knows nothing of networks."""

import numpy as np
import numpy.typing as npt

from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]


def epoch_batches(rows: Rows, batch_size: int, *, seed: int, epoch: int) -> list[Rows]:
    """Shuffle rows for one epoch and cut them into batches.

    The same arguments give the same batches, so that a resumed run sees what the uninterrupted one saw.
    Batches differ by at most one in size: a last batch of a single image would upset batch normalisation.

    Returns:
        Row numbers of each batch; every row appears once.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return fixed_batches(order, batch_size)


def fixed_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """Cut rows into batches of at most `batch_size`, in their order and nearly equal in size."""
    return np.array_split(rows, max(1, -(-len(rows) // batch_size)))


def gather(cache: Cache, rows: Rows) -> Batch:
    """Read images and masks of some rows from the cache.

    Returns:
        uint8 images, values 0-255, and float32 masks, values [0, 1]; both of shape (B, S, S, 1).
    """
    images = np.asarray(cache.images[rows])[..., None]  # (B, S, S, 1)
    masks = np.asarray(cache.masks[rows])[..., None].astype(np.float32) / np.float32(255)
    return images, masks
