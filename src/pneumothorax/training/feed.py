"""Batches for Keras: the cache as a `keras.utils.PyDataset`, augmented, with the truth for the loss.

All batches of training have one shape, and so have all of validation, so that the network is compiled once
for each. The next batches are made by threads while the device computes.
"""

import os
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pneumothorax.data.batches import draw_epoch, epoch_batches, epoch_size, gather
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.loss_text import parse_loss
from pneumothorax.model.losses import FILLED, boundary_weight
from pneumothorax.recipe import Recipe
from pneumothorax.training import hosts
from pneumothorax.training.augmentation import augment, make_augmentation
from pneumothorax.training.distances import signed_distances

Arrays = npt.NDArray[np.float32]

AHEAD = 8  # batches that are made before they are asked for


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches to train on.

    Every batch depends on (seed, epoch, number of the batch) and, if the recipe asks for hard negatives,
    on the set of those, so that nothing else needs saving for a resume. Threads of its own make the next
    batches: Keras' workers would serve the leftovers of an interrupted epoch in their queue.

    Args:
        cache: Images and masks.
        rows: Rows of the training images.
        recipe: Batch size, seed, positive rate, augmentation and loss.
        first_epoch: The epoch that training begins with.

    Attributes:
        ready: Time when each batch of this epoch was ready, by `time.perf_counter`.
    """

    def __init__(self, cache: Cache, rows: Rows, recipe: Recipe, first_epoch: int = 0) -> None:
        super().__init__()
        self.cache, self.rows, self.recipe = cache, rows, recipe
        self.positive = cache.studies["area"].to_numpy() > 0  # of every row of the cache
        self.augmentation = make_augmentation(recipe) if recipe.augments else None
        self.started = False
        self.threads = ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2)), "batches")
        self.begin(first_epoch)

    @property
    def num_batches(self) -> int:
        """Count the batches of this epoch; of the longest epoch before training begins.

        Keras asks once, before training begins, for the expected number, and accepts epochs that end earlier.
        """
        return len(self.batches) if self.started else max(self.lengths())

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Any:
        if not self.started:
            number %= len(self.batches)  # Keras looks at two batches, even if the first epoch has one
        for later in range(number, min(number + AHEAD, len(self.batches))):
            if later not in self.making:
                self.making[later] = self.threads.submit(self.make, self.epoch, later, self.batches[later])
        batch = self.making.pop(number).result()
        self.ready[number] = time.perf_counter()
        return hosts.share(batch)

    def make(self, epoch: int, number: int, rows: Rows) -> Any:
        """Make a batch of an epoch from its rows of the cache."""
        images, masks = gather(self.cache, rows)
        if self.augmentation is not None:
            images, masks = augment(self.augmentation, images, masks, [self.recipe.seed, epoch, number])
        return make_batch(self.recipe, images, masks, self.positive[rows], epoch)

    def begin(self, epoch: int, hard: Collection[int] = ()) -> None:
        """Draw an epoch's rows and their order.

        Training calls it, because Keras' own `on_epoch_end` also comes between epochs.

        Args:
            epoch: Counted from 0.
            hard: Rows of negatives to draw more often.
        """
        self.epoch = epoch
        chosen = draw_epoch(self.rows, self.positive[self.rows], self.recipe, epoch, hard)
        self.batches = epoch_batches(chosen, self.recipe.batch_size, seed=self.recipe.seed, epoch=epoch)
        self.making: dict[int, Future[Any]] = {}
        self.ready: dict[int, float] = {}

    def close(self) -> None:
        """End the threads."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    def lengths(self) -> list[int]:
        """Count the batches of every planned epoch."""
        positives = int(self.positive[self.rows].sum())
        negatives = len(self.rows) - positives
        sizes = (epoch_size(self.recipe, positives, negatives, epoch) for epoch in range(self.recipe.epochs))
        return [max(1, -(-size // self.recipe.batch_size)) for size in sizes]


class ValidationBatches(keras.utils.PyDataset):
    """The same batches every time, not augmented, to validate on.

    Batches have nearly equal numbers of images, since a batch of few, perhaps without a lesion, would upset a
    Dice of the whole batch. Images that only fill one up weigh nothing; the others weigh a little more than 1
    if there are any, because Keras divides a batch's loss by all of its images.

    Args:
        cache: Images and masks.
        rows: Rows of the validation images.
        recipe: Batch size and loss.
    """

    def __init__(self, cache: Cache, rows: Rows, recipe: Recipe) -> None:
        super().__init__()
        self.cache, self.recipe, self.count = cache, recipe, len(rows)
        self.batches = np.array_split(rows, -(-len(rows) // recipe.batch_size))
        self.positive = cache.studies["area"].to_numpy() > 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Any:
        size = self.recipe.batch_size
        fills = np.arange(size) >= len(self.batches[number])
        rows = np.resize(self.batches[number], size)
        images, masks = gather(self.cache, rows)
        masks[fills] = FILLED
        images, truth = make_batch(self.recipe, images, masks, self.positive[rows])
        weights = np.where(fills, 0.0, len(self) * size / self.count).astype(np.float32)
        whole = images, truth, dict.fromkeys(truth, weights) if isinstance(truth, dict) else weights
        return hosts.share(whole)


def make_batch(
    recipe: Recipe,
    images: npt.NDArray[np.uint8],
    masks: Arrays,
    positive: npt.NDArray[np.bool_],
    epoch: int | None = None,
) -> Any:
    """Arrange a batch for Keras and the recipe's loss.

    Args:
        recipe: Recipe with loss and heads.
        images: uint8 array of shape (B, S, S, 1).
        masks: float32 array of shape (B, S, S, 1), values [0, 1].
        positive: Whether each image shows a pneumothorax, bool of shape (B,).
        epoch: Epoch of training, counted from 0; None to validate, where boundary counts for nothing:
            it may be negative, and its weight changes.

    Returns:
        Images; the truth (see `model.losses.find_losses`); and, only if the other terms of the loss weigh
        less than 1, the weight of each image.
    """
    terms = parse_loss(recipe.loss)
    truth, share = masks, 1.0
    if "boundary" in terms:
        distances = np.zeros_like(masks)
        if epoch is not None:
            # Keras multiplies an image's loss by its weight. With share 0.9 and weight 0.1 the loss is
            # 0.9 * (others + 0.1 / 0.9 * boundary) = 0.9 * others + 0.1 * boundary.
            weight, share = boundary_weight(recipe, epoch)
            distances = signed_distances(masks) * np.float32(weight / share)
        truth = np.concatenate([masks, distances], axis=-1)  # (B, S, S, 2)
    weights = np.full(len(images), share, np.float32)
    if not recipe.classification_head:
        return (images, truth, weights) if share != 1 else (images, truth)
    labels = positive.astype(np.float32)[:, None]
    whole = {"probability": truth, "classification": labels}
    if share == 1:
        return images, whole
    return images, whole, {"probability": weights, "classification": np.ones_like(weights)}
