"""Batches for Keras: the cache as a `keras.utils.PyDataset`, augmented by Keras' own layers."""

import keras

from pneumothorax.data.batches import Batch, epoch_batches, fixed_batches, gather
from pneumothorax.data.cache import Cache
from pneumothorax.data.folds import Rows
from pneumothorax.recipe import Recipe
from pneumothorax.training.augmentation import augment, make_augmentation


class Feed(keras.utils.PyDataset):
    """Shuffled, augmented batches to train on.

    Every batch follows from (seed, epoch, number of the batch), so that nothing needs saving for a resume but
    the epoch.

    Args:
        cache: Images and masks.
        rows: Which of them.
        recipe: Batch size, seed and augmentation.
        first_epoch: The epoch that training begins with.
    """

    def __init__(self, cache: Cache, rows: Rows, recipe: Recipe, first_epoch: int = 0) -> None:
        super().__init__()
        self.cache, self.rows, self.recipe = cache, rows, recipe
        self.augmentation = make_augmentation(recipe) if recipe.augments else None
        self.begin(first_epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        images, masks = gather(self.cache, self.batches[number])
        if self.augmentation is None:
            return images, masks
        return augment(self.augmentation, images, masks, [self.recipe.seed, self.epoch, number])

    def begin(self, epoch: int) -> None:
        """Draw an epoch's order.

        Training calls it, for Keras' own `on_epoch_end` also comes between epochs.
        """
        self.epoch = epoch
        self.batches = epoch_batches(self.rows, self.recipe.batch_size, seed=self.recipe.seed, epoch=epoch)


class FixedFeed(keras.utils.PyDataset):
    """The same batches every time, not augmented, to validate or predict on."""

    def __init__(self, cache: Cache, rows: Rows, batch_size: int) -> None:
        super().__init__()
        self.cache, self.batches = cache, fixed_batches(rows, batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        return gather(self.cache, self.batches[number])
